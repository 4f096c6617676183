use super::{
    AllocId, AllocMetric, AllocName, Allocation, ClientStatus, Deployment, DeploymentUpdate,
    DesiredStatus, EvalId, Evaluation, FlatMap, GroupName, Index, Job, JobId, JobType, Namespace,
    NodeId, NodeName, Span, Text, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What the scheduler wants to change, made from one snapshot and not yet verified.
///
/// Shape: everything an apply needs is in it; nothing is left to the executor's choice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Evaluation it answers.
    pub eval_id: EvalId,
    /// The job as the scheduler saw it; none when it was purged.
    pub job: Option<Arc<Job>>,
    /// Place all or nothing.
    pub all_at_once: bool,
    /// Node id to the allocations to place there or to update in place; `job` is set on each.
    pub placements: BTreeMap<NodeId, Vec<Allocation>>,
    /// Allocations to stop or to mark lost.
    pub stops: Vec<StoppedAlloc>,
    /// Deployment to create or replace.
    pub deployment: Option<Deployment>,
    /// Status changes of other deployments.
    pub deployment_updates: Vec<DeploymentUpdate>,
    /// Index of the snapshot it was made from.
    pub snapshot_index: Index,
}

impl Plan {
    /// True when it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.placements.values().all(Vec::is_empty)
            && self.stops.is_empty()
            && self.deployment.is_none()
            && self.deployment_updates.is_empty()
    }
}

/// An allocation that a plan stops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoppedAlloc {
    /// Which.
    pub alloc_id: AllocId,
    /// Its node, whose room it gives back.
    pub node_id: NodeId,
    /// Published reason.
    pub description: Text,
    /// Set to `lost` or `unknown` when the node cannot tell any more.
    pub client_status: Option<ClientStatus>,
    /// Evaluation that will replace it later.
    pub followup_eval_id: Option<EvalId>,
    /// The allocation on the same node that it makes room for; it is evicted then.
    pub preempted_by: Option<AllocId>,
}

/// A plan as it goes into the log, with the evaluations that come of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanResult {
    /// Evaluation it answers.
    pub eval_id: EvalId,
    /// Version of the job that the placements carry; the row holds no copy.
    pub job_version: u64,
    /// Placed or updated in place. `job` is not serialized: apply looks the version up.
    pub placements: Vec<Allocation>,
    /// Stopped.
    pub stops: Vec<StoppedAlloc>,
    /// Created or replaced.
    pub deployment: Option<Deployment>,
    /// Status changes of other deployments.
    pub deployment_updates: Vec<DeploymentUpdate>,
    /// The evaluation with its new status, blocked and follow-up evaluations.
    pub evals: Vec<Evaluation>,
}

impl PlanResult {
    /// Placements that were made or could not be made: what the time of a decision goes to.
    pub fn decided(&self) -> usize {
        let failed = self.evals.iter().map(|eval| eval.failed_tg_allocs.len());
        self.placed().count() + failed.sum::<usize>()
    }

    /// Says how long the decision about each placement took, as the caller measured it.
    pub fn set_allocation_time(&mut self, took: Span) {
        // Many placements share one metric, and go on sharing it.
        let mut last: Option<(Arc<AllocMetric>, Arc<AllocMetric>)> = None;
        for alloc in self.placements.iter_mut().filter(|alloc| is_new(alloc)) {
            let timed = match &last {
                Some((before, timed)) if Arc::ptr_eq(before, &alloc.metrics) => Arc::clone(timed),
                _ => Arc::new(AllocMetric {
                    allocation_time: took,
                    ..(*alloc.metrics).clone()
                }),
            };
            let before = std::mem::replace(&mut alloc.metrics, Arc::clone(&timed));
            last = Some((before, timed));
        }
        for eval in &mut self.evals {
            for metric in eval.failed_tg_allocs.values_mut() {
                metric.allocation_time = took;
            }
        }
    }

