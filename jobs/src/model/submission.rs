use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The text a job was registered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Submission {
    /// The file, at most 1 MB; longer ones are dropped with a warning.
    pub source: String,
    /// `hcl2` or `json`.
    pub format: String,
    /// Variables given as flags.
    pub variable_flags: BTreeMap<String, String>,
    /// Text of the variable files.
    pub variables: String,
}
