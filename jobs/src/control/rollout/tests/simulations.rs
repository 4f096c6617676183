//! How soon a bad canary is given up, and that a good one is not: what the constants are for.

use super::{
    super::{
        judge::Window,
        replay::{FORMAT, Head, replay},
        sequential::{Block, Limit, SequentialTest},
    },
    trial::{Answers, LOOK, Numbers, Traffic, Trial},
};
use crate::model::{RolloutPhase, RolloutPolicy, RolloutTransition, Share, Span, Timestamp};

fn is_abort(transition: &RolloutTransition) -> bool {
    transition.phase == RolloutPhase::Aborted
}

fn failing(part: f64) -> Answers {
    Answers {
        failed: part,
        ..Answers::default()
    }
}

fn traffic(rate: f64, stable: f64, canary: f64) -> Traffic {
    Traffic {
        rate,
        stable: failing(stable),
        canary: failing(canary),
        ..Traffic::default()
    }
}

/// Seconds from the first bad attempt to the decision, and a quarter to carry it out; of runs,
/// sorted. Before that, the canary is well for 20 seconds.
fn times_to_abort(steps: &str, traffic: &Traffic, runs: u64, most: i64) -> Vec<f64> {
    let mut times: Vec<f64> = (0..runs)
        .map(|seed| {
            let mut trial = Trial::of_steps(steps, seed + 1);
            let well = Traffic {
                canary: traffic.stable,
                ..traffic.clone()
            };
            let aborted = trial.until(&well, Span::from_secs(20), is_abort);
            assert!(aborted.is_none(), "{aborted:?}");
            trial.first_bad = None;
            let abort = trial.until(traffic, Span::from_secs(most), is_abort);
            let first = trial.first_bad.expect("a bad attempt");
            abort.map_or(f64::INFINITY, |abort| {
                assert_eq!(trial.row.share, Share::NONE);
                abort.at.since(first).as_secs_f64() + 0.25
            })
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn p95(times: &[f64]) -> f64 {
    times[(times.len() * 95).div_ceil(100) - 1]
}

#[test]
fn a_dead_canary_is_given_up_within_seconds() {
    for (steps, rate, stable, canary, limit) in [
        ("5", 60.0, 0.001, 1.0, 3.0),
        ("5", 60.0, 0.01, 1.0, 3.0),
        ("5", 100.0, 0.001, 0.5, 6.0),
        ("5", 100.0, 0.01, 0.5, 6.0),
        ("5", 10.0, 0.001, 1.0, 12.0),
        ("25", 10.0, 0.001, 1.0, 5.0),
        ("25", 100.0, 0.0, 0.02, 60.0),
        ("25", 20.0 / 60.0, 0.0, 1.0, 120.0),
    ] {
        let traffic = traffic(rate, stable, canary);
        let times = times_to_abort(steps, &traffic, 40, 600);
        let found = p95(&times);
        assert!(
            found <= limit,
            "{steps} % of {rate}/s, stable {stable}, canary {canary}: p95 {found} s, {times:?}"
        );
    }
}

/// Counts bad attempts of both versions, block by block, as two ingresses would have recorded them.
struct Recorded {
    numbers: Numbers,
    canary: u64,
    stable: u64,
}

impl Recorded {
    fn new(seed: u64, rate: f64) -> Self {
        let mut numbers = Numbers(seed);
        Self {
            canary: numbers.until(rate),
            stable: numbers.until(rate),
            numbers,
        }
    }

    fn bad(left: &mut u64, numbers: &mut Numbers, attempts: u64, rate: f64) -> u64 {
        let mut bad = 0;
        let mut rest = attempts;
        while *left < rest {
            rest -= *left + 1;
            bad += 1;
            *left = numbers.until(rate);
        }
        *left -= rest;
        bad
    }

    fn block(&mut self, canary: u64, stable: u64, rate: f64) -> Block {
        Block {
            canary,
            canary_bad: Self::bad(&mut self.canary, &mut self.numbers, canary, rate),
            stable,
            stable_bad: Self::bad(&mut self.stable, &mut self.numbers, stable, rate),
        }
    }
}

fn hours(hours: i64, seed: u64, (per_look, share): (f64, f64), rate: f64) -> (u32, u32) {
    let limit = Limit::AboveStable {
        points: 0.002,
        ratio: 1.25,
    };
    let mut test = SequentialTest::new(limit);
    let mut recorded = Recorded::new(seed, rate);
    let (mut owed, mut owed_canary) = (0.0, 0.0);
    let (mut aborts, mut holds) = (0, 0);
    let mut now = Timestamp::from_secs(1_800_000_000);
    let ends = now + hours * Span::HOUR;
    let mut open = Block::default();
    let mut was_suspect = false;
    while now < ends {
        owed += per_look;
        let requests = owed as u64;
        owed -= requests as f64;
        owed_canary += requests as f64 * share;
        let canary = owed_canary as u64;
        owed_canary -= canary as f64;
        open.add(recorded.block(canary, requests - canary, rate));
        let starts = now;
        now = now + LOOK;
        if open.canary > 0 && open.stable > 0 {
            test.add(std::mem::take(&mut open), starts, now);
        }
        if test.failure().is_some() {
            aborts += 1;
            test.forget_canaries();
        }
        let suspect = test.suspicion().is_some();
        holds += u32::from(suspect && !was_suspect);
        was_suspect = suspect;
    }
    (aborts, holds)
}

#[test]
fn equal_versions_are_not_given_up_in_twenty_hours() {
    let (aborts, holds) = hours(20, 12, (25.0, 0.05), 0.01);
    assert_eq!(aborts, 0, "and {holds} holds");
    assert!(holds <= 20, "{holds} holds");
    for (seed, rate) in [(1, 0.001), (2, 0.01)] {
        assert_eq!(hours(4, seed, (2.5, 0.25), rate).0, 0);
        assert_eq!(hours(1, seed, (250.0, 0.5), rate).0, 0);
    }
}

#[test]
fn failures_in_clumps_and_shared_outages_are_no_reason() {
    for seed in 1..=3 {
        let mut trial = Trial::of_steps("5", seed);
        trial.policy.hold = Span::HOUR;
        let well = traffic(100.0, 0.001, 0.001);
        let outage = traffic(100.0, 0.3, 0.3);
        for _ in 0..3 {
            assert_eq!(trial.until(&well, Span::from_secs(60), is_abort), None);
            assert_eq!(trial.until(&outage, Span::from_secs(20), is_abort), None);
        }
    }
    // Five at once.
    let limit = Limit::AboveStable {
        points: 0.002,
        ratio: 1.25,
    };
    for seed in 1..=4 {
        let mut test = SequentialTest::new(limit);
        let mut numbers = Numbers(seed);
        let mut now = Timestamp::from_secs(1_800_000_000);
        for _ in 0..4 * 3600 {
            let clump = if numbers.part() < 0.05 { 5 } else { 0 };
            let clump_canary = if numbers.part() < 0.0025 { 5 } else { 0 };
            let block = Block {
                canary: 5,
                canary_bad: clump_canary,
                stable: 95,
                stable_bad: clump,
            };
            test.add(block, now, now + LOOK);
            now = now + LOOK;
            assert!(test.failure().is_none(), "seed {seed}");
        }
    }
}

#[test]
fn a_record_is_judged_as_it_was() {
    let mut trial = Trial::of_steps("5", 3);
    trial.policy.hold = Span::HOUR;
    let settings = [("rollout_steps", "5"), ("rollout_hold", "1h")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let head = Head {
        format: FORMAT,
        settings: settings.into(),
        ..Head::default()
    };
    let mut lines = vec![serde_json::to_string(&head).expect("a line")];
    let mut abort = None;
    for (canary, looks) in [(0.01, 4 * 60 * 20), (0.2, 4 * 60)] {
        let traffic = Traffic {
            timed: true,
            ..traffic(20.0, 0.01, canary)
        };
        for _ in 0..looks {
            let window = trial.window(&traffic);
            lines.push(serde_json::to_string(&window).expect("a line"));
            let moved = trial.take(&window).filter(is_abort);
            abort = abort.or(moved);
        }
    }
    let abort = abort.expect("an abort");
    let text = lines.join("\n");
    let (_, words) = replay(&text, &[]).expect("a record");
    let last = words.last().expect("a word");
    assert!(last.is_abort);
    assert_eq!((last.at, &last.sentence), (abort.at, &abort.reason));
    assert_eq!(last.evidence, abort.evidence);
    // Where a transition was on its way when there was enough, it was decided a look later.
    let waiting: Vec<String> = lines
        .iter()
        .map(|line| match serde_json::from_str::<Window>(line) {
            Ok(window) if window.ends == abort.at => {
                let waiting = Window {
                    is_waiting: true,
                    ..window
                };
                serde_json::to_string(&waiting).expect("a line")
            }
            _ => line.clone(),
        })
        .collect();
    let (_, words) = replay(&waiting.join("\n"), &[]).expect("a record");
    let last = words.last().expect("a word");
    assert_eq!((last.is_abort, last.at), (true, abort.at + LOOK));
    // Under another limit it would have gone on.
    let other = [("errors".to_owned(), "+50pt".to_owned())];
    let (_, words) = replay(&text, &other).expect("a record");
    assert!(!words.iter().any(|word| word.is_abort), "{words:?}");
    for (text, problem) in [
        ("", "the record is empty"),
        (
            "{}",
            "the record has format 0, and this version of trivet reads format 1",
        ),
        (
            "{\"format\": 1}\n{",
            "line 2: EOF while parsing an object at line 1 column 1",
        ),
    ] {
        assert_eq!(replay(text, &[]).unwrap_err().to_string(), problem);
    }
}

#[test]
fn slow_canaries_are_found_and_a_little_slower_is_allowed() {
    let slow = |factor| Traffic {
        canary: Answers {
            slow: factor,
            ..Answers::default()
        },
        timed: true,
        ..traffic(100.0, 0.0, 0.0)
    };
    let with = |latency: &str, seed| {
        let mut policy = RolloutPolicy::default();
        for (key, value) in [("steps", "5"), ("hold", "1h"), ("latency", latency)] {
            policy
                .set(&format!("rollout_{key}"), value)
                .expect("a setting");
        }
        Trial::new(policy, seed)
    };
    for (latency, limit) in [("p50<1.3x", 20), ("p99<1.3x", 75)] {
        for seed in 1..=4 {
            let mut trial = with(latency, seed);
            let begins = trial.now;
            let abort = trial.until(&slow(2.0), Span::from_secs(200), is_abort);
            let abort = abort.expect("an abort");
            let took = abort.at.since(begins).as_secs();
            assert!(took <= limit, "{latency}: {took} s, {}", abort.reason);
        }
    }
    let mut trial = with("p50<1.3x,p99<1.3x", 9);
    trial.policy.hold = Span::from_secs(60);
    let mut seen = Vec::new();
    let passed = trial.until(&slow(1.15), Span::from_secs(120), |transition| {
        seen.push(transition.reason.clone());
        transition.phase == RolloutPhase::Passed
    });
    assert!(passed.is_some(), "{seen:?}");
}
