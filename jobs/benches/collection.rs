//! What collection costs beside a million rows: the longest step on the thread of the controllers,
//! and a pass in all.
//!
//! Prints one line per case; `COLLECTION_JOBS` changes the size (each job has an evaluation and an
//! allocation).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a driver program that measures and prints"
)]

use jobs::{
    control::{Action, Gc, GcLimits},
    model::{
        AllocId, Allocation, ClientStatus, EvalId, EvalStatus, Evaluation, Job, JobType, NodeId,
        PlanResult, Span, TaskGroup, Timestamp,
    },
    state::{Command, RegisterJob, Stamp, State},
};
use std::{
    env,
    time::{Duration, Instant},
};

const START: Timestamp = Timestamp::from_secs(1);

fn hours(count: i64) -> Timestamp {
    Timestamp::from_secs(3_600 * count)
}

fn job_type(live: bool) -> JobType {
    if live {
        JobType::Service
    } else {
        JobType::Batch
    }
}

/// One job with its evaluation and its allocation, finished unless `live`.
fn add(state: &mut State, index: &mut u64, at: usize, live: bool) {
    let id = format!("job-{at:08}");
    let eval = Evaluation {
        id: EvalId::named(&format!("e{at}")),
        namespace: "default".into(),
        job_id: id.as_str().into(),
        job_type: job_type(live),
        status: EvalStatus::Complete,
        ..Evaluation::default()
    };
    let alloc = Allocation {
        id: AllocId::named(&format!("a{at}")),
        namespace: "default".into(),
        eval_id: eval.id,
        job_id: id.as_str().into(),
        task_group: "app".into(),
        node_id: NodeId::named(&format!("n{}", at % 5_000)),
        client_status: if live {
            ClientStatus::Running
        } else {
            ClientStatus::Complete
        },
        ..Allocation::default()
    };
    let job = Job {
        id: id.into(),
        namespace: "default".into(),
        job_type: job_type(live),
        task_groups: vec![TaskGroup {
            name: "app".into(),
            count: 1,
            ..TaskGroup::default()
        }]
        .into(),
        ..Job::default()
    };
    let commands = [
        Command::RegisterJob(Box::new(RegisterJob {
            job,
            ..RegisterJob::default()
        })),
        Command::ApplyPlans(vec![PlanResult {
            placements: vec![alloc],
            evals: vec![eval],
            ..PlanResult::default()
        }]),
    ];
    for command in commands {
        *index += 1;
        let at = Stamp {
            index: *index,
            now: START,
        };
        state.apply(at, command).expect("the command applies");
    }
}

fn pass(name: &str, state: &mut State, index: &mut u64, gc: &mut Gc, end: Timestamp) {
    let (mut longest, mut sum, mut ticks, mut commands) = (Duration::ZERO, Duration::ZERO, 0, 0);
    let mut applying = Duration::ZERO;
    while let Some(due) = gc.next_tick().filter(|due| *due <= end) {
        let start = Instant::now();
        let actions = gc.on_tick(due, state.current());
        let took = start.elapsed();
        longest = longest.max(took);
        sum += took;
        ticks += 1;
        let start = Instant::now();
        for action in actions {
            if let Action::Propose(command) = action {
                commands += 1;
                *index += 1;
                let at = Stamp {
                    index: *index,
                    now: due,
                };
                let applied = state.apply(at, command).expect("the command applies");
                gc.on_applied(due, state.current(), &applied);
            }
        }
        applying += start.elapsed();
    }
    println!(
        "{name}: {ticks} ticks, longest {:.2} ms, in all {:.1} ms; {commands} commands applied in {:.1} ms; \
         {} jobs left",
        longest.as_secs_f64() * 1e3,
        sum.as_secs_f64() * 1e3,
        applying.as_secs_f64() * 1e3,
        state.current().jobs(None, "").count(),
    );
}

fn main() {
    let jobs = env::var("COLLECTION_JOBS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(333_333);
    for (name, live) in [("live", true), ("finished", false)] {
        let (mut state, mut index) = (State::default(), 0);
        for at in 0..jobs {
            add(&mut state, &mut index, at, live);
        }
        let rows = 3 * jobs;
        let mut gc = Gc::new(GcLimits::default());
        gc.restore();
        let title = format!("{rows} {name} rows, first pass of a new leader");
        pass(
            &title,
            &mut state,
            &mut index,
            &mut gc,
            hours(1) - Span::SECOND,
        );
        let title = format!("{rows} {name} rows, the next hours");
        pass(&title, &mut state, &mut index, &mut gc, hours(5));
        let start = Instant::now();
        let actions = Gc::force(hours(6), state.current());
        println!(
            "{rows} {name} rows, forced: one look at all in {:.1} ms, {} commands",
            start.elapsed().as_secs_f64() * 1e3,
            actions.len(),
        );
    }
}
