//! The keys `client.gc_*`: when ended allocations give their directories back.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use std::time::Duration;

/// Between two looks, and the least.
const INTERVAL: Duration = Duration::from_secs(60);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The same of a dev agent, whose tasks end with it.
const DEV_INTERVAL: Duration = Duration::from_secs(600);
/// Percent of a disk, and of its inodes.
const DISK_PERCENT: f64 = 80.0;
const INODE_PERCENT: f64 = 70.0;
/// Both of a dev agent.
const DEV_PERCENT: f64 = 99.0;
/// Allocations of a node.
const ALLOCS: usize = 50;
/// The most that may be written: what is ended stands in memory.
const ALLOCS_MAX: usize = 10_000;
/// Directories that are removed at a time.
const PARALLEL: usize = 2;
const PARALLEL_MAX: usize = 64;

/// When ended allocations give their directories back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collection {
    /// Between two looks.
    pub interval: Duration,
    /// Percent of the disk in use, 0 to 100, above which they do.
    pub disk_percent_max: f64,
    /// Percent of its inodes, likewise.
    pub inode_percent_max: f64,
    /// Allocations of the node, those that run included, above which they do.
    pub allocs_max: usize,
    /// Directories that are removed at a time; at least 1.
    pub parallel: usize,
}

impl Default for Collection {
    fn default() -> Self {
        WrittenCollection::default().resolve(false, &mut Vec::new())
    }
}

/// What is written of it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenCollection {
    pub gc_interval: Option<String>,
    pub gc_disk_usage_threshold: Option<String>,
    pub gc_inode_usage_threshold: Option<String>,
    pub gc_max_allocs: Option<u64>,
    pub gc_parallel_destroys: Option<u64>,
}

impl WrittenCollection {
    /// Its keys in the client block.
    pub(super) const KEYS: [&str; 5] = [
        "gc_interval",
        "gc_disk_usage_threshold",
        "gc_inode_usage_threshold",
        "gc_max_allocs",
        "gc_parallel_destroys",
    ];

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            gc_interval: other.gc_interval.or(self.gc_interval),
            gc_disk_usage_threshold: other
                .gc_disk_usage_threshold
                .or(self.gc_disk_usage_threshold),
            gc_inode_usage_threshold: other
                .gc_inode_usage_threshold
                .or(self.gc_inode_usage_threshold),
            gc_max_allocs: other.gc_max_allocs.or(self.gc_max_allocs),
            gc_parallel_destroys: other.gc_parallel_destroys.or(self.gc_parallel_destroys),
        }
    }

    /// Takes one of its keys.
    pub(super) fn take(&mut self, entry: &Entry, reader: &mut Reader<'_>) {
        match entry.key.as_str() {
            "gc_interval" => self.gc_interval = reader.text(entry),
            "gc_disk_usage_threshold" => self.gc_disk_usage_threshold = reader.scalar(entry),
            "gc_inode_usage_threshold" => self.gc_inode_usage_threshold = reader.scalar(entry),
            "gc_max_allocs" => self.gc_max_allocs = reader.number(entry),
            _ => self.gc_parallel_destroys = reader.number(entry),
        }
    }

    pub(super) fn resolve(&self, dev: bool, problems: &mut Vec<Problem>) -> Collection {
        let usual = |usual, of_dev| if dev { of_dev } else { usual };
        let found = problems.len();
        let interval = match &self.gc_interval {
            None if dev => DEV_INTERVAL,
            None => INTERVAL,
            Some(text) => duration("client.gc_interval", text, problems),
        };
        if interval < INTERVAL_MIN && problems.len() == found {
            let message = "`client.gc_interval` must be at least 1s";
            problems.push(Problem::new(SETTINGS, message));
        }
        let disk = percent(
            "gc_disk_usage_threshold",
            self.gc_disk_usage_threshold.as_deref(),
            problems,
        );
        let inodes = percent(
            "gc_inode_usage_threshold",
            self.gc_inode_usage_threshold.as_deref(),
            problems,
        );
        let allocs = (0, ALLOCS, ALLOCS_MAX);
        let parallel = (1, PARALLEL, PARALLEL_MAX);
        Collection {
            interval,
            disk_percent_max: disk.unwrap_or_else(|| usual(DISK_PERCENT, DEV_PERCENT)),
            inode_percent_max: inodes.unwrap_or_else(|| usual(INODE_PERCENT, DEV_PERCENT)),
            allocs_max: count("gc_max_allocs", self.gc_max_allocs, allocs, problems),
            parallel: count(
                "gc_parallel_destroys",
                self.gc_parallel_destroys,
                parallel,
                problems,
            ),
        }
    }
}

fn percent(key: &str, text: Option<&str>, problems: &mut Vec<Problem>) -> Option<f64> {
    let text = text?;
    let found = text.parse::<f64>().ok();
    let found = found.filter(|percent| (0.0..=100.0).contains(percent));
    if found.is_none() {
        let message = format!("`client.{key}` is `{text}`; it must be percent, 0 to 100");
        problems.push(Problem::new(SETTINGS, message));
    }
    found
}

fn count(
    key: &str,
    written: Option<u64>,
    (least, usual, most): (usize, usize, usize),
    problems: &mut Vec<Problem>,
) -> usize {
    let Some(written) = written else {
        return usual;
    };
    let found = usize::try_from(written).ok();
    found
        .filter(|count| (least..=most).contains(count))
        .unwrap_or_else(|| {
            let message = format!("`client.{key}` is {written}; it must be from {least} to {most}");
            problems.push(Problem::new(SETTINGS, message));
            usual
        })
}
