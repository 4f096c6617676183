use super::{Job, JobId, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest payload of a launch, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// What stands between the id of a job and the time of a launch, in the id of what is launched.
const PERIODIC: &str = "/periodic-";

/// The id of the child that is launched of a job at that time.
pub(crate) fn periodic_id(parent: &JobId, at: Timestamp) -> JobId {
    format!("{parent}{PERIODIC}{}", whole_seconds(at)).into()
}

/// When a child was launched by the clock or by hand, as its id says; none for other jobs.
pub(crate) fn launch_time(job: &Job) -> Option<Timestamp> {
    let parent = job.parent_id.as_ref()?;
    let time = job.id.strip_prefix(parent.as_str())?;
    let time = time.strip_prefix(PERIODIC)?;
    Some(Timestamp::from_secs(time.parse().ok()?))
}

/// Whole seconds since the epoch.
pub(crate) fn whole_seconds(at: Timestamp) -> i64 {
    at.as_nanos().div_euclid(1_000_000_000)
}

/// When a job is launched again and again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Periodic {
    /// False to pause it.
    pub enabled: Option<bool>,
    /// When, in the form of cron.
    pub spec: Option<String>,
    /// Several of them.
    pub specs: Option<Vec<String>>,
    /// `cron`.
    pub spec_type: Option<String>,
    /// Skip a launch while the one before runs.
    pub prohibit_overlap: Option<bool>,
    /// Zone that the times are in.
    pub time_zone: Option<String>,
}

/// What a job takes that others launch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Parameterized {
    /// `optional`, `required` or `forbidden`.
    pub payload: String,
    /// Keys that a launch must give.
    pub meta_required: Option<Vec<String>>,
    /// Keys that a launch may give.
    pub meta_optional: Option<Vec<String>>,
}

/// Where the payload of a launch goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DispatchPayload {
    /// File below the task's `local` folder.
    pub file: String,
}
