use super::Action;
use crate::{
    model::{
        AllocId, Allocation, ClientStatus, Deployment, DeploymentId, EvalId, Evaluation, Job,
        JobKey, JobStatus, JobType, Node, NodeId, NodeStatus, Timestamp,
    },
    state::{Applied, Command, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Most ids in one log entry, about 256 KiB.
pub const COLLECTED_MAX: usize = 7_281;
/// Most rows looked at in one tick, some milliseconds of work; the rest follows after [`STEP_PAUSE`].
pub const LOOKED_MAX: usize = 4_096;
/// Pause between the steps of one pass.
pub const STEP_PAUSE: Duration = Duration::from_millis(50);

/// How long and how many terminal rows are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcLimits {
    /// Pause between two passes.
    pub interval: Duration,
    /// Terminal evaluations and allocations are kept this long.
    pub eval: Duration,
    /// As `eval`, for batch jobs.
    pub batch_eval: Duration,
    /// Dead jobs are kept this long.
    pub job: Duration,
    /// Terminal deployments are kept this long.
    pub deployment: Duration,
    /// Nodes that are down are kept this long.
    pub node: Duration,
    /// At most this many dead jobs are kept, the newest.
    pub dead_jobs_max: usize,
}

impl Default for GcLimits {
    /// The published thresholds; `dead_jobs_max` is our own.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            eval: Duration::from_secs(3_600),
            batch_eval: Duration::from_secs(86_400),
            job: Duration::from_secs(4 * 3_600),
            deployment: Duration::from_secs(3_600),
            node: Duration::from_secs(86_400),
            dead_jobs_max: 10_000,
        }
    }
}

/// Deletes terminal rows: by age, and the oldest dead jobs beyond a number.
///
/// Rows are noted when they end, with the time at which they may go; so a pass looks only at what is due, and at
/// most at [`LOOKED_MAX`] rows in one tick. After a change of leader the rows that ended before are found by a
/// walk over the tables, in steps of the same size.
#[derive(Debug)]
pub struct Gc {
    limits: GcLimits,
    /// When to look at what.
    due: BTreeSet<(Timestamp, Subject)>,
    /// Dead jobs by the time at which they ended.
    dead: BTreeSet<(Timestamp, JobKey)>,
    dead_at: BTreeMap<JobKey, Timestamp>,
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
    Job(JobKey),
}

/// The next row of a walk over the tables.
#[derive(Clone, Debug)]
enum Walk {
    Jobs(JobKey),
    Evals(EvalId),
    Deployments(DeploymentId),
    Nodes(NodeId),
}

/// What comes of a look at a row.
enum Verdict {
    Delete,
    LookAgain(Timestamp),
    /// It is gone, or not terminal any more: its next change is noted.
    Ignore,
}

/// What one step found.
#[derive(Default)]
struct Found {
    evals: Vec<EvalId>,
    allocs: Vec<AllocId>,
    deployments: Vec<DeploymentId>,
    jobs: Vec<JobKey>,
    nodes: Vec<NodeId>,
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

