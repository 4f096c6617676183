//! From what an entry changed to events.

use jobs::{
    model::{Allocation, Deployment, Job, Node},
    state::{AllocChange, JobChange, NodeChange},
};
use mesh::{
    model::Service,
    view::{Change, Table},
};
use std::{collections::BTreeSet, sync::Arc};

use super::{Event, Row};
use crate::{Snapshot, log::published::Commit};

/// The events of an entry; `before` is the state without it.
pub(super) fn events(before: &Snapshot, commit: &Commit) -> Vec<Event> {
    let mut events = Vec::new();
    for applied in &commit.changes.jobs {
        events.extend(applied.jobs.iter().filter_map(job));
        events.extend(applied.evals.iter().map(|row| Event {
            kind: "EvaluationUpdated",
            row: Row::Evaluation(Arc::clone(row)),
        }));
        events.extend(applied.allocs.iter().filter_map(allocation));
        for row in &applied.deployments {
            let before = before.jobs.deployment(row.id).map(|row| &**row);
            events.push(Event {
                kind: kind_of_deployment(before, row),
                row: Row::Deployment(Arc::clone(row)),
            });
            events.extend(rollouts(before, row));
        }
        events.extend(applied.nodes.iter().filter_map(node));
        events.extend(applied.variables.iter().map(|key| Event {
            kind: "VariableUpdated",
            row: Row::Variable(key.clone(), commit.snapshot.jobs.variable(key).cloned()),
        }));
    }
    catalog(before, commit, &mut events);
    events
}

fn catalog(before: &Snapshot, commit: &Commit, events: &mut Vec<Event>) {
    let mut services = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let mut overrides = false;
    for applied in &commit.changes.mesh {
        services.extend(applied.services.iter());
        keys.extend(applied.keys.iter());
        overrides |= applied.tables.contains(&Table::RouteOverrides);
        for change in &applied.changes {
            if let Change::PutService(row) = change {
                let kind = if row.draining {
                    "ServiceDeregistration"
                } else {
                    "ServiceRegistration"
                };
                events.extend(instance(row, kind));
            } else if let Change::RemoveService(key) = change {
                let row = before.mesh.service(key).filter(|row| !row.draining);
                events.extend(row.and_then(|row| instance(row, "ServiceDeregistration")));
            }
        }
    }
    events.extend(services.into_iter().map(|name| Event {
        kind: "CatalogServiceUpdated",
        row: Row::CatalogService(name.clone()),
    }));
    events.extend(keys.into_iter().map(|key| Event {
        kind: "KeyUpdated",
        row: Row::Key(key.clone()),
    }));
    if overrides {
        events.push(Event {
            kind: "RouteOverridesUpdated",
            row: Row::RouteOverrides,
        });
    }
}

fn job(change: &JobChange) -> Option<Event> {
    let row = change.after.as_ref().or(change.before.as_ref())?;
    let kind = kind_of_job(change.before.as_deref(), change.after.as_deref());
    Some(Event {
        kind,
        row: Row::Job(Arc::clone(row), change.after.is_none()),
    })
}

fn kind_of_job(before: Option<&Job>, after: Option<&Job>) -> &'static str {
    let Some(after) = after else {
        return "JobDeregistered";
    };
    match before {
        Some(before) if after.stop && !before.stop => "JobDeregistered",
        // Only its status followed from something else.
        Some(before) if before.job_modify_index == after.job_modify_index => "EvaluationUpdated",
        _ => "JobRegistered",
    }
}

fn allocation(change: &AllocChange) -> Option<Event> {
    Some(Event {
        kind: kind_of_allocation(change.before.as_deref(), change.after.as_deref()),
        row: Row::Allocation(Arc::clone(change.row()?)),
    })
}

/// A plan places or stops it, somebody wishes that it goes, or its client tells of it.
fn kind_of_allocation(before: Option<&Allocation>, after: Option<&Allocation>) -> &'static str {
    let (Some(before), Some(after)) = (before, after) else {
        return "PlanResult";
    };
    if before.desired_status != after.desired_status || before.job_version != after.job_version {
        "PlanResult"
    } else if before.desired_transition != after.desired_transition {
        "AllocationUpdateDesiredStatus"
    } else {
        "AllocationUpdated"
    }
}

fn kind_of_deployment(before: Option<&Deployment>, after: &Deployment) -> &'static str {
    let Some(before) = before else {
        return "PlanResult";
    };
    let promoted = |row: &Deployment| -> Vec<bool> {
        row.task_groups
            .values()
            .map(|group| group.promoted)
            .collect()
    };
    let health = |row: &Deployment| -> Vec<(u32, u32)> {
        let groups = row.task_groups.values();
        groups
            .map(|group| (group.healthy_allocs, group.unhealthy_allocs))
            .collect()
    };
    if promoted(before) != promoted(after) {
        "DeploymentPromotion"
    } else if before.status == after.status && health(before) != health(after) {
        "DeploymentAllocHealth"
    } else {
        "DeploymentStatusUpdate"
    }
}

/// The transitions that rollouts of a deployment made.
fn rollouts(before: Option<&Deployment>, after: &Arc<Deployment>) -> Vec<Event> {
    let mut events = Vec::new();
    for (name, group) in &after.task_groups {
        let known = before
            .and_then(|row| row.task_groups.get(name)?.rollout.as_ref())
            .map_or(0, |rollout| rollout.revision);
        let transitions = group.rollout.iter().flat_map(|own| &own.transitions);
        let new = transitions.filter(|own| own.revision > known);
        events.extend(new.map(|own| Event {
            kind: "RolloutTransition",
            row: Row::Rollout(Arc::clone(after), name.clone(), own.revision),
        }));
    }
    events
}

fn node(change: &NodeChange) -> Option<Event> {
    Some(Event {
        kind: kind_of_node(change.before.as_deref(), change.after.as_deref()),
        row: Row::Node(Arc::clone(change.row()?)),
    })
}

fn kind_of_node(before: Option<&Node>, after: Option<&Node>) -> &'static str {
    let Some(after) = after else {
        return "NodeDeregistration";
    };
    match before {
        Some(before) if before.drain != after.drain => "NodeDrain",
        Some(before) if before.scheduling_eligibility != after.scheduling_eligibility => {
            "NodeEligibility"
        }
        Some(before) if before.events != after.events || before.status != after.status => {
            "NodeStreamEvent"
        }
        _ => "NodeRegistration",
    }
}

/// Only instances that their job keeps to itself are told under the topic of the published API.
fn instance(row: &Arc<Service>, kind: &'static str) -> Option<Event> {
    let is_private = row.origin.as_ref().is_some_and(|origin| origin.private);
    is_private.then(|| Event {
        kind,
        row: Row::Service(Arc::clone(row)),
    })
}
