//! The evaluations that a change makes necessary, to ride in the same log entry.

use crate::{
    ids::Ids,
    model::{
        ClientStatus, DesiredStatus, EvalStatus, Evaluation, Job, JobKey, JobType, Node, NodeId,
        Timestamp, Trigger,
    },
    scheduler,
    state::{AllocUpdate, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A pending evaluation of `job`.
pub fn for_job(job: &Job, trigger: Trigger, now: Timestamp, ids: &mut Ids) -> Evaluation {
    Evaluation {
        id: ids.next_eval(),
        namespace: job.namespace.clone(),
        priority: job.priority,
        job_type: job.job_type,
        triggered_by: trigger,
        job_id: job.id.clone(),
        job_modify_index: job.job_modify_index,
        status: EvalStatus::Pending,
        create_time: now,
        modify_time: now,
        ..Evaluation::default()
    }
}

/// Looks at a job again; none when there is no such job.
pub fn for_key(
    state: &Snapshot,
    key: &JobKey,
    trigger: Trigger,
    now: Timestamp,
    ids: &mut Ids,
) -> Option<Evaluation> {
    let job = state.job(key)?;
    Some(for_job(job, trigger, now, ids))
}

/// One per job whose allocations the reports end although they are still wanted: failed ones, and
/// finished ones of service jobs.
pub fn for_client_updates(
    state: &Snapshot,
    updates: &[AllocUpdate],
    now: Timestamp,
    ids: &mut Ids,
) -> Vec<Evaluation> {
    let mut jobs: BTreeSet<JobKey> = BTreeSet::new();
    for update in updates {
        let Some(alloc) = state.alloc(update.alloc_id) else {
            continue;
        };
        let ended = match update.client_status {
            ClientStatus::Failed => true,
            ClientStatus::Complete => {
                alloc.job.job_type == JobType::Service || alloc.job.job_type == JobType::System
            }
            _ => false,
        };
        let wanted = alloc.desired_status == DesiredStatus::Run;
        if ended && wanted && !alloc.client_terminal() {
            jobs.insert(alloc.job_key());
        }
    }
    jobs.into_iter()
        .filter_map(|key| for_key(state, &key, Trigger::AllocFailure, now, ids))
        .collect()
}

/// For nodes whose status or eligibility changes: one per job with allocations there, and one per
/// system job that one of them could run.
pub fn for_nodes(
    state: &Snapshot,
    node_ids: &[NodeId],
    now: Timestamp,
    ids: &mut Ids,
) -> Vec<Evaluation> {
    let mut found = Found::default();
    for &node_id in node_ids {
        let node = state.node(node_id).map(|node| &**node);
        found.look(state, node_id, node);
    }
    found.into_evals(state, now, ids)
}

/// The jobs that nodes concern, with the first of those nodes.
#[derive(Default)]
struct Found {
    known: BTreeMap<JobKey, NodeId>,
    /// Jobs that are no more, as their allocations have them.
    purged: BTreeMap<JobKey, (Arc<Job>, NodeId)>,
}

impl Found {
    fn look(&mut self, state: &Snapshot, node_id: NodeId, node: Option<&Node>) {
        for alloc in state.live_allocs_of_node(node_id) {
            let key = alloc.job_key();
            if state.job(&key).is_some() {
                self.known.entry(key).or_insert(node_id);
            } else {
                let first = || (Arc::clone(&alloc.job), node_id);
                self.purged.entry(key).or_insert_with(first);
            }
        }
        let Some(node) = node else {
            return;
        };
        for job in state.jobs_everywhere() {
            if !job.stop && !job.is_parent() && scheduler::suits(job, node) {
                self.known.entry(job.key()).or_insert(node_id);
            }
        }
    }

    fn into_evals(self, state: &Snapshot, now: Timestamp, ids: &mut Ids) -> Vec<Evaluation> {
        let known = self.known.iter().filter_map(|(key, node_id)| {
            let job = state.job(key)?;
            Some((Arc::clone(job), *node_id))
        });
        known
            .chain(self.purged.into_values())
            .map(|(job, node_id)| Evaluation {
                node_id: Some(node_id),
                ..for_job(&job, Trigger::NodeUpdate, now, ids)
            })
            .collect()
    }
}

/// For a registration of `node`: none when nothing that placement can see changed.
pub fn for_node_upsert(
    state: &Snapshot,
    node: &Node,
    now: Timestamp,
    ids: &mut Ids,
) -> Vec<Evaluation> {
    if let Some(known) = state.node(node.id) {
        let same = known.status == node.status
            && known.computed_class == node.derived_class()
            && known.name == node.name
            && known.node_resources == node.node_resources
            && known.reserved_resources == node.reserved_resources;
        if same {
            return Vec::new();
        }
    }
    let mut found = Found::default();
    found.look(state, node.id, Some(node));
    found.into_evals(state, now, ids)
}