    /// Everything that is terminal, regardless of its age. Looks at every row: not for a thread that must not
    /// be held up.
    pub fn force(now: Timestamp, state: &Snapshot) -> Vec<Action> {
        let mut gc = Self::new(GcLimits {
            interval: Duration::from_secs(1),
            eval: Duration::ZERO,
            batch_eval: Duration::ZERO,
            job: Duration::ZERO,
            deployment: Duration::ZERO,
            node: Duration::ZERO,
            dead_jobs_max: 0,
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
            let looked = self.look_at_dead(now, state, ended, &key, &mut found);
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

    /// Notes at most `left` rows of the table that the walk is in; answers with what is left of that.
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

    fn kept(&self, eval: &Evaluation) -> Duration {
        if is_batch(eval.job_type) {
            self.limits.batch_eval
        } else {
            self.limits.eval
        }
    }

    fn note_eval(&mut self, eval: &Evaluation) {
        if eval.status.is_terminal() {
            let due = eval.modify_time + self.kept(eval);
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
            self.due.insert((self.node_due(node), subject));
        }
    }

    fn node_due(&self, node: &Node) -> Timestamp {
        Timestamp::from(node.status_updated_at) + self.limits.node
    }

    fn note_dead(&mut self, now: Timestamp, state: &Snapshot, job: &Job) {
        let key = job.key();
        if !self.dead_at.contains_key(&key) {
            let ended = ended_at(state, job).unwrap_or(now);
            self.dead.insert((ended, key.clone()));
            self.dead_at.insert(key, ended);
        }
    }

    fn forget_dead(&mut self, key: &JobKey) {
        if let Some(ended) = self.dead_at.remove(key) {
            self.dead.remove(&(ended, key.clone()));
        }
    }

    /// Looks at the dead job that ended first. Answers with the number of rows looked at.
    fn look_at_dead(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        noted: Timestamp,
        key: &JobKey,
        found: &mut Found,
    ) -> usize {
        self.forget_dead(key);
        let Some(job) = state.job(key).filter(|job| is_collectable(job)) else {
            return 1;
        };
        // Whatever comes of it: if the job is still there after a while, it is looked at again.
        let again = now + self.limits.interval;
        match ended_at(state, job) {
            Some(ended) if ended > noted => {
                self.dead.insert((ended, key.clone()));
                self.dead_at.insert(key.clone(), ended);
                1
            }
            Some(_) => {
                self.due.insert((again, Subject::Job(key.clone())));
                self.take_job(state, key, found)
            }
            None => {
                self.due.insert((again, Subject::Job(key.clone())));
                1
            }
        }
    }

    fn take_job(&mut self, state: &Snapshot, key: &JobKey, found: &mut Found) -> usize {
        let before = found.evals.len() + found.allocs.len();
        for eval in state.evals_of_job(key) {
            let due = eval.modify_time + self.kept(eval);
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
                Some(eval) => self.judge_eval(now, state, eval, &mut looked),
                None => Verdict::Ignore,
            },
            Subject::Deployment(id) => match state.deployment(*id) {
                Some(deployment) => self.judge_deployment(now, state, deployment),
                None => Verdict::Ignore,
            },
            Subject::Node(id) => match state.node(*id) {
                Some(node) => self.judge_node(now, state, node),
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

    fn judge_eval(
        &self,
        now: Timestamp,
        state: &Snapshot,
        eval: &Evaluation,
        looked: &mut usize,
    ) -> Verdict {
        if !eval.status.is_terminal() {
            return Verdict::Ignore;
        }
        let job = state.job(&eval.job_key()).map(|job| &**job);
        let threshold = self.kept(eval);
        let later = now + threshold.max(self.limits.interval);
        let mut ended = eval.modify_time;
        for alloc in state.allocs_of_eval(eval.id) {
            *looked += 1;
            ended = ended.max(alloc.modify_time);
            if remembers(job, eval, alloc) || !alloc_is_over(state, alloc, job) {
                return Verdict::LookAgain(later);
            }
        }
        let due = ended + threshold;
        if due <= now {
            Verdict::Delete
        } else {
            Verdict::LookAgain(due)
        }
    }

    fn judge_deployment(&self, now: Timestamp, state: &Snapshot, row: &Deployment) -> Verdict {
        if row.is_active() {
            return Verdict::Ignore;
        }
        let due = row.modify_time + self.limits.deployment;
        let unused = || state.allocs_of_deployment(row.id).next().is_none();
        let latest = || {
            state
                .latest_deployment(&row.job_key())
                .is_some_and(|latest| latest.id == row.id)
        };
        if due > now {
            Verdict::LookAgain(due)
        } else if unused() && !latest() {
            Verdict::Delete
        } else {
            Verdict::LookAgain(now + self.limits.interval)
        }
    }

    fn judge_node(&self, now: Timestamp, state: &Snapshot, node: &Node) -> Verdict {
        if node.status != NodeStatus::Down {
            return Verdict::Ignore;
        }
        let due = self.node_due(node);
        let unused = || state.live_allocs_of_node(node.id).next().is_none();
        if due > now {
            Verdict::LookAgain(due)
        } else if unused() {
            Verdict::Delete
        } else {
            Verdict::LookAgain(now + self.limits.interval)
        }
    }
}

fn is_batch(job_type: JobType) -> bool {
    matches!(job_type, JobType::Batch | JobType::Sysbatch)
}

fn is_collectable(job: &Job) -> bool {
    job.status == JobStatus::Dead && (job.stop || is_batch(job.job_type))
}

/// When the last row of a job ended; none while one is not terminal.
fn ended_at(state: &Snapshot, job: &Job) -> Option<Timestamp> {
    let key = job.key();
    let mut ended = job.submit_time;
    for eval in state.evals_of_job(&key) {
        if !eval.status.is_terminal() {
            return None;
        }
        ended = ended.max(eval.modify_time);
    }
    for alloc in state.allocs_of_job(&key) {
        if !alloc.client_terminal() {
            return None;
        }
        ended = ended.max(alloc.modify_time);
    }
    Some(ended)
}

/// The runs of a batch job are remembered as long as the job, so that nothing runs twice. Runs of older
/// versions do not matter any more.
fn remembers(job: Option<&Job>, eval: &Evaluation, alloc: &Allocation) -> bool {
    is_batch(eval.job_type) && job.is_some_and(|job| !job.stop && alloc.job_version == job.version)
}

/// True when nothing depends on the allocation any more.
fn alloc_is_over(state: &Snapshot, alloc: &Allocation, job: Option<&Job>) -> bool {
    if !alloc.client_terminal() {
        return false;
    }
    let Some(job) = job.filter(|job| !job.stop && job.status != JobStatus::Dead) else {
        return true;
    };
    if alloc.server_terminal() || alloc.next_allocation.is_some() {
        return true;
    }
    // A failed one that may still be replaced keeps its history.
    let followup = alloc.followup_eval_id.and_then(|id| state.eval(id));
    let waits = followup.is_some_and(|eval| !eval.status.is_terminal());
    alloc.client_status != ClientStatus::Failed || (!waits && alloc.job_version < job.version)
}

impl Found {
    fn into_actions(self) -> Vec<Action> {
        let mut entries = Vec::new();
        // Allocations go before the evaluations and jobs that they refer to.
        for allocs in self.allocs.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], allocs, &[], &[], &[]));
        }
        for evals in self.evals.chunks(COLLECTED_MAX) {
            entries.push(entry(evals, &[], &[], &[], &[]));
        }
        for deployments in self.deployments.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], &[], deployments, &[], &[]));
        }
        for jobs in self.jobs.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], &[], &[], jobs, &[]));
        }
        for nodes in self.nodes.chunks(COLLECTED_MAX) {
            entries.push(entry(&[], &[], &[], &[], nodes));
        }
        entries.into_iter().map(Action::Propose).collect()
    }
}

