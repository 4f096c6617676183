use super::Periodic;
use crate::{
    control::{
        Action,
        launch::{self, Dispatch, Launch, LaunchError},
    },
    ids::Ids,
    model::{
        EvalStatus, Job, JobKey, JobStatus, JobType, Parameterized, Task, TaskGroup, Timestamp,
    },
    state::{Command, DeregisterJob, Loading, Rejected, Stamp, State},
};
use jiff::tz::{Offset, TimeZone};

const MINUTE: i64 = 60;
/// Noon of some day.
const START: i64 = 1_800_014_400;

/// The state with the controller beside it, as a leader has them.
struct World {
    state: State,
    periodic: Periodic,
    ids: Ids,
    index: u64,
    now: i64,
}

fn zone(name: &str) -> TimeZone {
    match name {
        "ahead" => TimeZone::fixed(Offset::constant(2)),
        _ => TimeZone::UTC,
    }
}

fn fresh() -> Periodic {
    Periodic::new(Ids::from_seed(1), zone)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn key() -> JobKey {
    JobKey::new("default", "job")
}

fn job(cron: &str) -> Job {
    let group = TaskGroup {
        name: "g".into(),
        count: 1,
        tasks: vec![Task::default()],
        ..TaskGroup::default()
    };
    Job {
        id: "job".into(),
        name: "job".into(),
        namespace: "default".into(),
        job_type: JobType::Batch,
        priority: 50,
        periodic: Some(Box::new(crate::model::Periodic {
            enabled: Some(true),
            specs: Some(vec![cron.into()]),
            ..crate::model::Periodic::default()
        })),
        task_groups: vec![group].into(),
        ..Job::default()
    }
}

fn parameterized(payload: &str) -> Job {
    Job {
        periodic: None,
        parameterized_job: Some(Box::new(Parameterized {
            payload: payload.into(),
            meta_required: Some(vec!["need".into()]),
            meta_optional: Some(vec!["may".into()]),
        })),
        ..job("")
    }
}

impl World {
    fn new() -> Self {
        Self {
            state: State::default(),
            periodic: fresh(),
            ids: Ids::from_seed(2),
            index: 0,
            now: START,
        }
    }

    fn with(job: Job) -> Self {
        let mut world = Self::new();
        world.register(job);
        world
    }

    fn apply(&mut self, command: Command) -> Result<(), Rejected> {
        self.index += 1;
        let stamp = Stamp {
            index: self.index,
            now: at(self.now),
        };
        let applied = self.state.apply(stamp, command)?;
        self.periodic.on_applied(at(self.now), &applied);
        Ok(())
    }

    fn register(&mut self, job: Job) {
        let registration = crate::control::operator::Registration {
            job,
            ..Default::default()
        };
        let command = crate::control::operator::register(registration, at(self.now), &mut self.ids);
        self.apply(command).unwrap();
    }

    /// Lets time pass and carries out what is due; answers with the seconds since the start of
    /// what was launched.
    fn pass(&mut self, seconds: i64) -> Vec<i64> {
        let end = self.now + seconds;
        let before = self.launched();
        while let Some(due) = self.periodic.next_tick().filter(|due| *due <= at(end)) {
            self.now = self.now.max(due.as_nanos() / 1_000_000_000);
            self.tick();
        }
        self.now = end;
        self.launched().split_off(before.len())
    }

    fn tick(&mut self) {
        let actions = self.periodic.on_tick(at(self.now), self.state.current());
        for action in actions {
            let Action::Propose(command) = action else {
                panic!("an evaluation");
            };
            self.apply(command).unwrap();
        }
    }

    fn launched(&self) -> Vec<i64> {
        let children = self.state.current().children(&key());
        let ids = children.filter_map(|child| child.id.strip_prefix("job/periodic-"));
        ids.map(|time| time.parse::<i64>().unwrap() - START)
            .collect()
    }

    /// Every evaluation is decided about, and nothing was placed: the children are over.
    fn finish(&mut self) {
        let open = self.state.current().children(&key());
        let keys: Vec<JobKey> = open.map(|job| job.key()).collect();
        let mut evals = Vec::new();
        for key in keys {
            for eval in self.state.current().evals_of_job(&key) {
                let mut eval = (**eval).clone();
                eval.status = EvalStatus::Complete;
                evals.push(eval);
            }
        }
        self.apply(Command::UpsertEvals(evals)).unwrap();
    }

    fn dispatch(&mut self, request: Dispatch) -> Result<String, String> {
        let state = self.state.current();
        let launch = launch::dispatch(state, at(self.now), &key(), request, &mut self.ids);
        match launch.map_err(|error| error.to_string())? {
            Launch::Known(child) => Ok(child.id.to_string()),
            Launch::New { child, command } => {
                self.apply(*command)
                    .map_err(|rejected| rejected.to_string())?;
                Ok(child.to_string())
            }
        }
    }
}

fn request() -> Dispatch {
    Dispatch {
        meta: [("need".to_owned(), "x".to_owned())].into(),
        ..Dispatch::default()
    }
}

#[test]
fn a_job_is_launched_at_its_times_and_never_runs_itself() {
    let mut world = World::with(job("*/10 * * * *"));
    let parent = world.state.current().job(&key()).unwrap().clone();
    assert_eq!(parent.status, JobStatus::Running);
    assert_eq!(world.state.current().evals_of_job(&key()).count(), 0);
    assert_eq!(world.pass(9 * MINUTE), [] as [i64; 0]);
    assert_eq!(world.pass(12 * MINUTE), [10 * MINUTE, 20 * MINUTE]);
    let child = JobKey::new("default", format!("job/periodic-{}", START + 10 * MINUTE));
    let row = world.state.current().job(&child).unwrap();
    assert_eq!(row.parent_id.as_deref(), Some("job"));
    assert_eq!(
        (row.name.as_str(), row.periodic.is_none()),
        (row.id.as_str(), true)
    );
    let evals: Vec<_> = world.state.current().evals_of_job(&child).collect();
    assert_eq!(evals.len(), 1);
    assert_eq!(evals[0].triggered_by.as_str(), "periodic-job");
    let summary = world.state.current().summary(&key()).unwrap();
    assert_eq!((summary.children.pending, summary.children.sum()), (2, 2));
    world.finish();
    let summary = world.state.current().summary(&key()).unwrap();
    assert_eq!((summary.children.dead, summary.children.sum()), (2, 2));
}

#[test]
fn times_are_those_of_the_jobs_zone() {
    let mut nightly = job("30 14 * * *");
    nightly.periodic.as_mut().unwrap().time_zone = Some("ahead".into());
    let mut world = World::with(nightly);
    assert_eq!(world.pass(60 * MINUTE), [30 * MINUTE]);
}

#[test]
fn no_launch_overlaps_with_one_where_that_is_prohibited() {
    let mut alone = job("*/10 * * * *");
    alone.periodic.as_mut().unwrap().prohibit_overlap = Some(true);
    let mut world = World::with(alone);
    assert_eq!(world.pass(35 * MINUTE), [10 * MINUTE]);
    world.finish();
    assert_eq!(world.pass(10 * MINUTE), [40 * MINUTE]);
    // By hand it is launched all the same.
    let command = launch::force(world.state.current(), at(world.now), &key(), &mut world.ids);
    world.apply(command.unwrap()).unwrap();
    assert_eq!(world.launched().len(), 3);
}

#[test]
fn a_new_leader_makes_up_for_one_missed_launch_and_repeats_none() {
    let mut world = World::with(job("*/10 * * * *"));
    assert_eq!(world.pass(11 * MINUTE), [10 * MINUTE]);
    // The launch is known from a file too.
    let mut loading = Loading::default();
    let rows: Vec<_> = world.state.current().saved_rows().collect();
    rows.into_iter().for_each(|row| loading.add(row));
    world.state = State::restore(loading.finish());
    world.periodic = fresh();
    world.periodic.restore(at(world.now), world.state.current());
    assert_eq!(world.pass(0), [] as [i64; 0]);
    // Nobody leads for three launches.
    world.now = START + 45 * MINUTE;
    for _ in 0..2 {
        world.periodic = fresh();
        world.periodic.restore(at(world.now), world.state.current());
        world.tick();
    }
    assert_eq!(world.launched(), [10 * MINUTE, 45 * MINUTE]);
    assert_eq!(world.pass(6 * MINUTE), [50 * MINUTE]);
    // The same launch twice is refused by the state.
    let row = world.state.current().job(&key()).unwrap().clone();
    let now = at(world.now);
    let again = launch::at_time(&row, at(START + 50 * MINUTE), now, &mut world.ids);
    assert!(matches!(world.apply(again), Err(Rejected::Enforce { .. })));
}

#[test]
fn a_change_counts_from_then_on_and_a_stop_ends_launches() {
    let mut world = World::with(job("*/10 * * * *"));
    world.pass(5 * MINUTE);
    world.register(job("*/7 * * * *"));
    assert_eq!(world.pass(8 * MINUTE), [7 * MINUTE]);
    let mut paused = job("*/7 * * * *");
    paused.periodic.as_mut().unwrap().enabled = Some(false);
    world.register(paused);
    assert_eq!(world.periodic.next_tick(), None);
    world.register(job("*/7 * * * *"));
    assert_eq!(world.pass(2 * MINUTE), [14 * MINUTE]);
    let stop = |purge| {
        Command::DeregisterJob(DeregisterJob {
            namespace: "default".into(),
            id: "job".into(),
            purge,
            ..DeregisterJob::default()
        })
    };
    world.apply(stop(false)).unwrap();
    assert_eq!(world.periodic.next_tick(), None);
    let refused = launch::force(world.state.current(), at(world.now), &key(), &mut world.ids);
    assert_eq!(refused, Err(LaunchError::Resting { job: key().id }));
    let parent = world.state.current().job(&key()).unwrap();
    assert_eq!(parent.status, JobStatus::Dead);
    // What runs goes on, and the next job of that name counts it.
    world.apply(stop(true)).unwrap();
    assert_eq!(world.launched().len(), 2);
    world.register(job("*/7 * * * *"));
    let summary = world.state.current().summary(&key()).unwrap();
    assert_eq!(summary.children.sum(), 2);
}

#[test]
fn launches_by_hand_in_one_second_have_ids_of_their_own() {
    let mut world = World::with(job("@daily"));
    for _ in 0..3 {
        let command = launch::force(world.state.current(), at(world.now), &key(), &mut world.ids);
        world.apply(command.unwrap()).unwrap();
    }
    assert_eq!(world.launched(), [0, 1, 2]);
    let mut world = World::with(parameterized("optional"));
    let refused = launch::force(world.state.current(), at(START), &key(), &mut world.ids);
    assert_eq!(refused, Err(LaunchError::NotPeriodic));
}

#[test]
fn a_launch_is_given_what_the_job_takes() {
    let mut world = World::with(parameterized("optional"));
    let parent = world.state.current().job(&key()).unwrap();
    assert_eq!(parent.status, JobStatus::Running);
    let given = Dispatch {
        payload: "aGk=".into(),
        payload_bytes: 2,
        id_prefix: "nightly".into(),
        priority: Some(70),
        ..request()
    };
    let id = world.dispatch(given).unwrap();
    assert!(
        id.starts_with(&format!("job/dispatch-nightly-{START}-")),
        "{id}"
    );
    let child = JobKey::new("default", id.as_str());
    let row = world.state.current().job(&child).unwrap();
    assert!(row.dispatched && !row.is_parent() && row.parameterized_job.is_some());
    assert_eq!((row.payload.as_str(), row.priority), ("aGk=", 70));
    assert_eq!(row.parent_id.as_deref(), Some("job"));
    let group = row.task_group("g").unwrap();
    let meta = row.meta_of(group, None);
    assert_eq!((meta["need"].as_str(), meta["may"].as_str()), ("x", ""));
    assert_eq!(world.state.current().evals_of_job(&child).count(), 1);
    assert_eq!(
        world
            .state
            .current()
            .summary(&key())
            .unwrap()
            .children
            .pending,
        1
    );
}

#[test]
fn what_does_not_suit_the_job_is_told_at_once() {
    let mut world = World::with(parameterized("required"));
    let odd = Dispatch {
        meta: [
            ("a".to_owned(), String::new()),
            ("b".to_owned(), String::new()),
        ]
        .into(),
        id_prefix: "a b".into(),
        priority: Some(0),
        ..Dispatch::default()
    };
    assert_eq!(
        world.dispatch(odd).unwrap_err(),
        "Payload is not provided but required by parameterized job; \
         Dispatch request included unpermitted metadata keys: [a b]; \
         Dispatch did not provide required meta keys: [need]; \
         dispatch job priority must be between [1, 100]; \
         the id prefix contains a space or a null character"
    );
    let long = Dispatch {
        payload_bytes: 16 * 1024 + 1,
        ..request()
    };
    assert_eq!(
        world.dispatch(long).unwrap_err(),
        "Payload exceeds maximum size; 16385 > 16384"
    );
    let mut world = World::with(parameterized("forbidden"));
    let given = Dispatch {
        payload_bytes: 1,
        ..request()
    };
    assert_eq!(
        world.dispatch(given).unwrap_err(),
        "Payload provided but forbidden by parameterized job"
    );
    let mut world = World::with(Job {
        stop: true,
        ..parameterized("optional")
    });
    assert_eq!(
        world.dispatch(request()).unwrap_err(),
        "Specified job \"job\" is stopped"
    );
    let mut world = World::with(job("@daily"));
    assert_eq!(
        world.dispatch(request()).unwrap_err(),
        "Specified job \"job\" is not a parameterized job"
    );
    assert_eq!(
        World::new().dispatch(request()).unwrap_err(),
        "parameterized job not found"
    );
}

#[test]
fn a_token_launches_one_child() {
    let mut world = World::with(parameterized("optional"));
    let with = |token: &str| Dispatch {
        idempotency_token: token.into(),
        ..request()
    };
    let first = world.dispatch(with("one")).unwrap();
    assert_eq!(world.dispatch(with("one")).unwrap(), first);
    assert_ne!(world.dispatch(with("two")).unwrap(), first);
    assert_ne!(
        world.dispatch(with("")).unwrap(),
        world.dispatch(with("")).unwrap()
    );
    // Two requests that did not see each other: the state decides.
    let earlier = World::with(parameterized("optional")).state;
    let mut ids = Ids::from_seed(9);
    let launch = launch::dispatch(earlier.current(), at(START), &key(), with("one"), &mut ids);
    let Ok(Launch::New { command, .. }) = launch else {
        panic!("a new child");
    };
    let rejected = world.apply(*command).unwrap_err();
    assert_eq!(
        rejected,
        Rejected::LaunchedAlready {
            child: first.as_str().into()
        }
    );
    // A child that is gone leaves its token to the next, also after a restart.
    let purge = Command::DeregisterJob(DeregisterJob {
        namespace: "default".into(),
        id: first.as_str().into(),
        purge: true,
        ..DeregisterJob::default()
    });
    let mut loading = Loading::default();
    let rows: Vec<_> = world.state.current().saved_rows().collect();
    rows.into_iter().for_each(|row| loading.add(row));
    world.state = State::restore(loading.finish());
    assert_eq!(world.dispatch(with("one")).unwrap(), first);
    world.apply(purge).unwrap();
    assert_ne!(world.dispatch(with("one")).unwrap(), first);
}

#[test]
fn what_ran_under_the_id_before_is_stopped() {
    let mut world = World::with(job("@daily"));
    let eval = crate::control::triggers::for_key(
        world.state.current(),
        &key(),
        crate::model::Trigger::NodeUpdate,
        at(START),
        &mut world.ids,
    );
    let mut cx = crate::scheduler::Context::new(at(START), 1);
    let outcome = crate::scheduler::schedule(world.state.current(), &eval.unwrap(), &mut cx);
    assert!(outcome.plan.placements.is_empty() && outcome.blocked.is_none());
    // A preview tells what a launch would do.
    let preview = crate::scheduler::preview(world.state.current(), job("@daily"), &mut cx);
    assert!(
        preview.failed_tg_allocs.contains_key("g"),
        "there is no node"
    );
}
