mod found;
mod retention;
#[cfg(test)]
mod tests;

use super::Action;
use crate::{
    model::{
        Deployment, DeploymentId, EvalId, Evaluation, Job, JobKey, Node, NodeId, NodeStatus,
        Timestamp,
    },
    state::{Applied, Snapshot},
};
use found::Found;
use retention::{Verdict, ended_at, is_collectable, job_told_until, no_longer_told};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use found::COLLECTED_MAX;
pub use retention::GcLimits;

/// Most rows looked at in one tick, some milliseconds of work; the rest follows after
/// [`STEP_PAUSE`].
pub const LOOKED_MAX: usize = 4_096;
/// Pause between the steps of one pass.
pub const STEP_PAUSE: Duration = Duration::from_millis(50);

/// Deletes terminal rows: by age, and the oldest dead jobs beyond a number.
///
/// Rows are noted when they end, with the time at which they may go; so a pass looks only at what
/// is due, and at most at [`LOOKED_MAX`] rows in one tick. After a change of leader the rows that
/// ended before are found by a walk over the tables, in steps of the same size.
#[derive(Debug)]
pub struct Gc {
    limits: GcLimits,
    /// When to look at what.
    due: BTreeSet<(Timestamp, Subject)>,
    /// Dead jobs by the time at which they ended.
    dead: BTreeSet<(Timestamp, Arc<JobKey>)>,
    dead_at: BTreeMap<Arc<JobKey>, Timestamp>,
    /// Where the walk over rows that ended before stands; none when it is done.
    walk: Option<Walk>,
    next_step: Option<Timestamp>,
}

/// A row that may be deleted some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Eval(EvalId),
    Deployment(DeploymentId),
    Node(NodeId),
    Job(Arc<JobKey>),
}

/// The next row of a walk over the tables.
#[derive(Clone, Debug)]
enum Walk {
    Jobs(JobKey),
    Evals(EvalId),
    Deployments(DeploymentId),
    Nodes(NodeId),
}

impl Gc {
    /// Collects by these limits. The first tick only starts the interval.
    pub fn new(limits: GcLimits) -> Self {
        Self {
            limits,
            due: BTreeSet::new(),
            dead: BTreeSet::new(),
            dead_at: BTreeMap::new(),
            walk: None,
            next_step: None,
        }
    }

    /// Forgets everything; the rows of the state are walked over by the ticks that follow.
    pub fn restore(&mut self) {
        *self = Self {
            walk: Some(Walk::Jobs(JobKey::default())),
            ..Self::new(self.limits.clone())
        };
    }

    /// Takes note of rows that became terminal.
    pub fn on_applied(&mut self, now: Timestamp, state: &Snapshot, applied: &Applied) {
        for change in &applied.jobs {
            match &change.after {
                Some(job) if is_collectable(job) => self.note_dead(now, state, job),
                _ => self.forget_dead(&change.key),
            }
        }
        for eval in &applied.evals {
            self.note_eval(eval);
        }
        for deployment in &applied.deployments {
            self.note_deployment(deployment);
            for older in no_longer_told(state, &deployment.job_key()) {
                self.note_deployment(older);
            }
        }
        for node in applied
            .nodes
            .iter()
            .filter_map(|change| change.after.as_ref())
        {
            self.note_node(node);
        }
    }

    /// What to delete now.
    pub fn on_tick(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        match self.next_step {
            None => {
                self.next_step = Some(now + self.limits.interval);
                return Vec::new();
            }
            Some(due) if due > now => return Vec::new(),
            Some(_) => {}
        }
        let (found, done) = self.step(now, state, LOOKED_MAX);
        let pause = if done {
            self.limits.interval
        } else {
            STEP_PAUSE
        };
        self.next_step = Some(now + pause);
        found.into_actions()
    }

    /// When the next step is due; at once before the first tick.
    pub fn next_tick(&self) -> Option<Timestamp> {
        Some(self.next_step.unwrap_or_default())
    }

