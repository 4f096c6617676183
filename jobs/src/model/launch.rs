use serde::{Deserialize, Serialize};

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
