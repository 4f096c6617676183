//! Does a plan still fit the state that it is applied to?

use crate::{
    model::{
        AllocId, Allocation, DeploymentId, EvalId, Index, JobId, NodeId, NodeStatus, NodeUsage,
        PlanResult, SchedulerConfig, refusal,
    },
    state::Snapshot,
};
use std::collections::BTreeMap;

/// Why a plan is left out as a whole; its evaluation is decided about anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Somebody else ended the evaluation.
    #[error("evaluation `{eval_id}` has ended")]
    EvalEnded {
        /// Which.
        eval_id: EvalId,
    },
    /// The job was registered or stopped after the plan was made.
    #[error("job `{job_id}` changed at index {index}")]
    JobChanged {
        /// Which.
        job_id: JobId,
        /// When.
        index: Index,
    },
    /// The job's deployment changed after the plan was made.
    #[error("deployment `{deployment_id}` changed at index {index}")]
    DeploymentChanged {
        /// Which.
        deployment_id: DeploymentId,
        /// When.
        index: Index,
    },
    /// The plan evicts allocations, and how the servers schedule changed after it was made.
    #[error("the scheduler configuration changed at index {index}")]
    SchedulerConfigChanged {
        /// When.
        index: Index,
    },
    /// A server changed an allocation that the plan touches, or its client ended one that the plan
    /// updates.
    #[error("allocation `{alloc_id}` changed at index {index}")]
    AllocChanged {
        /// Which.
        alloc_id: AllocId,
        /// When.
        index: Index,
    },
    /// A node that the plan uses changed, went away, or takes no allocations.
    #[error("node `{node_id}` changed or takes no allocations")]
    NodeChanged {
        /// Which.
        node_id: NodeId,
    },
    /// A node has no room for what the plan places there.
    #[error("node `{node_id}` has no room: {dimension}")]
    NoRoom {
        /// Which.
        node_id: NodeId,
        /// What is exhausted.
        dimension: String,
    },
}

/// Whether a plan that was made from the state at index `seen` still fits `snapshot`.
///
/// Reports of clients do not count unless they end an allocation that the plan updates in place:
/// they only free room, and bring evaluations of their own.
///
/// # Errors
/// The first [`Conflict`] found.
pub fn verify(snapshot: &Snapshot, seen: Index, plan: &PlanResult) -> Result<(), Conflict> {
    verify_job(snapshot, seen, plan)?;
    verify_allocs(snapshot, seen, plan)?;
    let mut by_node: BTreeMap<NodeId, Vec<&Allocation>> = BTreeMap::new();
    for alloc in &plan.placements {
        by_node.entry(alloc.node_id).or_default().push(alloc);
    }
    let mut freed = freed_by(snapshot, plan);
    for (node_id, placements) in by_node {
        let freed = freed.remove(&node_id).unwrap_or_default();
        verify_node(snapshot, seen, node_id, &placements, &freed)?;
    }
    Ok(())
}

fn verify_job(snapshot: &Snapshot, seen: Index, plan: &PlanResult) -> Result<(), Conflict> {
    let Some(eval) = plan.evals.first() else {
        return Ok(());
    };
    let row = snapshot.eval(eval.id);
    if row.is_some_and(|row| row.status.is_terminal()) {
        return Err(Conflict::EvalEnded { eval_id: eval.id });
    }
    let key = eval.job_key();
    if let Some(job) = snapshot.job(&key).filter(|job| job.job_modify_index > seen) {
        return Err(Conflict::JobChanged {
            job_id: job.id.clone(),
            index: job.job_modify_index,
        });
    }
    let latest = snapshot.latest_deployment(&key);
    if let Some(deployment) = latest.filter(|deployment| deployment.modify_index > seen) {
        return Err(Conflict::DeploymentChanged {
            deployment_id: deployment.id,
            index: deployment.modify_index,
        });
    }
    let config = snapshot.scheduler_config();
    let evicts = plan.stops.iter().any(|stop| stop.preempted_by.is_some());
    if evicts && config.modify_index > seen.max(SchedulerConfig::UNCHANGED) {
        return Err(Conflict::SchedulerConfigChanged {
            index: config.modify_index,
        });
    }
    Ok(())
}

