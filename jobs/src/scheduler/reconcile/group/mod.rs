//! One group of a service or batch job.

mod slots;

use super::{
    Input, Placement, ReconcileResult, Replacement, Rollout, delayed_eval,
    names::{self, Names},
    reschedule::{self, Verdict},
    texts,
};
use crate::{
    ids::Ids,
    model::{
        AllocId, Allocation, ClientStatus, DeploymentState, DesiredUpdates, EvalId, Job, JobType,
        StoppedAlloc, TaskGroup, Timestamp, UpdateStrategy,
    },
};
use slots::{Cause, Leaving, Split};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Delayed replacements that are due within this of each other share an evaluation.
const FOLLOWUP_WINDOW: Duration = Duration::from_secs(5);

/// The allocations of a group, sorted by what is to become of them.
#[derive(Default)]
struct Sorted {
    /// They stay, or are updated.
    keep: Vec<Arc<Allocation>>,
    /// Of those, failed and waiting for their replacement, or left for good.
    failed: BTreeSet<AllocId>,
    /// They go, and others come instead.
    leaving: Vec<Leaving>,
    /// Canaries of a deployment that is over.
    stale_canaries: Vec<Arc<Allocation>>,
}

/// One group while it is looked at.
pub(super) struct Group<'a, 'b> {
    input: &'b Input<'a>,
    job: &'b Arc<Job>,
    group: &'b TaskGroup,
    names: Names,
    counts: DesiredUpdates,
}

pub(super) fn reconcile_group(
    input: &Input<'_>,
    job: &Arc<Job>,
    group: &TaskGroup,
    allocs: &[&Arc<Allocation>],
    rollout: &mut Rollout<'_>,
    wanted: &mut ReconcileResult,
    ids: &mut Ids,
) {
    let mut work = Group {
        input,
        job,
        group,
        names: Names::default(),
        counts: DesiredUpdates::default(),
    };
    let sorted = work.sort(allocs, rollout, wanted, ids);
    work.decide(sorted, allocs, rollout, wanted, ids);
    wanted.counts.insert(group.name.clone(), work.counts);
}

impl Group<'_, '_> {
    /// The update block, when it makes deployments.
    fn strategy(&self) -> Option<&UpdateStrategy> {
        self.group
            .update
            .as_ref()
            .filter(|update| update.max_parallel > 0 && self.job.job_type == JobType::Service)
    }

    fn is_current(&self, alloc: &Allocation) -> bool {
        alloc.job_version == self.job.version && alloc.job.create_index == self.job.create_index
    }

    fn sort(
        &mut self,
        allocs: &[&Arc<Allocation>],
        rollout: &Rollout<'_>,
        wanted: &mut ReconcileResult,
        ids: &mut Ids,
    ) -> Sorted {
        let batch = self.job.job_type == JobType::Batch;
        let mut sorted = Sorted::default();
        let mut later: Vec<(Timestamp, Arc<Allocation>)> = Vec::new();
        for alloc in allocs {
            let alloc = Arc::clone(alloc);
            let gone = (self.input.node_gone)(alloc.node_id);
            if batch && alloc.ran_successfully() && alloc.client_terminal() {
                // A finished run counts for its version, whatever became of its node, unless it was
                // told to stop before it ended.
                if self.is_current(&alloc) && !alloc.server_terminal() {
                    sorted.keep.push(alloc);
                }
            } else if alloc.server_terminal() {
                if gone && !alloc.client_terminal() {
                    wanted.lose(&alloc);
                }
            } else if alloc.client_terminal() {
                self.sort_terminal(alloc, batch, rollout, &mut sorted, &mut later);
            } else if alloc.is_canary() && (alloc.deployment_id != rollout.id()) {
                if gone {
                    self.counts.stop += 1;
                    wanted.lose(&alloc);
                } else {
                    sorted.stale_canaries.push(alloc);
                }
            } else if gone {
                sorted.leaving.push(Leaving::new(Cause::Lost, alloc));
            } else if alloc.desired_transition.migrate == Some(true) {
                sorted.leaving.push(Leaving::new(Cause::Migrating, alloc));
            } else {
                sorted.keep.push(alloc);
            }
        }
        self.postpone(later, wanted, ids);
        sorted
    }

