//! The evaluations that a change makes necessary, to ride in the same log entry.

use crate::{
    ids::Ids,
    model::{
        ClientStatus, DesiredStatus, EvalStatus, Evaluation, Job, JobKey, JobType, Node, NodeId,
        Trigger,
    },
    scheduler,
    state::{AllocUpdate, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet};

/// A pending evaluation of `job`.
pub fn for_job(job: &Job, trigger: Trigger, now_ns: i64, ids: &mut Ids) -> Evaluation {
    Evaluation {
        id: ids.next_eval(),
        namespace: job.namespace.clone(),
        priority: job.priority,
        job_type: job.job_type,
        triggered_by: trigger,
        job_id: job.id.clone(),
        job_modify_index: job.job_modify_index,
        status: EvalStatus::Pending,
        create_time: now_ns,
        modify_time: now_ns,
        ..Evaluation::default()
    }
}

/// Looks at a job again; none when there is no such job.
pub fn for_key(
    state: &Snapshot,
    key: &JobKey,
    trigger: Trigger,
    now_ns: i64,
    ids: &mut Ids,
) -> Option<Evaluation> {
    let job = state.job(key)?;
    Some(for_job(job, trigger, now_ns, ids))
}

/// One per job whose allocations the reports end although they are still wanted: failed ones, and finished
/// ones of service jobs.
pub fn for_client_updates(
    state: &Snapshot,
    updates: &[AllocUpdate],
    now_ns: i64,
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
        .filter_map(|key| for_key(state, &key, Trigger::AllocFailure, now_ns, ids))
        .collect()
}

/// For a node whose status or eligibility changes: one per job with allocations there, and one per
/// system job that it could run.
pub fn for_node(state: &Snapshot, node_id: NodeId, now_ns: i64, ids: &mut Ids) -> Vec<Evaluation> {
    let node = state.node(node_id).map(|node| &**node);
    for_node_as(state, node_id, node, now_ns, ids)
}

fn for_node_as(
    state: &Snapshot,
    node_id: NodeId,
    node: Option<&Node>,
    now_ns: i64,
    ids: &mut Ids,
) -> Vec<Evaluation> {
    let mut keys: BTreeSet<JobKey> = BTreeSet::new();
    let mut purged: BTreeMap<JobKey, Evaluation> = BTreeMap::new();
    for alloc in state.live_allocs_of_node(node_id) {
        let key = alloc.job_key();
        if state.job(&key).is_some() {
            keys.insert(key);
        } else {
            purged
                .entry(key)
                .or_insert_with(|| for_job(&alloc.job, Trigger::NodeUpdate, now_ns, ids));
        }
    }
    if let Some(node) = node {
        let everywhere = state.jobs(None, "").filter(|job| {
            matches!(job.job_type, JobType::System | JobType::Sysbatch)
                && !job.stop
                && scheduler::suits(job, node)
        });
        keys.extend(everywhere.map(|job| job.key()));
    }
    let mut evals: Vec<Evaluation> = keys
        .iter()
        .filter_map(|key| for_key(state, key, Trigger::NodeUpdate, now_ns, ids))
        .chain(purged.into_values())
        .collect();
    for eval in &mut evals {
        eval.node_id = Some(node_id);
    }
    evals
}

/// For a registration of `node`: none when nothing that placement can see changed.
pub fn for_node_upsert(
    state: &Snapshot,
    node: &Node,
    now_ns: i64,
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
    for_node_as(state, node.id, Some(node), now_ns, ids)
}
