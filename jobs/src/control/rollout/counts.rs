//! What ingresses counted of instances, and how long answers took.

use crate::model::AllocId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many answers are enough to know how long they take; then all of them count half.
const ANSWERS_MAX: u64 = 16_384;

/// How long answers took: the longest time of a bucket, in microseconds, to the answers in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Times(BTreeMap<u64, u64>);

impl Times {
    /// Of buckets.
    pub fn new(buckets: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self(
            buckets
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
        )
    }

    /// Adds answers.
    pub fn add(&mut self, other: &Self) {
        for (longest, count) in &other.0 {
            let sum = self.0.entry(*longest).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// How many answers there are.
    pub fn all(&self) -> u64 {
        self.0.values().sum()
    }

    /// How many took longer than so many microseconds.
    pub fn beyond(&self, micros: u64) -> u64 {
        self.0
            .range(micros.saturating_add(1)..)
            .map(|(_, count)| count)
            .sum()
    }

    /// The time that so many of a thousand answers do not exceed, in microseconds.
    pub fn quantile(&self, per_mille: u32) -> Option<u64> {
        let rank = (self.all() * u64::from(per_mille)).div_ceil(1000);
        let mut seen = 0;
        let mut buckets = self.0.iter();
        buckets
            .find(|(_, count)| {
                seen += **count;
                seen >= rank
            })
            .map(|(longest, _)| *longest)
    }

    /// Lets old answers count less when there are many.
    pub(super) fn bound(&mut self) {
        if self.all() > ANSWERS_MAX {
            self.0.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }
}

/// Attempts at instances and how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// All that ended, but those that the client gave up.
    pub attempts: u64,
    /// Without a whole answer: refused, reset, timed out; or 5xx.
    pub failed: u64,
    /// Of those, without any answer.
    pub broken: u64,
    /// Answers 3xx.
    pub elsewhere: u64,
    /// Answers 4xx.
    pub refused: u64,
    /// How long whole answers took.
    pub times: Times,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.attempts, other.attempts),
            (&mut self.failed, other.failed),
            (&mut self.broken, other.broken),
            (&mut self.elsewhere, other.elsewhere),
            (&mut self.refused, other.refused),
        ] {
            *sum = sum.saturating_add(count);
        }
        self.times.add(&other.times);
    }

    /// Answers of a hundred, 3 or 4.
    pub(super) fn answered(&self, hundred: u16) -> u64 {
        match hundred {
            3 => self.elsewhere,
            4 => self.refused,
            _ => 0,
        }
    }

    /// What counts of an instance that warms up: attempts without any answer.
    fn of_warming(&self) -> Self {
        Self {
            attempts: self.broken,
            failed: self.broken,
            broken: self.broken,
            ..Self::default()
        }
    }
}

/// Which version an instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The stable version.
    Stable,
    /// The new version.
    Canary,
}

/// What an instance did in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Host and path of the route.
    pub route: String,
    /// The instance.
    pub alloc_id: AllocId,
    /// Its version.
    pub side: Side,
    /// It was started a moment ago.
    #[serde(default)]
    pub is_warming: bool,
    /// What it did.
    pub counts: Counts,
}

impl Row {
    /// What counts of it.
    pub(super) fn counted(&self) -> Counts {
        if self.is_warming {
            self.counts.of_warming()
        } else {
            self.counts.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_quantiles() {
        let mut times = Times::new([(100, 50), (200, 49), (900, 1), (1000, 0)]);
        assert_eq!(
            (times.all(), times.beyond(100), times.beyond(99)),
            (100, 50, 100)
        );
        assert_eq!(
            [
                times.quantile(500),
                times.quantile(990),
                times.quantile(1000)
            ],
            [Some(100), Some(200), Some(900)]
        );
        assert_eq!(Times::default().quantile(500), None);
        times.add(&Times::new([(100, ANSWERS_MAX)]));
        times.bound();
        assert_eq!(times.all(), (50 + ANSWERS_MAX) / 2 + 24);
    }
}
