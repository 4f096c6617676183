//! What should change, regardless of where there is room: the job against its allocations.

mod group;
mod names;
mod reschedule;

pub(crate) use reschedule::{allowed, next_delay};

use crate::{
    ids::Ids,
    model::{
        AllocName, Allocation, ClientStatus, Deployment, DeploymentId, DeploymentState,
        DeploymentStatus, DeploymentUpdate, DesiredUpdates, EvalStatus, Evaluation, FlatMap,
        GroupName, Job, NodeId, StoppedAlloc, TaskGroup, Timestamp, Trigger,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Published reasons.
pub(crate) mod texts {
    pub(crate) const NOT_NEEDED: &str = "alloc not needed due to job update";
    pub(crate) const STOPPED: &str = "alloc not needed due to job update";
    pub(crate) const LOST: &str = "alloc is lost since its node is down";
    pub(crate) const MIGRATING: &str = "alloc is being migrated";
    pub(crate) const UPDATING: &str = "alloc is being updated due to job update";
    pub(crate) const RESCHEDULED: &str = "alloc was rescheduled because it failed";
    pub(crate) const TAINTED: &str = "alloc not needed as node is tainted";
    pub(crate) const CANCELLED_STOPPED: &str = "Cancelled because job is stopped";
    pub(crate) const CANCELLED_NEWER: &str = "Cancelled due to newer version of job";
    pub(crate) const RUNNING: &str = "Deployment is running";
    pub(crate) const NEEDS_PROMOTION: &str = "Deployment is running but requires manual promotion";
    pub(crate) const AUTO_PROMOTION: &str = "Deployment is running pending automatic promotion";
    pub(crate) const SUCCESSFUL: &str = "Deployment completed successfully";
    pub(crate) const RESCHEDULE_LATER: &str = "created for delayed rescheduling";
}

/// What the comparison draws on.
pub(super) struct Input<'a> {
    /// The job; none when it was purged.
    pub(super) job: Option<&'a Arc<Job>>,
    /// The evaluation.
    pub(super) eval: &'a Evaluation,
    /// Every allocation of the job.
    pub(super) allocs: Vec<&'a Arc<Allocation>>,
    /// The newest deployment of the job.
    pub(super) deployment: Option<&'a Arc<Deployment>>,
    /// True when the node of that id is down or unknown.
    pub(super) node_gone: &'a dyn Fn(NodeId) -> bool,
    /// True when the allocation may go on with this form of its group on its node.
    pub(super) in_place: &'a dyn Fn(&Allocation, &TaskGroup) -> bool,
    /// Now since the epoch.
    pub(super) now: Timestamp,
}

/// An allocation to place.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// `job.group[index]`.
    pub(super) name: AllocName,
    /// Group.
    pub(super) group: GroupName,
    /// The version to run.
    pub(super) job: Arc<Job>,
    /// The one it replaces.
    pub(super) previous: Option<Arc<Allocation>>,
    /// It becomes a canary.
    pub(super) canary: bool,
    /// It replaces a failed one: the tracker goes on and its nodes are avoided.
    pub(super) reschedule: bool,
}

/// An allocation to replace by one of the current version.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    /// The old one.
    pub(super) old: Arc<Allocation>,
    /// The new one is placed beside the old one where there is room; the old one is stopped by a
    /// later evaluation, when the new one is healthy.
    pub(super) side_by_side: bool,
}

/// What should change.
#[derive(Debug, Default)]
pub(super) struct ReconcileResult {
    pub(super) place: Vec<Placement>,
    pub(super) replace: Vec<Replacement>,
    /// To be rewritten with the current version, where they are.
    pub(super) in_place: Vec<Arc<Allocation>>,
    pub(super) stop: Vec<StoppedAlloc>,
    /// Created, or the current one with groups added.
    pub(super) deployment: Option<Deployment>,
    pub(super) deployment_updates: Vec<DeploymentUpdate>,
    pub(super) followups: Vec<Evaluation>,
    pub(super) counts: FlatMap<GroupName, DesiredUpdates>,
    /// The deployment that new allocations belong to.
    pub(super) deployment_id: Option<DeploymentId>,
}

impl ReconcileResult {
    fn stop(&mut self, alloc: &Allocation, description: &str) {
        self.stop_as(alloc, description, None);
    }

    fn lose(&mut self, alloc: &Allocation) {
        self.stop_as(alloc, texts::LOST, Some(ClientStatus::Lost));
    }

    fn stop_as(&mut self, alloc: &Allocation, description: &str, status: Option<ClientStatus>) {
        self.stop.push(StoppedAlloc {
            alloc_id: alloc.id,
            node_id: alloc.node_id,
            description: description.into(),
            client_status: status,
            ..StoppedAlloc::default()
        });
    }
}

/// Compares a service or batch job with its allocations.
pub(super) fn reconcile(input: &Input<'_>, ids: &mut Ids) -> ReconcileResult {
    let mut wanted = ReconcileResult::default();
    let mut groups: BTreeMap<&GroupName, Vec<&Arc<Allocation>>> = BTreeMap::new();
    for alloc in &input.allocs {
        groups.entry(&alloc.task_group).or_default().push(alloc);
    }
    let Some(job) = input.job.filter(|job| !job.stop) else {
        if let Some(deployment) = input.deployment.filter(|d| d.is_active()) {
            wanted
                .deployment_updates
                .push(cancel(deployment, texts::CANCELLED_STOPPED));
        }
        for (name, allocs) in groups {
            stop_group(input, &mut wanted, name, &allocs);
        }
        return wanted;
    };
    let current = current_deployment(input, job, &mut wanted);
    let mut rollout = Rollout {
        current,
        created: None,
        complete: true,
    };
    for group in &job.task_groups {
        let allocs = groups.remove(&group.name).unwrap_or_default();
        group::reconcile_group(input, job, group, &allocs, &mut rollout, &mut wanted, ids);
    }
    for (name, allocs) in groups {
        stop_group(input, &mut wanted, name, &allocs);
    }
    rollout.finish(&mut wanted);
    wanted
}

