//! What happened since it was told last, in the forms that receivers take: statsd, the same with
//! tags, and graphite. Pure; whoever sends it is elsewhere.

use crate::statsd::{packed, word};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// So many of the times that a figure has are told one by one; of more, so many that stand for all.
const TIMES_MAX: u64 = 20;
/// Quantiles that graphite is told.
const PERCENTS: [u64; 4] = [50, 90, 95, 99];

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// So many more.
    Added(u64),
    /// It stands at this.
    Level(u64),
    /// How many of something took how long.
    Took(BTreeMap<Duration, u64>),
    /// How many of something there were, and how long they took together.
    Spent(u64, Duration),
}

/// A figure with the name that its receiver knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Words with dots between.
    pub name: String,
    /// Keys and values for receivers that know tags.
    pub tags: Vec<(&'static str, String)>,
    /// What happened.
    pub happened: Happened,
}

/// Datagrams with lines of statsd; with tags, if there are any, as histograms. What did not happen
/// is left out, and so is what does not fit into a datagram.
pub fn datagrams(all: &[Told], has_tags: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for told in all {
        let name = word(&told.name, |letter| matches!(letter, ':' | '|' | '@' | '#'));
        let tags = if has_tags {
            tags(&told.tags)
        } else {
            String::new()
        };
        let kind = if has_tags { "h" } else { "ms" };
        let took = |ms: f64, shown: u64, count: u64| {
            let rate = if shown == count {
                String::new()
            } else {
                format!("|@{}", whole(shown) / whole(count))
            };
            format!("{name}:{ms}|{kind}{rate}{tags}\n")
        };
        match &told.happened {
            Happened::Added(0) | Happened::Spent(0, _) => {}
            Happened::Added(count) => lines.push(format!("{name}:{count}|c{tags}\n")),
            Happened::Level(level) => lines.push(format!("{name}:{level}|g{tags}\n")),
            Happened::Took(times) => {
                let count = sum(times);
                let shown = count.min(TIMES_MAX);
                let samples = (0..shown).filter_map(|at| {
                    // The middle of each of so many parts with as many times in each.
                    let rank = (2 * u128::from(at) + 1) * u128::from(count);
                    let rank = rank / (2 * u128::from(shown));
                    ranked(times, u64::try_from(rank).unwrap_or(u64::MAX))
                });
                lines.extend(samples.map(|time| took(millis(time), shown, count)));
            }
            Happened::Spent(count, total) => lines.push(took(mean(*count, *total), 1, *count)),
        }
    }
    packed(lines)
}

/// Lines of graphite, with the seconds since 1970; nothing if there is nothing to tell.
pub fn graphite(all: &[Told], seconds: i64) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let mut line = |name: &str, value: f64| writeln!(out, "{name} {value} {seconds}").ok();
    for told in all {
        let name = word(&told.name, |_| false);
        match &told.happened {
            Happened::Added(value) | Happened::Level(value) => {
                line(&name, whole(*value));
            }
            Happened::Took(times) => {
                let count = sum(times);
                for percent in PERCENTS {
                    let rank = (u128::from(count) * u128::from(percent)).div_ceil(100);
                    let rank = u64::try_from(rank).unwrap_or(u64::MAX).saturating_sub(1);
                    if let Some(time) = ranked(times, rank) {
                        line(&format!("{name}.p{percent}"), millis(time));
                    }
                }
            }
            Happened::Spent(0, _) => {}
            Happened::Spent(count, total) => {
                for percent in PERCENTS {
                    line(&format!("{name}.p{percent}"), mean(*count, *total));
                }
            }
        }
    }
    out
}