    fn sort_terminal(
        &mut self,
        alloc: Arc<Allocation>,
        batch: bool,
        rollout: &Rollout<'_>,
        sorted: &mut Sorted,
        later: &mut Vec<(Timestamp, Arc<Allocation>)>,
    ) {
        let replaced = alloc.next_allocation.is_some();
        let stale = batch && !self.is_current(&alloc);
        let finished = alloc.client_status != ClientStatus::Failed;
        // Of a job that was purged and registered again: a new one does not make up for its
        // failures.
        let purged = alloc.job.create_index != self.job.create_index;
        if replaced || stale || finished || purged {
            return;
        }
        if alloc.is_canary() && alloc.deployment_id != rollout.id() {
            sorted.stale_canaries.push(alloc);
            return;
        }
        match reschedule::judge(self.input, &alloc, rollout.id()) {
            Verdict::Now => {
                self.counts.reschedule_now += 1;
                sorted.leaving.push(Leaving::new(Cause::Failed, alloc));
                return;
            }
            Verdict::Later(due) => {
                self.counts.reschedule_later += 1;
                if alloc.followup_eval_id.is_none() {
                    later.push((due, Arc::clone(&alloc)));
                }
            }
            Verdict::Leave => {}
        }
        sorted.failed.insert(alloc.id);
        sorted.keep.push(alloc);
    }

    /// Makes the evaluations that will replace failed allocations later.
    fn postpone(
        &self,
        mut later: Vec<(Timestamp, Arc<Allocation>)>,
        wanted: &mut ReconcileResult,
        ids: &mut Ids,
    ) {
        later.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
        let mut window: Option<(Timestamp, EvalId)> = None;
        for (due, alloc) in later {
            let id = match &window {
                Some((start, id)) if due.since(*start) < FOLLOWUP_WINDOW => *id,
                _ => {
                    let eval = delayed_eval(self.input.eval, due, ids);
                    let id = eval.id;
                    wanted.followups.push(eval);
                    window = Some((due, id));
                    id
                }
            };
            wanted.stop.push(StoppedAlloc {
                alloc_id: alloc.id,
                node_id: alloc.node_id,
                followup_eval_id: Some(id),
                ..StoppedAlloc::default()
            });
        }
    }

    fn decide(
        &mut self,
        sorted: Sorted,
        allocs: &[&Arc<Allocation>],
        rollout: &mut Rollout<'_>,
        wanted: &mut ReconcileResult,
        ids: &mut Ids,
    ) {
        for alloc in &sorted.stale_canaries {
            self.counts.stop += 1;
            wanted.stop(alloc, texts::NOT_NEEDED);
        }
        let count = self.group.count as usize;
        let (canaries, keep): (Vec<_>, Vec<_>) =
            sorted.keep.into_iter().partition(|a| a.is_canary());
        let mut split = self.split_by_change(keep, &sorted.failed);
        let mut leaving = sorted.leaving;
        leaving.sort_by_key(|leaving| (leaving.cause, leaving.alloc.name_index()));
        self.settle_pairs(&sorted.failed, &mut split, &mut leaving, rollout, wanted);
        self.drop_surplus(count, &sorted.failed, &mut split, &mut leaving, wanted);
        let going = leaving.iter().map(|leaving| &leaving.alloc);
        for alloc in canaries.iter().chain(split.all()).chain(going) {
            self.names.take(alloc);
        }
        let destructive = split.solo.len() + split.paired.len();
        let state = self.rollout_state(rollout, &canaries, destructive);
        let canarying = state.desired_canaries > 0 && !state.promoted;
        let ready = !rollout.paused() && !rollout.failed() && !canarying;
        let limit = self.limit(rollout, &split, &canaries, destructive, ready, count);
        let placed_before = wanted.place.len();
        self.add_canaries(rollout, &state, &canaries, &leaving, &split, wanted);
        self.replace_lost(ready, &split, &leaving, wanted);
        self.migrate(&leaving, ready, &split, wanted);
        let normal = split.slots() + leaving.iter().filter(|l| l.holds_slot()).count();
        if ready {
            self.add_missing(count.saturating_sub(normal), wanted);
        }
        let placed = wanted.place.len() - placed_before;
        let started = self.start_replacements(&mut split, limit.saturating_sub(placed), wanted);
        let in_place = split.in_place.len();
        self.counts.in_place_update += in_place as u64;
        self.counts.ignore +=
            (split.current.len() + canaries.len() + split.solo.len() + split.paired.len()) as u64;
        wanted.in_place.append(&mut split.in_place);
        self.update_rollout(rollout, state, allocs, destructive + in_place, ids);
        let busy = placed + started + in_place + split.solo.len() + split.paired.len() > 0;
        rollout.complete &= !busy;
    }

