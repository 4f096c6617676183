//! Does a plan still fit a newer snapshot?

use crate::{
    model::{Allocation, Node, NodeId, NodeStatus, Plan, PlanResult},
    scheduler::capacity::refusal,
    state::{NodeUsage, State},
};
use std::{collections::BTreeMap, sync::Arc};

/// The part of `plan` that fits `snapshot`; `refresh_index` is set when something had to be left out.
///
/// A node is taken or left as a whole. Stops always go through. A plan that asks for all at once is
/// reduced to its stops when any node refuses.
pub fn verify(snapshot: &State, plan: &Plan) -> PlanResult {
    let mut lost: BTreeMap<NodeId, Vec<&Arc<Allocation>>> = BTreeMap::new();
    for stop in plan.stops.iter().filter(|s| s.client_status.is_some()) {
        if let Some(alloc) = snapshot.alloc(stop.alloc_id) {
            lost.entry(stop.node_id).or_default().push(alloc);
        }
    }
    let mut result = PlanResult {
        eval_id: plan.eval_id,
        job_version: plan.job.as_ref().map_or(0, |job| job.version),
        stops: plan.stops.clone(),
        deployment: plan.deployment.clone(),
        deployment_updates: plan.deployment_updates.clone(),
        ..PlanResult::default()
    };
    for (&node_id, placements) in &plan.placements {
        let mut freed = lost.remove(&node_id).unwrap_or_default();
        freed.extend(stopped_for(snapshot, plan, node_id, placements));
        if node_takes(snapshot, node_id, placements, &freed) {
            result.placements.extend(placements.iter().cloned());
        } else {
            result.refresh_index = snapshot.index().max(1);
        }
    }
    if plan.all_at_once && result.refresh_index > 0 {
        result.placements.clear();
        result.deployment = None;
    }
    result
}

/// Allocations of the node that the plan stops for a successor right there: the client starts that one
/// when they are over.
fn stopped_for<'a>(
    snapshot: &'a State,
    plan: &Plan,
    node_id: NodeId,
    placements: &[Allocation],
) -> Vec<&'a Arc<Allocation>> {
    placements
        .iter()
        .filter_map(|alloc| snapshot.alloc(alloc.previous_allocation?))
        .filter(|old| old.node_id == node_id)
        .filter(|old| {
            (plan.stops.iter()).any(|s| s.alloc_id == old.id && s.client_status.is_none())
        })
        .collect()
}

fn node_takes(
    snapshot: &State,
    node_id: NodeId,
    placements: &[Allocation],
    freed: &[&Arc<Allocation>],
) -> bool {
    let is_new = |alloc: &&Allocation| snapshot.alloc(alloc.id).is_none();
    let mut new = placements.iter().filter(is_new).peekable();
    let Some(node) = snapshot.node(node_id) else {
        return false;
    };
    if new.peek().is_none() {
        return node.status != NodeStatus::Down;
    }
    node.is_ready() && fits(snapshot, node, new, freed)
}

fn fits<'a>(
    snapshot: &State,
    node: &Node,
    new: impl Iterator<Item = &'a Allocation>,
    freed: &[&Arc<Allocation>],
) -> bool {
    let mut used: NodeUsage = snapshot
        .node_usage(node.id)
        .map(|usage| (**usage).clone())
        .unwrap_or_default();
    for alloc in freed.iter().filter(|alloc| !alloc.client_terminal()) {
        used.remove(&alloc.allocated_resources);
    }
    for alloc in new {
        if refusal(node, &used, &alloc.allocated_resources).is_some() {
            return false;
        }
        used.add(&alloc.allocated_resources);
    }
    true
}