    fn placed(&self) -> impl Iterator<Item = &Allocation> {
        self.placements.iter().filter(|alloc| is_new(alloc))
    }
}

/// True for an allocation that is placed, false for one that is rewritten where it is.
fn is_new(alloc: &Allocation) -> bool {
    alloc.create_index == 0
}

/// What a plan does per group, for previews and status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlanAnnotations {
    /// Group to its counts.
    #[serde(rename = "DesiredTGUpdates")]
    pub desired_tg_updates: FlatMap<GroupName, DesiredUpdates>,
    /// Allocations of other jobs that make room, in the order in which that was decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preempted_allocs: Vec<PreemptedAlloc>,
}

/// An allocation that makes room, as it was before.
///
/// Source: the entries of `PreemptedAllocs` in the answer to a plan. Differs: no task states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the allocation, explained there"
)]
pub struct PreemptedAlloc {
    #[serde(rename = "ID")]
    pub id: AllocId,
    #[serde(rename = "EvalID")]
    pub eval_id: EvalId,
    pub name: AllocName,
    pub namespace: Namespace,
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    pub node_name: NodeName,
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    pub job_type: JobType,
    pub job_version: u64,
    pub task_group: GroupName,
    pub desired_status: DesiredStatus,
    pub client_status: ClientStatus,
    pub create_index: Index,
    pub modify_index: Index,
    pub create_time: Timestamp,
    pub modify_time: Timestamp,
}

impl From<&Allocation> for PreemptedAlloc {
    fn from(alloc: &Allocation) -> Self {
        Self {
            id: alloc.id,
            eval_id: alloc.eval_id,
            name: alloc.name.clone(),
            namespace: alloc.namespace.clone(),
            node_id: alloc.node_id,
            node_name: alloc.node_name.clone(),
            job_id: alloc.job_id.clone(),
            job_type: alloc.job.job_type,
            job_version: alloc.job_version,
            task_group: alloc.task_group.clone(),
            desired_status: alloc.desired_status,
            client_status: alloc.client_status,
            create_index: alloc.create_index,
            modify_index: alloc.modify_index,
            create_time: alloc.create_time,
            modify_time: alloc.modify_time,
        }
    }
}

/// Counts of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct DesiredUpdates {
    pub ignore: u64,
    pub place: u64,
    pub migrate: u64,
    pub stop: u64,
    pub in_place_update: u64,
    pub destructive_update: u64,
    pub canary: u64,
    pub preemptions: u64,
    pub disconnect: u64,
    pub reconnect: u64,
    pub reschedule_now: u64,
    pub reschedule_later: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_placed_gets_its_time_and_what_stays_keeps_its_own() {
        let shared = Arc::new(AllocMetric::default());
        let alloc = |create_index, metrics: &Arc<AllocMetric>| Allocation {
            create_index,
            metrics: Arc::clone(metrics),
            ..Allocation::default()
        };
        let mut failed = Evaluation::default();
        (failed.failed_tg_allocs).insert(GroupName::from("g"), AllocMetric::default());
        let mut result = PlanResult {
            placements: vec![alloc(0, &shared), alloc(7, &shared), alloc(0, &shared)],
            evals: vec![failed],
            ..PlanResult::default()
        };
        assert_eq!(result.decided(), 3);
        result.set_allocation_time(Span::SECOND);
        let times: Vec<Span> = (result.placements.iter())
            .map(|alloc| alloc.metrics.allocation_time)
            .collect();
        assert_eq!(times, [Span::SECOND, Span::ZERO, Span::SECOND]);
        let metrics = |at: usize| &result.placements[at].metrics;
        assert!(Arc::ptr_eq(metrics(0), metrics(2)), "they go on sharing it");
        let told = result.evals[0].failed_tg_allocs.values().next().unwrap();
        assert_eq!(told.allocation_time, Span::SECOND);
    }
}