    /// Everything that is terminal, regardless of its age, except deployments that tell why their
    /// rollouts went as they did, and their jobs. Looks at every row: not for a thread
    /// that must not be held up.
    pub fn force(now: Timestamp, state: &Snapshot) -> Vec<Action> {
        let mut gc = Self::new(GcLimits {
            interval: Duration::from_secs(1),
            eval: Duration::ZERO,
            batch_eval: Duration::ZERO,
            job: Duration::ZERO,
            deployment: Duration::ZERO,
            node: Duration::ZERO,
            dead_jobs_max: usize::MAX,
        });
        gc.restore();
        gc.step(now, state, usize::MAX).0.into_actions()
    }

    /// Looks at about `rows` rows; true when nothing due is left.
    fn step(&mut self, now: Timestamp, state: &Snapshot, rows: usize) -> (Found, bool) {
        let mut left = rows;
        let mut found = Found::default();
        while left > 0 && self.walk.is_some() {
            left = self.walk_on(now, state, left);
        }
        while left > 0
            && let Some((ended, key)) = self.dead.first().cloned()
        {
            let too_many = self.dead.len() > self.limits.dead_jobs_max;
            if !too_many && ended + self.limits.job > now {
                break;
            }
            let told = job_told_until(state, &key).filter(|until| !too_many && *until > now);
            let looked = match told {
                Some(until) => self.keep_dead(until, &key),
                None => self.look_at_dead(now, state, ended, &key, &mut found),
            };
            left = left.saturating_sub(looked);
        }
        while left > 0
            && self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, subject)) = self.due.pop_first()
        {
            let looked = self.look(now, state, subject, &mut found);
            left = left.saturating_sub(looked);
        }
        (found, left > 0)
    }

    /// Notes at most `left` rows of the table that the walk is in; answers with what is left of
    /// that.
    fn walk_on(&mut self, now: Timestamp, state: &Snapshot, left: usize) -> usize {
        let before = left;
        let mut left = left;
        let mut next = None;
        match self.walk.take() {
            Some(Walk::Jobs(from)) => {
                for job in state.jobs_from(&from) {
                    if left == 0 {
                        next = Some(Walk::Jobs(job.key()));
                        break;
                    }
                    left -= 1;
                    if is_collectable(job) {
                        self.note_dead(now, state, job);
                    }
                }
                self.walk = next.or_else(|| Some(Walk::Evals(Default::default())));
            }
            Some(Walk::Evals(from)) => {
                for eval in state.evals_from(from) {
                    if left == 0 {
                        next = Some(Walk::Evals(eval.id));
                        break;
                    }
                    left -= 1;
                    self.note_eval(eval);
                }
                self.walk = next.or_else(|| Some(Walk::Deployments(Default::default())));
            }
            Some(Walk::Deployments(from)) => {
                for deployment in state.deployments_from(from) {
                    if left == 0 {
                        next = Some(Walk::Deployments(deployment.id));
                        break;
                    }
                    left -= 1;
                    self.note_deployment(deployment);
                }
                self.walk = next.or_else(|| Some(Walk::Nodes(Default::default())));
            }
            Some(Walk::Nodes(from)) => {
                for node in state.nodes_from(from) {
                    if left == 0 {
                        next = Some(Walk::Nodes(node.id));
                        break;
                    }
                    left -= 1;
                    self.note_node(node);
                }
                self.walk = next;
            }
            None => {}
        }
        debug_assert!(left <= before);
        left
    }

    fn note_eval(&mut self, eval: &Evaluation) {
        if eval.status.is_terminal() {
            let due = eval.modify_time + self.limits.kept(eval);
            self.due.insert((due, Subject::Eval(eval.id)));
        }
    }

    fn note_deployment(&mut self, deployment: &Deployment) {
        if !deployment.is_active() {
            let due = deployment.modify_time + self.limits.deployment;
            let subject = Subject::Deployment(deployment.id);
            self.due.insert((due, subject));
        }
    }

    fn note_node(&mut self, node: &Node) {
        if node.status == NodeStatus::Down {
            let subject = Subject::Node(node.id);
            self.due.insert((self.limits.node_due(node), subject));
        }
    }

    fn note_dead(&mut self, now: Timestamp, state: &Snapshot, job: &Job) {
        let key = job.key();
        if !self.dead_at.contains_key(&key) {
            let ended = ended_at(state, job).unwrap_or(now);
            self.remember_dead(ended, Arc::new(key));
        }
    }

    fn remember_dead(&mut self, ended: Timestamp, key: Arc<JobKey>) {
        self.dead.insert((ended, Arc::clone(&key)));
        self.dead_at.insert(key, ended);
    }

    fn forget_dead(&mut self, key: &JobKey) {
        if let Some((key, ended)) = self.dead_at.remove_entry(key) {
            self.dead.remove(&(ended, key));
        }
    }

    /// Keeps a dead job as if it had ended so much later that it may go when it is time. It still
    /// counts among those that there may be.
    fn keep_dead(&mut self, until: Timestamp, key: &Arc<JobKey>) -> usize {
        self.forget_dead(key);
        self.remember_dead(until - self.limits.job, Arc::clone(key));
        1
    }

    /// Looks at the dead job that ended first. Answers with the number of rows looked at.
    fn look_at_dead(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        noted: Timestamp,
        key: &Arc<JobKey>,
        found: &mut Found,
    ) -> usize {
        self.forget_dead(key);
        let Some(job) = state.job(key).filter(|job| is_collectable(job)) else {
            return 1;
        };
        // Whatever comes of it: if the job is still there after a while, it is looked at again.
        let again = now + self.limits.interval;
        if state
            .versions(key)
            .iter()
            .any(|job| job.version_tag.is_some())
        {
            // Whoever named it wants to find it.
            self.due.insert((again, Subject::Job(Arc::clone(key))));
            return 1;
        }
        match ended_at(state, job) {
            Some(ended) if ended > noted => {
                self.remember_dead(ended, Arc::clone(key));
                1
            }
            Some(_) => {
                self.due.insert((again, Subject::Job(Arc::clone(key))));
                self.take_job(state, key, found)
            }
            None => {
                self.due.insert((again, Subject::Job(Arc::clone(key))));
                1
            }
        }
    }

    fn take_job(&mut self, state: &Snapshot, key: &JobKey, found: &mut Found) -> usize {
        let before = found.evals.len() + found.allocs.len();
        for eval in state.evals_of_job(key) {
            let due = eval.modify_time + self.limits.kept(eval);
            self.due.remove(&(due, Subject::Eval(eval.id)));
            found.evals.push(eval.id);
        }
        let allocs = state.allocs_of_job(key).map(|alloc| alloc.id);
        found.allocs.extend(allocs);
        found.jobs.push(key.clone());
        1 + found.evals.len() + found.allocs.len() - before
    }

    /// Looks at a row that is due. Answers with the number of rows looked at.
    fn look(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        subject: Subject,
        found: &mut Found,
    ) -> usize {
        let mut looked = 1;
        let verdict = match &subject {
            Subject::Eval(id) => match state.eval(*id) {
                Some(eval) => self.limits.judge_eval(now, state, eval, &mut looked),
                None => Verdict::Ignore,
            },
            Subject::Deployment(id) => match state.deployment(*id) {
                Some(deployment) => self.limits.judge_deployment(now, state, deployment),
                None => Verdict::Ignore,
            },
            Subject::Node(id) => match state.node(*id) {
                Some(node) => self.limits.judge_node(now, state, node),
                None => Verdict::Ignore,
            },
            Subject::Job(key) => {
                if let Some(job) = state.job(key).filter(|job| is_collectable(job)) {
                    self.note_dead(now, state, job);
                }
                Verdict::Ignore
            }
        };
        let again = match verdict {
            Verdict::Ignore => return looked,
            Verdict::LookAgain(at) => at.max(now + Duration::from_nanos(1)),
            Verdict::Delete => {
                match &subject {
                    Subject::Eval(id) => {
                        let allocs = state.allocs_of_eval(*id).map(|alloc| alloc.id);
                        found.allocs.extend(allocs);
                        found.evals.push(*id);
                    }
                    Subject::Deployment(id) => found.deployments.push(*id),
                    Subject::Node(id) => found.nodes.push(*id),
                    Subject::Job(_) => {}
                }
                // In case the entry does not come about.
                now + self.limits.interval
            }
        };
        self.due.insert((again, subject));
        looked
    }
}
