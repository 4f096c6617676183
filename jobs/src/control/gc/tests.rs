//! Rows that end, and when they go.

use super::{retention::TOLD_OF_JOB_MAX, *};
use crate::{
    model::{
        DeploymentState, DeploymentStatus, DeploymentUpdate, EvalStatus, JobType, PlanResult,
        Rollout, RolloutPolicy, TaskGroup, VersionTag,
    },
    state::{Command, DeregisterJob, RegisterJob, Stamp, State, TagVersion},
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

impl World {
    /// A job that is to run on.
    fn serve(&mut self, now: Timestamp, id: &str) {
        let job = Job {
            id: id.into(),
            namespace: "default".into(),
            job_type: JobType::Service,
            task_groups: vec![TaskGroup::default()].into(),
            ..Job::default()
        };
        let registration = RegisterJob {
            job,
            ..RegisterJob::default()
        };
        self.apply(now, Command::RegisterJob(Box::new(registration)));
    }

    /// A deployment of it that fails at once; with canaries whose rollout is given up then.
    fn fail(&mut self, now: Timestamp, id: &str, name: &str, canaries: u32) {
        let job = self.state.current().job(&JobKey::new("default", id));
        let rollout = Box::new(Rollout::new(RolloutPolicy::AUTO_STEPS.to_vec(), now));
        let group = DeploymentState {
            desired_canaries: canaries,
            rollout: (canaries > 0).then_some(rollout),
            ..DeploymentState::default()
        };
        let deployment = Deployment {
            id: DeploymentId::named(name),
            namespace: "default".into(),
            job_id: id.into(),
            job_create_index: job.map_or(0, |job| job.create_index),
            task_groups: [("web".into(), group)].into(),
            ..Deployment::default()
        };
        let plan = PlanResult {
            deployment: Some(deployment),
            ..PlanResult::default()
        };
        self.apply(now, Command::ApplyPlans(vec![plan]));
        let update = DeploymentUpdate {
            deployment_id: DeploymentId::named(name),
            status: DeploymentStatus::Failed,
            description: "given up".into(),
        };
        let failed = Command::UpdateDeployment {
            update,
            eval: None,
            revert: None,
        };
        self.apply(now, failed);
    }

    fn leave(&mut self, now: Timestamp, id: &str, purge: bool) {
        let leaving = DeregisterJob {
            namespace: "default".into(),
            id: id.into(),
            purge,
            submit_time: now,
            ..DeregisterJob::default()
        };
        self.apply(now, Command::DeregisterJob(leaving));
    }

    fn force(&mut self, now: Timestamp) {
        for action in Gc::force(now, self.state.current()) {
            if let Action::Propose(command) = action {
                self.apply(now, command);
            }
        }
    }

    /// Which of these deployments there are.
    fn left<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let state = self.state.current();
        let names = names.iter().copied();
        names
            .filter(|name| state.deployment(DeploymentId::named(name)).is_some())
            .collect()
    }
}

/// What happens, the hour at which it does, and which deployments there are then.
type Act = (&'static str, i64, &'static str);

/// `c1` is of canaries, and the newest of a job stays as long as the job.
const TOLD: &[(&str, &[Act])] = &[
    (
        "of a job that runs on",
        &[
            ("tick", 1, "c1 plain new"),
            ("tick", 3, "c1 new"),
            ("force", 3, "c1 new"),
            ("tick", 7 * 24, "c1 new"),
            ("tick", 7 * 24 + 1, "new"),
            ("force", 7 * 24 + 1, "new"),
        ],
    ),
    (
        "of a job that was stopped",
        &[
            ("stop", 1, "c1 plain new"),
            ("force", 1, "c1 new"),
            ("tick", 7 * 24, "c1 new"),
            ("tick", 7 * 24 + 1, ""),
        ],
    ),
    (
        "of a job that was stopped and collected late",
        &[("stop", 1, "c1 plain new"), ("force", 7 * 24 + 1, "")],
    ),
    (
        "of a job that was purged",
        &[("purge", 1, ""), ("force", 1, "")],
    ),
];

#[test]
fn deployments_tell_for_a_week_why_their_rollouts_went_so() {
    for (what, acts) in TOLD {
        let mut world = World::new(Some(Gc::new(GcLimits::default())));
        world.serve(START, "web");
        world.fail(START, "web", "c1", 1);
        world.fail(START, "web", "plain", 0);
        world.fail(START, "web", "new", 0);
        let mut gc = world.gc.take().unwrap();
        for (act, hour, left) in *acts {
            let now = hours(*hour);
            run(&mut world, &mut gc, now);
            world.gc = Some(gc);
            match *act {
                "stop" | "purge" => world.leave(now, "web", *act == "purge"),
                "force" => world.force(now),
                _ => {}
            }
            gc = world.gc.take().unwrap();
            let found = world.left(&["c1", "plain", "new"]).join(" ");
            assert_eq!(found, *left, "{what}: {act} at {hour} h");
        }
    }
}

#[test]
fn deployments_that_tell_are_bounded_by_job_and_so_are_their_jobs() {
    let mut world = World::new(Some(Gc::new(GcLimits {
        dead_jobs_max: 1,
        ..GcLimits::default()
    })));
    world.serve(START, "web");
    let names: Vec<String> = (0..200).map(|at| at.to_string()).collect();
    for name in &names {
        world.fail(START, "web", name, 1);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, newest) = names.split_at(names.len() - TOLD_OF_JOB_MAX);
    let mut gc = world.gc.take().unwrap();
    run(&mut world, &mut gc, hours(2));
    assert_eq!(world.left(&names), newest);
    // One more, a day later: the oldest goes.
    world.gc = Some(gc);
    world.fail(hours(24), "web", "more", 1);
    let mut gc = world.gc.take().unwrap();
    run(&mut world, &mut gc, hours(26));
    assert_eq!(world.left(&names), newest[1..]);
    world.gc = Some(gc);
    world.force(hours(26));
    assert_eq!(world.left(&names), newest[1..]);
    // Jobs that are over are not kept for it beyond their number: the one that ended first goes.
    world.leave(hours(26), "web", false);
    world.serve(hours(27), "api");
    world.fail(hours(27), "api", "c", 1);
    world.leave(hours(27), "api", false);
    let mut gc = world.gc.take().unwrap();
    run(&mut world, &mut gc, hours(28));
    assert_eq!(world.left(&["more", "c"]), ["c"]);
    run(&mut world, &mut gc, hours(24 * 8 + 4));
    assert_eq!(world.rows().0, 0);
}
