//! The evaluations that a change makes necessary, to ride in the same log entry.

use crate::{
    ids::Ids,
    model::{Evaluation, Job, JobKey, Node, Trigger},
    state::{AllocUpdate, State},
};

/// A pending evaluation of `job`.
pub fn for_job(job: &Job, trigger: Trigger, now_ns: i64, ids: &mut Ids) -> Evaluation {
    todo!()
}
/// One per job whose allocations the client reports as failed (or complete, for service jobs).
pub fn for_client_updates(
    state: &State,
    updates: &[AllocUpdate],
    now_ns: i64,
    ids: &mut Ids,
) -> Vec<Evaluation> {
    todo!()
}
/// One per job with allocations on the node, and one per system job that the node could run.
pub fn for_node(state: &State, node_id: &str, now_ns: i64, ids: &mut Ids) -> Vec<Evaluation> {
    todo!()
}
/// For a registration of a node: none when nothing that placement can see changed.
pub fn for_node_upsert(state: &State, node: &Node, now_ns: i64, ids: &mut Ids) -> Vec<Evaluation> {
    todo!()
}
/// Looks at a job again on request.
pub fn for_key(
    state: &State,
    key: &JobKey,
    trigger: Trigger,
    now_ns: i64,
    ids: &mut Ids,
) -> Option<Evaluation> {
    todo!()
}
