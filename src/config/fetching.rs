//! The blocks `client.artifact` and `client.template`: what fetching a file may cost, and how
//! templates of jobs are rendered.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Longest time for one artifact unless it is set.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Bytes of a download, and of what is unpacked from one.
const BYTES: u64 = 100 * GB;
/// Files in one archive.
const FILES: usize = 4096;
const GB: u64 = 1_000_000_000;
/// Functions that no template has anyway.
const DENIED_FUNCTIONS: [&str; 2] = ["plugin", "writeToFile"];

/// What fetching a file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// How long it may take over HTTP, and from this machine.
    pub http_timeout: Duration,
    /// From a git repository.
    pub git_timeout: Duration,
    /// From an object store.
    pub s3_timeout: Duration,
    /// Bytes of it.
    pub download_bytes_max: u64,
    /// Bytes that an archive may unpack to.
    pub unpacked_bytes_max: u64,
    /// Files that an archive may hold.
    pub files_max: usize,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        Self {
            http_timeout: TIMEOUT,
            git_timeout: TIMEOUT,
            s3_timeout: TIMEOUT,
            download_bytes_max: BYTES,
            unpacked_bytes_max: BYTES,
            files_max: FILES,
        }
    }
}

/// How templates of jobs are rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRules {
    /// Functions that none may use.
    pub denied_functions: BTreeSet<String>,
    /// How long values must be calm, and are waited for at most, where a template says nothing;
    /// none for the usual.
    pub calm: Option<(Duration, Duration)>,
    /// Within which both have to be, whatever a template says; none for whatever it says.
    pub calm_bounds: Option<(Duration, Duration)>,
}

impl Default for TemplateRules {
    fn default() -> Self {
        Self {
            denied_functions: DENIED_FUNCTIONS.map(str::to_owned).into(),
            calm: None,
            calm_bounds: None,
        }
    }
}

/// What is written of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenFiles {
    artifact: BTreeMap<&'static str, String>,
    template: BTreeMap<&'static str, String>,
    function_denylist: Option<Vec<String>>,
}

const ARTIFACT: [&str; 6] = [
    "http_read_timeout",
    "git_timeout",
    "s3_timeout",
    "http_max_size",
    "decompression_limit_size",
    "decompression_limit_file_count",
];
const TEMPLATE: [&str; 4] = [
    "function_denylist",
    "function_blacklist",
    "wait",
    "wait_bounds",
];
/// Keys of the blocks in `template`.
const WAIT: [&str; 3] = ["enabled", "min", "max"];
/// The same, with their blocks.
const WAITS: [(&str, [&str; 3]); 2] = [
    ("wait", ["wait.enabled", "wait.min", "wait.max"]),
    (
        "wait_bounds",
        ["wait_bounds.enabled", "wait_bounds.min", "wait_bounds.max"],
    ),
];

