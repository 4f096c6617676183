//! Records of rollouts judged again: how long an hour takes, and that equal versions are never
//! given up in twenty of them.
//!
//! The records are made here, as ingresses would have counted: three canaries with 5 % of 100
//! requests a second at two routes, and every hundredth attempt fails, whoever answers it.

use jobs::{
    control::rollout::{Counts, FORMAT, Head, LOOK_INTERVAL, Row, Side, Times, Window, replay},
    model::{AllocId, Share, Span, Timestamp},
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

const HOURS: u64 = 20;
const CANARIES: usize = 3;
/// Requests in a look.
const REQUESTS: usize = 25;
/// One request in so many goes to a canary.
const CANARY_EVERY: usize = 20;
/// One attempt in so many fails.
const FAILS_EVERY: u64 = 100;
/// Route, and its part of the requests in tenths.
const ROUTES: [(&str, u64); 2] = [("shop.example.com/", 7), ("shop.example.com/pay", 3)];

pub(crate) fn run() {
    println!(
        "| hours | lines | size of an hour | judged in, median | most | suspicions | aborts |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (mut times, mut aborts, mut said) = (Vec::new(), 0, 0);
    let (mut lines, mut bytes) = (0, 0);
    for seed in 1..=HOURS {
        let record = hour(seed);
        (lines, bytes) = (lines + record.lines().count(), bytes + record.len());
        let began = Instant::now();
        let (_, words) = replay(&record, &[]).expect("a record");
        times.push(began.elapsed());
        aborts += words.iter().filter(|word| word.is_abort).count();
        said += words.iter().filter(|word| !word.is_abort).count();
    }
    times.sort_unstable();
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    println!(
        "| {HOURS} | {lines} | {:.1} MB | {} | {} | {said} | {aborts} |",
        bytes as f64 / 1e6 / HOURS as f64,
        seconds(times[times.len() / 2]),
        seconds(times[times.len() - 1]),
    );
}

/// The record of an hour.
fn hour(seed: u64) -> String {
    let settings = [
        ("rollout_steps", "5"),
        ("rollout_latency", "p50<1.3x,p99<1.5x"),
    ];
    let head = Head {
        format: FORMAT,
        settings: settings
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Head::default()
    };
    let mut text = serde_json::to_string(&head).expect("a line");
    let mut made = Made {
        numbers: Numbers(ChaCha8Rng::seed_from_u64(seed)),
        turn: 0,
    };
    let mut now = Timestamp::from_secs(1_800_000_000);
    let ends = now + Span::HOUR;
    while now < ends {
        let window = made.window(now);
        now = window.ends;
        text.push('\n');
        text.push_str(&serde_json::to_string(&window).expect("a line"));
    }
    text
}

/// The same numbers for the same seed.
struct Numbers(ChaCha8Rng);

impl Numbers {
    /// From 0 to below that.
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }
}

struct Made {
    numbers: Numbers,
    /// Requests until now.
    turn: usize,
}

impl Made {
    fn window(&mut self, starts: Timestamp) -> Window {
        let mut rows: BTreeMap<(&str, Side, usize), Counts> = BTreeMap::new();
        for _ in 0..REQUESTS {
            self.turn += 1;
            let canary = self.turn.is_multiple_of(CANARY_EVERY);
            let (side, at) = if canary {
                (Side::Canary, self.turn / CANARY_EVERY % CANARIES)
            } else {
                (Side::Stable, self.turn % 2)
            };
            let is_first = self.numbers.below(10) < ROUTES[0].1;
            let (route, _) = ROUTES[usize::from(!is_first)];
            let counts = rows.entry((route, side, at)).or_default();
            counts.add(&self.attempt());
        }
        let rows = rows.into_iter();
        Window {
            starts,
            ends: starts + LOOK_INTERVAL,
            share: Share::of_percent(5),
            rows: rows
                .map(|((route, side, at), counts)| Row {
                    route: route.to_owned(),
                    alloc_id: AllocId::named(&format!("{side:?}-{at}")),
                    side,
                    is_warming: false,
                    counts,
                })
                .collect(),
            ..Window::default()
        }
    }

    fn attempt(&mut self) -> Counts {
        // Longer answers are rarer: 10 ms, and half as often each step of a tenth longer.
        let mut micros = 10_000;
        while self.numbers.below(2) == 0 && micros < 1_000_000 {
            micros += micros / 10;
        }
        let failed = u64::from(self.numbers.below(FAILS_EVERY) == 0);
        Counts {
            attempts: 1,
            failed,
            times: Times::new([(micros, 1)]),
            ..Counts::default()
        }
    }
}