fn entry(
    evals: &[EvalId],
    allocs: &[AllocId],
    deployments: &[DeploymentId],
    jobs: &[JobKey],
    nodes: &[NodeId],
) -> Command {
    Command::Collect {
        evals: evals.to_vec(),
        allocs: allocs.to_vec(),
        deployments: deployments.to_vec(),
        jobs: jobs.to_vec(),
        nodes: nodes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{EvalStatus, TaskGroup},
        state::{RegisterJob, Stamp, State},
    };

    const START: Timestamp = Timestamp::from_secs(1);

    fn hours(count: i64) -> Timestamp {
        Timestamp::from_secs(3_600 * count)
    }

    struct World {
        state: State,
        index: u64,
        gc: Option<Gc>,
    }

    impl World {
        fn new(gc: Option<Gc>) -> Self {
            Self {
                state: State::default(),
                index: 0,
                gc,
            }
        }

        fn apply(&mut self, now: Timestamp, command: Command) {
            self.index += 1;
            let at = Stamp {
                index: self.index,
                now,
            };
            let applied = self.state.apply(at, command).unwrap();
            if let Some(gc) = &mut self.gc {
                gc.on_applied(now, self.state.current(), &applied);
            }
        }

        /// A finished batch job with its evaluation.
        fn finish(&mut self, now: Timestamp, id: &str) {
            let job = Job {
                id: id.into(),
                namespace: "default".into(),
                job_type: JobType::Batch,
                task_groups: vec![TaskGroup::default()],
                ..Job::default()
            };
            let eval = Evaluation {
                id: EvalId::named(id),
                namespace: "default".into(),
                job_id: id.into(),
                job_type: JobType::Batch,
                status: EvalStatus::Complete,
                ..Evaluation::default()
            };
            let registration = RegisterJob {
                job,
                eval: Some(eval),
                ..RegisterJob::default()
            };
            self.apply(now, Command::RegisterJob(Box::new(registration)));
        }

        fn node_goes_down(&mut self, now: Timestamp, id: &str) {
            let node = Node {
                id: NodeId::named(id),
                status: NodeStatus::Ready,
                ..Node::default()
            };
            self.apply(now, Command::UpsertNode(Box::new(node)));
            self.apply(
                now,
                Command::UpdateNodeStatus {
                    node_ids: vec![NodeId::named(id)],
                    status: NodeStatus::Down,
                    evals: Vec::new(),
                },
            );
        }

        fn rows(&self) -> (usize, usize, usize) {
            let state = self.state.current();
            (
                state.jobs(None, "").count(),
                state.evals("").count(),
                state.nodes("").count(),
            )
        }
    }

    /// Ticks until `end`; answers with the most ids of one tick.
    fn run(world: &mut World, gc: &mut Gc, end: Timestamp) -> usize {
        let mut most = 0;
        while let Some(due) = gc.next_tick().filter(|due| *due <= end) {
            let mut ids = 0;
            for action in gc.on_tick(due, world.state.current()) {
                let Action::Propose(command) = action else {
                    panic!("{action:?}");
                };
                if let Command::Collect {
                    evals,
                    allocs,
                    jobs,
                    nodes,
                    ..
                } = &command
                {
                    ids += evals.len() + allocs.len() + jobs.len() + nodes.len();
                }
                world.apply(due, command);
            }
            most = most.max(ids);
        }
        most
    }

    #[test]
    fn a_new_leader_collects_what_ended_before_it_in_bounded_steps() {
        const JOBS: usize = 3 * LOOKED_MAX;
        let mut world = World::new(None);
        for at in 0..JOBS {
            world.finish(START, &format!("job-{at}"));
        }
        world.node_goes_down(START, "n");
        let mut gc = Gc::new(GcLimits::default());
        gc.restore();
        let most = run(&mut world, &mut gc, hours(1));
        let kept = GcLimits::default().dead_jobs_max;
        assert_eq!(world.rows(), (kept, kept, 1));
        assert!(most <= 2 * LOOKED_MAX, "{most} ids in one tick");
        run(&mut world, &mut gc, hours(5));
        assert_eq!(world.rows(), (0, 0, 1));
        run(&mut world, &mut gc, hours(25));
        assert_eq!(world.rows(), (0, 0, 0));
        assert!(gc.due.is_empty() && gc.dead.is_empty());
    }

    #[test]
    fn a_node_that_comes_back_stays() {
        let mut world = World::new(Some(Gc::new(GcLimits::default())));
        world.node_goes_down(START, "n");
        world.apply(
            hours(1),
            Command::UpdateNodeStatus {
                node_ids: vec![NodeId::named("n")],
                status: NodeStatus::Ready,
                evals: Vec::new(),
            },
        );
        let mut gc = world.gc.take().unwrap();
        run(&mut world, &mut gc, hours(48));
        assert_eq!(world.rows(), (0, 0, 1));
    }
}
