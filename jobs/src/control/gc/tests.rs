//! Rows that end, and when they go.

use super::*;
use crate::{
    model::{EvalStatus, JobType, TaskGroup, VersionTag},
    state::{Command, RegisterJob, Stamp, State, TagVersion},
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
            task_groups: vec![TaskGroup::default()].into(),
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

#[test]
fn a_job_with_a_named_version_stays_until_the_name_is_taken_away() {
    let mut world = World::new(Some(Gc::new(GcLimits::default())));
    world.finish(START, "web");
    let tag = |tag: Option<VersionTag>| {
        Command::TagVersion(Box::new(TagVersion {
            namespace: "default".into(),
            id: "web".into(),
            name: "golden".into(),
            version: None,
            tag,
        }))
    };
    let golden = VersionTag {
        name: "golden".into(),
        ..VersionTag::default()
    };
    world.apply(hours(1), tag(Some(golden)));
    let mut gc = world.gc.take().unwrap();
    run(&mut world, &mut gc, hours(48));
    assert_eq!(world.rows().0, 1);
    world.apply(hours(48), tag(None));
    run(&mut world, &mut gc, hours(49));
    assert_eq!(world.rows(), (0, 0, 0));
}

#[test]
fn deployments_with_a_verdict_are_kept_for_a_week() {
    use crate::model::{
        Deployment, DeploymentState, DeploymentStatus, Rollout, RolloutPhase, RolloutTransition,
        Span,
    };
    let mut row = Deployment {
        status: DeploymentStatus::Failed,
        modify_time: START,
        ..Deployment::default()
    };
    let state = Snapshot::default();
    let limits = GcLimits::default();
    let goes = |limits: &GcLimits, row: &Deployment, at| {
        let verdict = limits.judge_deployment(at, &state, row);
        matches!(verdict, Verdict::Delete)
    };
    assert!(goes(&limits, &row, hours(2)));
    let aborted = RolloutTransition {
        phase: RolloutPhase::Aborted,
        ..RolloutTransition::default()
    };
    let group = DeploymentState {
        rollout: Some(Box::new(Rollout::default().after(aborted, Span::ZERO))),
        ..DeploymentState::default()
    };
    row.task_groups.insert("web".into(), group);
    assert!(!goes(&limits, &row, hours(7 * 24)));
    assert!(goes(&limits, &row, hours(7 * 24 + 1)));
    let everything = GcLimits {
        deployment: Duration::ZERO,
        ..GcLimits::default()
    };
    assert!(goes(&everything, &row, hours(1)));
}
