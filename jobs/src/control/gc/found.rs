//! What a step of the collection found, as commands of bounded size.

use crate::{
    control::Action,
    model::{AllocId, DeploymentId, EvalId, JobKey, NodeId},
    state::Command,
};

/// Most ids in one log entry, about 256 KiB.
pub const COLLECTED_MAX: usize = 7_281;

/// What one step found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) evals: Vec<EvalId>,
    pub(super) allocs: Vec<AllocId>,
    pub(super) deployments: Vec<DeploymentId>,
    pub(super) jobs: Vec<JobKey>,
    pub(super) nodes: Vec<NodeId>,
}

impl Found {
    /// Commands that delete it, those first that others refer to.
    pub(super) fn into_actions(self) -> Vec<Action> {
        let mut entries = Vec::new();
        // Allocations go before the evaluations and jobs that they refer to.
        for allocs in self.allocs.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], allocs, &[], &[], &[]));
        }
        for evals in self.evals.chunks(COLLECTED_MAX) {
            entries.push(entry(evals, &[], &[], &[], &[]));
        }
        for deployments in self.deployments.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], &[], deployments, &[], &[]));
        }
        for jobs in self.jobs.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], &[], &[], jobs, &[]));
        }
        for nodes in self.nodes.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], &[], &[], &[], nodes));
        }
        entries.into_iter().map(Action::Propose).collect()
    }
}

fn entry(
    evals: &[EvalId],
    allocs: &[AllocId],
    deployments: &[DeploymentId],
    jobs: &[JobKey],
    nodes: &[NodeId],
) -> Command {
    Command::Collect {
        evals: evals.to_vec(),
        allocs: allocs.to_vec(),
        deployments: deployments.to_vec(),
        jobs: jobs.to_vec(),
        nodes: nodes.to_vec(),
    }
}