/// The deployment of this version, whatever its status; an active one of another version is
/// canceled.
fn current_deployment<'a>(
    input: &Input<'a>,
    job: &Job,
    wanted: &mut ReconcileResult,
) -> Option<&'a Deployment> {
    let deployment = input.deployment?;
    let of_this_version =
        deployment.job_version == job.version && deployment.job_create_index == job.create_index;
    if !of_this_version {
        if deployment.is_active() {
            wanted
                .deployment_updates
                .push(cancel(deployment, texts::CANCELLED_NEWER));
        }
        return None;
    }
    Some(deployment)
}

fn cancel(deployment: &Deployment, description: &str) -> DeploymentUpdate {
    DeploymentUpdate {
        deployment_id: deployment.id,
        status: DeploymentStatus::Cancelled,
        description: description.into(),
    }
}

/// Stops what is still wanted, and gives up what runs on nodes that are gone.
fn stop_group(
    input: &Input<'_>,
    wanted: &mut ReconcileResult,
    name: &GroupName,
    allocs: &[&Arc<Allocation>],
) {
    let mut stopped = 0;
    for alloc in allocs {
        if alloc.client_terminal() {
            continue;
        }
        if (input.node_gone)(alloc.node_id) {
            wanted.lose(alloc);
        } else if !alloc.server_terminal() {
            wanted.stop(alloc, texts::STOPPED);
        } else {
            continue;
        }
        stopped += 1;
    }
    if stopped > 0 {
        wanted.counts.get_or_default(name.clone()).stop += stopped;
    }
}

/// The deployment while its groups are looked at.
pub(super) struct Rollout<'a> {
    /// The one of this version.
    current: Option<&'a Deployment>,
    /// The one that this evaluation creates.
    created: Option<Deployment>,
    /// No group has anything left to do.
    complete: bool,
}

impl Rollout<'_> {
    fn id(&self) -> Option<DeploymentId> {
        self.created
            .as_ref()
            .or_else(|| self.current.filter(|d| d.is_active()))
            .map(|deployment| deployment.id)
    }

    fn state(&self, group: &GroupName) -> Option<&DeploymentState> {
        let current = self.current.and_then(|d| d.task_groups.get(group));
        current.or_else(|| self.created.as_ref()?.task_groups.get(group))
    }

    fn failed(&self) -> bool {
        self.current.is_some_and(|d| {
            matches!(
                d.status,
                DeploymentStatus::Failed | DeploymentStatus::Cancelled
            )
        })
    }

    fn paused(&self) -> bool {
        self.current
            .is_some_and(|d| d.status == DeploymentStatus::Paused)
    }

    fn start(
        &mut self,
        input: &Input<'_>,
        job: &Job,
        group: &GroupName,
        state: DeploymentState,
        ids: &mut Ids,
    ) {
        let created = self.created.get_or_insert_with(|| Deployment {
            id: ids.next_deployment(),
            namespace: job.namespace.clone(),
            job_id: job.id.clone(),
            job_version: job.version,
            job_modify_index: job.modify_index,
            job_spec_modify_index: job.job_modify_index,
            job_create_index: job.create_index,
            status: DeploymentStatus::Running,
            status_description: texts::RUNNING.into(),
            eval_priority: input.eval.priority,
            ..Deployment::default()
        });
        created.task_groups.insert(group.clone(), state);
    }

    fn finish(mut self, wanted: &mut ReconcileResult) {
        if let Some(created) = &mut self.created {
            created.status_description = running_text(created).into();
            wanted.deployment_id = Some(created.id);
            wanted.deployment = self.created;
            return;
        }
        let Some(current) = self.current.filter(|d| d.is_active()) else {
            return;
        };
        wanted.deployment_id = Some(current.id);
        let done = |state: &DeploymentState| {
            state.healthy_allocs >= state.desired_total.max(state.desired_canaries)
                && (state.desired_canaries == 0 || state.promoted)
        };
        if self.complete && current.task_groups.values().all(done) {
            wanted.deployment_updates.push(DeploymentUpdate {
                deployment_id: current.id,
                status: DeploymentStatus::Successful,
                description: texts::SUCCESSFUL.into(),
            });
        }
    }
}

fn running_text(deployment: &Deployment) -> &'static str {
    if !deployment.requires_promotion() {
        texts::RUNNING
    } else if deployment.has_auto_promote() {
        texts::AUTO_PROMOTION
    } else {
        texts::NEEDS_PROMOTION
    }
}

/// An evaluation of the same job that waits until `due`.
pub(super) fn delayed_eval(eval: &Evaluation, due: Timestamp, ids: &mut Ids) -> Evaluation {
    Evaluation {
        id: ids.next_eval(),
        namespace: eval.namespace.clone(),
        priority: eval.priority,
        job_type: eval.job_type,
        triggered_by: Trigger::AllocReschedule,
        job_id: eval.job_id.clone(),
        job_modify_index: eval.job_modify_index,
        status: EvalStatus::Pending,
        status_description: texts::RESCHEDULE_LATER.into(),
        wait_until: due,
        previous_eval: Some(eval.id),
        ..Evaluation::default()
    }
}
