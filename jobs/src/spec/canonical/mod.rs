//! A job as written to the canonical job: defaults filled in, blocks merged, rules checked.
//!
//! One function for each noun does all three, so that a default and the rule about it stand
//! together.

mod added;
mod check;
mod connect;
mod credentials;
mod device;
mod expose;
mod group;
mod implied;
mod job;
mod launch;
mod network;
mod placement;
mod policy;
mod rollout;
mod scaling;
mod service;
mod sidecar;
mod task;
mod volume;

pub use job::canonicalize_and_validate;

use super::limits::ERRORS_MAX;
use crate::model::{self, JobType};

/// What is wrong and what is doubtful about one noun.
#[derive(Debug, Default)]
struct Findings {
    errors: Vec<String>,
    /// Errors in `errors`, those inside an entry counted one by one.
    listed: usize,
    /// Errors that are not listed, because there are very many.
    more: usize,
    warnings: Vec<String>,
}

impl Findings {
    fn error(&mut self, text: impl Into<String>) {
        if self.listed < ERRORS_MAX {
            self.listed += 1;
            self.errors.push(text.into());
        } else {
            self.more += 1;
        }
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn require(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.error(text());
        }
    }

    /// Takes over the findings of a part, its errors as one entry below `title`.
    fn nest(&mut self, title: &str, part: Self) {
        self.warnings.extend(part.warnings);
        self.more += part.more;
        if part.errors.is_empty() {
            return;
        }
        if self.listed < ERRORS_MAX {
            self.listed += part.listed;
            let text = inner("error", &part.errors);
            self.errors.push(format!("{title}: {text}"));
        } else {
            self.more += part.listed;
        }
    }

    /// The entries, and how many more there are.
    fn into_entries(self) -> (Vec<String>, Vec<String>) {
        let more = |count: usize| (count > 0).then(|| format!("and {count} more"));
        let (mut errors, mut warnings) = (self.errors, self.warnings);
        errors.extend(more(self.more));
        let left_out = warnings.len().saturating_sub(ERRORS_MAX);
        warnings.truncate(ERRORS_MAX);
        warnings.extend(more(left_out));
        (errors, warnings)
    }
}

/// A name as messages show it: what a terminal would act on is escaped.
fn shown(name: &str) -> String {
    if name.chars().any(char::is_control) {
        format!("{name:?}")
    } else {
        name.to_owned()
    }
}

/// What became of a posted job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// The canonical job; none when there is an error.
    pub job: Option<model::Job>,
    /// What forbids the job. Entries may span lines.
    pub errors: Vec<String>,
    /// What is doubtful about it. Entries may span lines.
    pub warnings: Vec<String>,
}

/// Errors as one text: `2 errors occurred:` and a line for each.
pub fn list_errors(errors: &[impl AsRef<str>]) -> String {
    list("error", errors)
}

/// Warnings as one text: `2 warnings:` and a line for each.
pub fn list_warnings(warnings: &[String]) -> String {
    let count = warnings.len();
    let noun = if count == 1 { "warning" } else { "warnings" };
    let mut text = format!("{count} {noun}:\n");
    for warning in warnings {
        text.push_str("\n* ");
        text.push_str(warning);
    }
    text
}

/// Entries as one text inside an entry of an outer list, one step further in.
fn inner(noun: &str, entries: &[String]) -> String {
    list(noun, entries).trim_end().replace('\n', "\n\t")
}

fn list(noun: &str, entries: &[impl AsRef<str>]) -> String {
    let count = entries.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut text = format!("{count} {noun}{plural} occurred:");
    for entry in entries {
        text.push_str("\n\t* ");
        text.push_str(entry.as_ref());
    }
    text.push_str("\n\n");
    text
}

/// What a task gets when a value changes and no other signal is named.
const DEFAULT_SIGNAL: &str = "SIGHUP";

/// Most of a resource that one task or group may ask for: sums over many allocations stay in range.
const RESOURCE_MAX: i64 = i64::MAX / 1_000_000_000;

/// A count as the model holds it; negative ones have been refused by a rule before.
fn unsigned(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// A count that may be missing; negative ones are an error that names it.
fn count(findings: &mut Findings, name: &str, value: Option<i64>, default: u32) -> u32 {
    let Some(value) = value else {
        return default;
    };
    findings.require(value >= 0, || {
        format!("{name} must not be negative: {value}")
    });
    findings.require(value <= i64::from(u32::MAX), || {
        format!("{name} is too large: {value}")
    });
    unsigned(value)
}

/// Text that reads as nothing when it is missing.
fn text(value: Option<String>) -> String {
    value.unwrap_or_default()
}

/// True for job types that know no rescheduling.
fn is_system(job_type: JobType) -> bool {
    matches!(job_type, JobType::System | JobType::Sysbatch)
}