fn tags(tags: &[(&'static str, String)]) -> String {
    let tags = tags.iter().map(|(key, value)| {
        let value = word(value, |letter| matches!(letter, ',' | '|' | '#'));
        format!("{key}:{value}")
    });
    let tags: Vec<String> = tags.collect();
    if tags.is_empty() {
        String::new()
    } else {
        format!("|#{}", tags.join(","))
    }
}

fn sum(times: &BTreeMap<Duration, u64>) -> u64 {
    let mut counts = times.values();
    counts
        .try_fold(0_u64, |sum, count| sum.checked_add(*count))
        .unwrap_or(u64::MAX)
}

/// The time with so many before it.
fn ranked(times: &BTreeMap<Duration, u64>, rank: u64) -> Option<Duration> {
    let mut before: u64 = 0;
    let mut all = times.iter();
    let found = all.find(|(_, count)| {
        before = before.saturating_add(**count);
        before > rank
    });
    found.map(|(time, _)| *time)
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    whole(us) / 1000.0
}

fn mean(count: u64, total: Duration) -> f64 {
    let us = u64::try_from(total.as_micros()).unwrap_or(u64::MAX);
    whole(us / count.max(1)) / 1000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures are drawn, not calculated with"
)]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, happened: Happened) -> Told {
        Told {
            name: name.to_owned(),
            tags: vec![("code", "200".to_owned()), ("target", "http://h:1/".into())],
            happened,
        }
    }

    fn took(times: &[(u64, u64)]) -> Happened {
        let times = times.iter();
        Happened::Took(
            times
                .map(|(ms, count)| (Duration::from_millis(*ms), *count))
                .collect(),
        )
    }

    #[test]
    fn each_form_is_as_its_receivers_take_it() {
        let all = [
            told("a.b c:d", Happened::Added(3)),
            told("none", Happened::Added(0)),
            told("level", Happened::Level(0)),
            told("times", took(&[(2, 2), (5, 1)])),
            told("mean", Happened::Spent(4, Duration::from_millis(10))),
            told("never", Happened::Spent(0, Duration::ZERO)),
            told("never", took(&[])),
        ];
        assert_eq!(
            datagrams(&all, false),
            ["a.b_c_d:3|c\nlevel:0|g\ntimes:2|ms\ntimes:2|ms\ntimes:5|ms\nmean:2.5|ms|@0.25\n"]
        );
        let tags = "|#code:200,target:http://h:1/";
        assert_eq!(
            datagrams(&all, true),
            [format!(
                "a.b_c_d:3|c{tags}\nlevel:0|g{tags}\ntimes:2|h{tags}\ntimes:2|h{tags}\n\
                 times:5|h{tags}\nmean:2.5|h|@0.25{tags}\n"
            )]
        );
        let lines = "a.b_c:d 3 77\nnone 0 77\nlevel 0 77\n\
                     times.p50 2 77\ntimes.p90 5 77\ntimes.p95 5 77\ntimes.p99 5 77\n\
                     mean.p50 2.5 77\nmean.p90 2.5 77\nmean.p95 2.5 77\nmean.p99 2.5 77\n";
        assert_eq!(graphite(&all, 77), lines);
        assert_eq!(graphite(&[], 77), "");
    }

    #[test]
    fn many_times_are_told_by_some_that_stand_for_all() {
        let all = [told("t", took(&[(1, 900), (100, 90), (1000, 10)]))];
        let lines = datagrams(&all, false).concat();
        let values: Vec<&str> = lines
            .lines()
            .filter_map(|line| line.split('|').next())
            .collect();
        assert_eq!(values.len(), 20);
        let ones = values.iter().filter(|value| **value == "t:1").count();
        assert_eq!((ones, values[18], values[19]), (18, "t:100", "t:100"));
        assert!(
            lines.lines().all(|line| line.ends_with("|ms|@0.02")),
            "{lines}"
        );
        let graphite = graphite(&all, 0);
        assert!(graphite.contains("t.p99 100 0\n"), "{graphite}");
        // No number of them breaks the sums.
        let most = [told("t", took(&[(1, u64::MAX), (2, u64::MAX)]))];
        assert_eq!(datagrams(&most, false).concat().lines().count(), 20);
    }
}
