//! How long servers keep what is over.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use jobs::control::GcLimits;
use std::{collections::BTreeMap, time::Duration};

/// The least pause between two passes.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The keys of `server` that say it, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenRetention(BTreeMap<&'static str, String>);

impl WrittenRetention {
    pub(super) const KEYS: [&str; 6] = [
        "job_gc_interval",
        "job_gc_threshold",
        "eval_gc_threshold",
        "batch_eval_gc_threshold",
        "deployment_gc_threshold",
        "node_gc_threshold",
    ];

    pub(super) fn merge(self, other: Self) -> Self {
        let mut all = self.0;
        all.extend(other.0);
        Self(all)
    }

    /// Takes one of [`WrittenRetention::KEYS`].
    pub(super) fn take(&mut self, entry: &Entry, reader: &mut Reader<'_>) {
        let key = Self::KEYS.into_iter().find(|key| *key == entry.key);
        if let (Some(key), Some(text)) = (key, reader.text(entry)) {
            self.0.insert(key, text);
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> GcLimits {
        let mut limits = GcLimits::default();
        for (key, text) in &self.0 {
            let place = match *key {
                "job_gc_interval" => &mut limits.interval,
                "job_gc_threshold" => &mut limits.job,
                "eval_gc_threshold" => &mut limits.eval,
                "batch_eval_gc_threshold" => &mut limits.batch_eval,
                "deployment_gc_threshold" => &mut limits.deployment,
                _ => &mut limits.node,
            };
            *place = duration(&format!("server.{key}"), text, problems);
        }
        if limits.interval < INTERVAL_MIN {
            let message = "`server.job_gc_interval` must be at least 1s";
            problems.push(Problem::new(SETTINGS, message));
        }
        limits
    }
}