    fn split_by_change(&self, keep: Vec<Arc<Allocation>>, failed: &BTreeSet<AllocId>) -> Split {
        let mut split = Split::default();
        for alloc in keep {
            let over = alloc.client_terminal();
            if self.is_current(&alloc) || (over && !failed.contains(&alloc.id)) {
                split.current.push(alloc);
                continue;
            }
            let same = alloc.group().is_some_and(|before| {
                !crate::model::is_destructive((&alloc.job, before), (self.job, self.group))
            });
            if same && over {
                // It waits for its successor, which gets the current version.
                split.current.push(alloc);
            } else if same && (self.input.in_place)(&alloc, self.group) {
                split.in_place.push(alloc);
            } else {
                split.solo.push(alloc);
            }
        }
        split.sort();
        split
    }

    /// The group's progress as the deployment has it, or as a new deployment would start.
    fn rollout_state(
        &self,
        rollout: &Rollout<'_>,
        canaries: &[Arc<Allocation>],
        destructive: usize,
    ) -> DeploymentState {
        let Some(strategy) = self.strategy() else {
            return DeploymentState::default();
        };
        if let Some(state) = rollout.state(&self.group.name) {
            return state.clone();
        }
        let needs_canaries = destructive > 0 && (canaries.len() as u32) < strategy.canary;
        DeploymentState {
            auto_revert: strategy.auto_revert,
            auto_promote: strategy.auto_promote,
            desired_total: self.group.count,
            desired_canaries: if needs_canaries { strategy.canary } else { 0 },
            progress_deadline: strategy.progress_deadline,
            ..DeploymentState::default()
        }
    }

    /// How many placements and replacements may be started now.
    fn limit(
        &self,
        rollout: &Rollout<'_>,
        split: &Split,
        canaries: &[Arc<Allocation>],
        destructive: usize,
        ready: bool,
        count: usize,
    ) -> usize {
        let Some(strategy) = self.strategy() else {
            return count.max(destructive);
        };
        if destructive == 0 {
            return count;
        }
        if !ready {
            return 0;
        }
        let deployment_id = rollout.id();
        let mut limit = strategy.max_parallel as usize;
        for alloc in split.current.iter().chain(canaries) {
            if deployment_id.is_none() || alloc.deployment_id != deployment_id {
                continue;
            }
            match alloc.healthy() {
                Some(true) => {}
                Some(false) => return 0,
                None => limit = limit.saturating_sub(1),
            }
        }
        limit
    }

    fn add_canaries(
        &mut self,
        rollout: &Rollout<'_>,
        state: &DeploymentState,
        canaries: &[Arc<Allocation>],
        leaving: &[Leaving],
        split: &Split,
        wanted: &mut ReconcileResult,
    ) {
        let wants = state.desired_canaries as usize;
        if wants == 0 || state.promoted || rollout.paused() || rollout.failed() {
            return;
        }
        // The successor of one that leaves is a canary too.
        let succeeded = leaving.iter().filter(|l| !l.holds_slot());
        let known: Vec<_> = canaries.iter().chain(succeeded.map(|l| &l.alloc)).collect();
        let taken: BTreeSet<Option<u32>> = known.iter().map(|c| c.name_index()).collect();
        let mut free = split
            .solo
            .iter()
            .map(|old| old.name_index())
            .filter(|index| !taken.contains(index));
        for _ in known.len()..wants {
            let index = match free.next().flatten() {
                Some(index) => index,
                None => self.names.next_index(),
            };
            self.counts.canary += 1;
            wanted.place.push(Placement {
                name: names::name(&self.job.id, &self.group.name, index),
                group: self.group.name.clone(),
                job: Arc::clone(self.job),
                previous: None,
                canary: true,
                reschedule: false,
            });
        }
    }