impl WrittenFiles {
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.artifact.extend(other.artifact);
        self.template.extend(other.template);
        self.function_denylist = other.function_denylist.or(self.function_denylist);
        self
    }

    pub(super) fn take_artifact(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match ARTIFACT.into_iter().find(|key| *key == inner.key) {
                Some(key) => {
                    if let Some(text) = reader.scalar(&inner) {
                        self.artifact.insert(key, text);
                    }
                }
                None => reader.unknown(&inner, "client.artifact", &ARTIFACT),
            }
        }
    }

    pub(super) fn take_template(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            let waits = WAITS.iter().find(|(block, _)| *block == inner.key);
            if let Some((block, keys)) = waits {
                for one in reader.block(inner) {
                    let found = WAIT.iter().position(|key| *key == one.key);
                    match found.and_then(|at| keys.get(at).copied()) {
                        Some(key) => {
                            if let Some(text) = reader.scalar(&one) {
                                self.template.insert(key, text);
                            }
                        }
                        None => reader.unknown(&one, &format!("client.template.{block}"), &WAIT),
                    }
                }
            } else if TEMPLATE.contains(&inner.key.as_str()) {
                self.function_denylist = reader.texts(&inner);
            } else {
                reader.unknown(&inner, "client.template", &TEMPLATE);
            }
        }
    }

    pub(super) fn artifact(&self, problems: &mut Vec<Problem>) -> ArtifactLimits {
        let mut limits = ArtifactLimits::default();
        for (key, text) in &self.artifact {
            let name = format!("client.artifact.{key}");
            let found = problems.len();
            let is_none = match *key {
                "http_max_size" => {
                    limits.download_bytes_max = bytes(&name, text, problems);
                    limits.download_bytes_max == 0
                }
                "decompression_limit_size" => {
                    limits.unpacked_bytes_max = bytes(&name, text, problems);
                    limits.unpacked_bytes_max == 0
                }
                "decompression_limit_file_count" => {
                    limits.files_max = text.parse().unwrap_or(0);
                    limits.files_max == 0
                }
                time => {
                    let place = match time {
                        "git_timeout" => &mut limits.git_timeout,
                        "s3_timeout" => &mut limits.s3_timeout,
                        _ => &mut limits.http_timeout,
                    };
                    *place = duration(&name, text, problems);
                    place.is_zero()
                }
            };
            if is_none && problems.len() == found {
                let message = format!("`{name}` is `{text}`; it must be more than nothing");
                problems.push(Problem::new(SETTINGS, message));
            }
        }
        limits
    }

    pub(super) fn template(&self, problems: &mut Vec<Problem>) -> TemplateRules {
        let mut rules = TemplateRules::default();
        if let Some(denied) = &self.function_denylist {
            rules.denied_functions = denied.iter().cloned().collect();
        }
        let [calm, bounds] = WAITS.map(|(block, keys)| self.wait(block, keys, problems));
        rules.calm = calm;
        rules.calm_bounds = bounds;
        rules
    }

    /// The least and the most of a block; none when it is not there or is off.
    fn wait(
        &self,
        block: &str,
        [enabled, min, max]: [&str; 3],
        problems: &mut Vec<Problem>,
    ) -> Option<(Duration, Duration)> {
        let text = |key: &str| self.template.get(key);
        if text(enabled).is_some_and(|text| text == "false") {
            return None;
        }
        let mut read = |key: &str| {
            let text = text(key)?;
            Some(duration(&format!("client.template.{key}"), text, problems))
        };
        let (least, most) = (read(min), read(max));
        if least.is_none() && most.is_none() {
            return None;
        }
        let least = least.unwrap_or(Duration::ZERO);
        // As published: four times the least unless it is set.
        let most = most.unwrap_or_else(|| least.saturating_mul(4));
        if least > most {
            let message =
                format!("`client.template.{block}` has a `min` that is longer than its `max`");
            problems.push(Problem::new(SETTINGS, message));
        }
        Some((least, most))
    }
}

/// A number of bytes such as `100GB`, `512MiB` or `4096`.
fn bytes(name: &str, text: &str, problems: &mut Vec<Problem>) -> u64 {
    const UNITS: [(&str, u64); 14] = [
        ("", 1),
        ("B", 1),
        ("K", 1000),
        ("KB", 1000),
        ("KIB", 1 << 10),
        ("M", 1_000_000),
        ("MB", 1_000_000),
        ("MIB", 1 << 20),
        ("G", GB),
        ("GB", GB),
        ("GIB", 1 << 30),
        ("T", 1000 * GB),
        ("TB", 1000 * GB),
        ("TIB", 1 << 40),
    ];
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit());
    let (digits, unit) = trimmed.split_at(end.unwrap_or(trimmed.len()));
    let unit = unit.trim().to_uppercase();
    let unit = UNITS.iter().find(|(known, _)| *known == unit);
    let found = unit.and_then(|(_, unit)| digits.parse::<u64>().ok()?.checked_mul(*unit));
    found.unwrap_or_else(|| {
        let message = format!("`{name}` is `{text}`; it must be bytes such as `100GB`");
        problems.push(Problem::new(SETTINGS, message));
        0
    })
}