/// Every allocation that the plan stops, updates or replaces is as the scheduler saw it.
fn verify_allocs(snapshot: &Snapshot, seen: Index, plan: &PlanResult) -> Result<(), Conflict> {
    let changed = |alloc: &Allocation, index: Index| Conflict::AllocChanged {
        alloc_id: alloc.id,
        index,
    };
    let stopped = plan.stops.iter().map(|stop| stop.alloc_id);
    let replaced = plan
        .placements
        .iter()
        .filter_map(|alloc| alloc.previous_allocation);
    for alloc in stopped.chain(replaced).filter_map(|id| snapshot.alloc(id)) {
        if alloc.alloc_modify_index > seen {
            return Err(changed(alloc, alloc.alloc_modify_index));
        }
    }
    for alloc in &plan.placements {
        let Some(row) = snapshot.alloc(alloc.id) else {
            continue;
        };
        let ended = row.client_terminal() && row.modify_index > seen;
        if row.alloc_modify_index > seen || ended {
            return Err(changed(row, row.modify_index));
        }
    }
    Ok(())
}

/// Node id to its allocations whose room the plan may use: those that are given up because nothing
/// is heard of the node, and those stopped or evicted for another one right there, which the client
/// starts when they are over.
fn freed_by<'a>(
    snapshot: &'a Snapshot,
    plan: &'a PlanResult,
) -> BTreeMap<NodeId, Vec<&'a Allocation>> {
    let mut stopped: BTreeMap<AllocId, &Allocation> = BTreeMap::new();
    let mut freed: BTreeMap<NodeId, Vec<&Allocation>> = BTreeMap::new();
    let placed: BTreeMap<AllocId, NodeId> = plan
        .placements
        .iter()
        .map(|alloc| (alloc.id, alloc.node_id))
        .collect();
    for stop in &plan.stops {
        let Some(alloc) = snapshot.alloc(stop.alloc_id) else {
            continue;
        };
        let makes_room = stop.preempted_by.and_then(|by| placed.get(&by));
        if stop.client_status.is_some() || makes_room == Some(&alloc.node_id) {
            freed.entry(alloc.node_id).or_default().push(alloc);
        } else {
            stopped.insert(alloc.id, alloc);
        }
    }
    for alloc in &plan.placements {
        let old = alloc.previous_allocation.and_then(|id| stopped.get(&id));
        if let Some(old) = old.filter(|old| old.node_id == alloc.node_id) {
            freed.entry(old.node_id).or_default().push(old);
        }
    }
    freed
}

fn verify_node(
    snapshot: &Snapshot,
    seen: Index,
    node_id: NodeId,
    placements: &[&Allocation],
    freed: &[&Allocation],
) -> Result<(), Conflict> {
    let is_new = |alloc: &&&Allocation| snapshot.alloc(alloc.id).is_none();
    let mut new = placements.iter().filter(is_new).peekable();
    let usable = snapshot.node(node_id).filter(|node| {
        let takes = match new.peek() {
            Some(_) => node.is_ready(),
            None => node.status != NodeStatus::Down,
        };
        takes && node.modify_index <= seen
    });
    let Some(node) = usable else {
        return Err(Conflict::NodeChanged { node_id });
    };
    let mut used: NodeUsage = snapshot
        .node_usage(node_id)
        .map(|usage| (**usage).clone())
        .unwrap_or_default();
    for alloc in freed.iter().filter(|alloc| !alloc.client_terminal()) {
        used.remove(&alloc.allocated_resources);
    }
    for alloc in new {
        if let Some(dimension) = refusal(node, &used, &alloc.allocated_resources) {
            return Err(Conflict::NoRoom { node_id, dimension });
        }
        used.add(&alloc.allocated_resources);
    }
    Ok(())
}