    fn replace_lost(
        &mut self,
        ready: bool,
        split: &Split,
        leaving: &[Leaving],
        wanted: &mut ReconcileResult,
    ) {
        for Leaving { cause, alloc } in leaving {
            if *cause == Cause::Migrating {
                continue;
            }
            let reschedule = *cause == Cause::Failed;
            // A failed one is stopped when its successor has a place, so that its history is not
            // lost.
            if !reschedule {
                wanted.lose(alloc);
                self.counts.stop += 1;
            }
            let canary = alloc.is_canary();
            let job = if ready || canary {
                Arc::clone(self.job)
            } else {
                self.serving_version(alloc, split)
            };
            if job.task_group(&self.group.name).is_none() {
                continue;
            }
            self.counts.place += 1;
            wanted.place.push(Placement {
                name: alloc.name.clone(),
                group: self.group.name.clone(),
                job,
                previous: Some(Arc::clone(alloc)),
                canary,
                reschedule,
            });
        }
    }

    /// The version that serves while canaries wait: never the canaries' own.
    fn serving_version(&self, alloc: &Allocation, split: &Split) -> Arc<Job> {
        let differs = (alloc.group()).is_some_and(|old| {
            crate::model::is_destructive((&alloc.job, old), (self.job, self.group))
        });
        if !self.is_current(alloc) && alloc.job.create_index == self.job.create_index {
            return Arc::clone(if differs { &alloc.job } else { self.job });
        }
        split
            .solo
            .first()
            .map_or_else(|| Arc::clone(self.job), |old| Arc::clone(&old.job))
    }

    fn migrate(
        &mut self,
        leaving: &[Leaving],
        ready: bool,
        split: &Split,
        wanted: &mut ReconcileResult,
    ) {
        for Leaving { cause, alloc } in leaving {
            if *cause != Cause::Migrating {
                continue;
            }
            self.counts.migrate += 1;
            wanted.stop(alloc, texts::MIGRATING);
            let job = if ready || alloc.is_canary() {
                Arc::clone(self.job)
            } else {
                self.serving_version(alloc, split)
            };
            wanted.place.push(Placement {
                name: alloc.name.clone(),
                group: self.group.name.clone(),
                job,
                previous: Some(Arc::clone(alloc)),
                canary: alloc.is_canary(),
                reschedule: false,
            });
        }
    }

    fn add_missing(&mut self, missing: usize, wanted: &mut ReconcileResult) {
        for _ in 0..missing {
            let index = self.names.next_index();
            self.counts.place += 1;
            wanted.place.push(Placement {
                name: names::name(&self.job.id, &self.group.name, index),
                group: self.group.name.clone(),
                job: Arc::clone(self.job),
                previous: None,
                canary: false,
                reschedule: false,
            });
        }
    }

    /// Starts replacing old allocations, failed ones first.
    fn start_replacements(
        &mut self,
        split: &mut Split,
        limit: usize,
        wanted: &mut ReconcileResult,
    ) -> usize {
        let side_by_side = self.strategy().is_some();
        split
            .solo
            .sort_by_key(|old| (!old.client_terminal(), old.name_index(), old.id));
        let started = limit.min(split.solo.len());
        for old in split.solo.drain(..started) {
            self.counts.destructive_update += 1;
            wanted.replace.push(Replacement {
                side_by_side: side_by_side && !old.client_terminal(),
                old,
            });
        }
        started
    }

    /// Starts a deployment when this version changes something.
    fn update_rollout(
        &self,
        rollout: &mut Rollout<'_>,
        state: DeploymentState,
        allocs: &[&Arc<Allocation>],
        changed: usize,
        ids: &mut Ids,
    ) {
        if self.strategy().is_none() || self.group.count == 0 || rollout.current.is_some() {
            return;
        }
        let ran_before = allocs.iter().any(|alloc| self.is_current(alloc));
        if ran_before && changed == 0 {
            return;
        }
        rollout.start(self.input, self.job, &self.group.name, state, ids);
    }
}
