//! A cluster in one process, with a clock, a network and disks that are simulated: three servers
//! and three machines with tasks live through trouble, and what must always hold is looked at
//! after every step. A number is all that is needed to have the same again.
//!
//! `TRIVET_SIM_SEED=N` lives through one number and tells what happened, `TRIVET_SIM_SEEDS=N`
//! through the first N. `TRIVET_SIM_LOG=info` follows what the processes say in their logs.

mod checks;
mod client;
mod machine;
mod network;
mod process;
mod world;

use std::{
    env, fmt,
    process::{Command, Output},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};
use world::World;

/// Numbers that are lived through unless somebody wants others.
const SEEDS: u64 = 8;
/// The test that lives through them, and through one of them in a process of its own.
const NAME: &str = "whatever_goes_wrong_nothing_is_lost_and_all_agree";
/// What lines of a life begin with.
const TOLD: &str = "| ";
/// What is told of a number that failed: its last lines.
const TOLD_MAX: usize = 60;
/// Numbers that may fail on each core before no more are lived through.
const FAILED_MAX: usize = 2;
/// How long a life may take: seconds, on a machine that does nothing else.
const LIFE_MAX: Duration = Duration::from_secs(300);

/// What became of a number: what was told, and what failed.
struct Lived {
    told: Vec<String>,
    failed: Option<String>,
}

/// Says when, by the clocks of the simulation, and which process speaks.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let process = sys::simulation::process().unwrap_or_default();
        write!(out, "{:>9.3} [{process}]", machine::now().as_secs_f64())
    }
}

/// What the processes of a number say in their logs, as `TRIVET_SIM_LOG` asks for it.
fn follow_logs() -> Option<DefaultGuard> {
    let filter = env::var("TRIVET_SIM_LOG").ok()?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SimulatedTime)
        .with_ansi(false)
        .with_test_writer()
        .finish();
    Some(tracing::subscriber::set_default(subscriber))
}

/// Lives through one number, on a thread of its own.
fn live(seed: u64) -> Lived {
    let (sender, lived) = mpsc::channel();
    thread::spawn(move || {
        let _logs = follow_logs();
        let mut world = World::new(seed);
        let failed = world.live().err();
        let told = std::mem::take(&mut world.told);
        // Whoever waits gave up.
        sender.send(Lived { told, failed }).ok();
    });
    lived.recv_timeout(LIFE_MAX).unwrap_or_else(|error| Lived {
        told: Vec::new(),
        failed: Some(match error {
            mpsc::RecvTimeoutError::Disconnected => "it panicked".into(),
            mpsc::RecvTimeoutError::Timeout => format!("it took more than {LIFE_MAX:?}"),
        }),
    })
}

/// Lives through one number in a process of its own: whatever belongs to a process begins anew, so
/// that nothing of a life depends on those before it.
fn live_apart(seed: u64) -> Output {
    let own = env::current_exe().expect("the path of this program");
    let mut command = Command::new(own);
    command.args(["--exact", NAME, "--nocapture"]);
    command.env("TRIVET_SIM_SEED", seed.to_string());
    command.output().expect("this program runs again")
}

/// What was told of a life.
fn told(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| line.starts_with(TOLD));
    lines.map(str::to_owned).collect()
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn describe(seed: u64, output: &Output) -> String {
    let told = told(output);
    let last = told.len().saturating_sub(TOLD_MAX);
    format!(
        "seed {seed}:\n{}\n{}\nhave it again with TRIVET_SIM_SEED={seed} cargo test --workspace --test sim",
        told[last..].join("\n"),
        String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_and_all_agree() {
    if let Some(seed) = number("TRIVET_SIM_SEED") {
        let lived = live(seed);
        for line in lived.told {
            println!("{TOLD}{line}");
        }
        assert_eq!(lived.failed, None);
        return;
    }
    let seeds = number("TRIVET_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let lives = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failed.len() > FAILED_MAX {
                return failed;
            }
            let output = live_apart(seed);
            if !output.status.success() {
                failed.push(describe(seed, &output));
            }
        }
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let at_once = thread::available_parallelism().map_or(2, usize::from);
        let running: Vec<_> = (0..at_once).map(|_| scope.spawn(lives)).collect();
        let ended = running.into_iter().flat_map(|one| one.join().unwrap());
        ended.collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn a_number_is_the_same_life_again() {
    for seed in [3, 8] {
        let (once, again) = (told(&live_apart(seed)), told(&live_apart(seed)));
        assert!(once.len() > 20, "{once:?}");
        for (line, (one, other)) in once.iter().zip(&again).enumerate() {
            assert_eq!(one, other, "line {line} of seed {seed}");
        }
        assert_eq!(once.len(), again.len(), "seed {seed}");
    }
}
