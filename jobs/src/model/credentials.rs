use super::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The name of the token that the servers know.
pub const DEFAULT_IDENTITY: &str = "default";

/// For whom the token is that the servers know.
pub const DEFAULT_AUDIENCE: &str = "nomadproject.io";

/// A token that says who a task is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WorkloadIdentity {
    /// Its name; `default` for the one that the servers know.
    pub name: String,
    /// For whom it is meant.
    pub audience: Option<Vec<String>>,
    /// What a new one does: `noop`, `restart` or `signal`.
    pub change_mode: String,
    /// Signal for `signal`.
    pub change_signal: String,
    /// Give it in the environment.
    pub env: bool,
    /// Write it to a file.
    pub file: bool,
    /// Where that file is, below the task's folder.
    pub filepath: String,
    /// Service that it is for.
    pub service_name: String,
    /// How long it is good; 0 is as long as the task.
    #[serde(rename = "TTL")]
    pub ttl: Span,
    /// Further things that it says.
    pub extra_claims: Option<Vec<String>>,
}

impl WorkloadIdentity {
    /// The token that every task has and that the servers know.
    pub fn of_task() -> Self {
        Self {
            name: DEFAULT_IDENTITY.into(),
            audience: Some(vec![DEFAULT_AUDIENCE.into()]),
            ..Self::default()
        }
    }
}

/// Secrets of another system that a task may read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Vault {
    /// Ignored, kept for old job files.
    pub policies: Option<Vec<String>>,
    /// Role that the token is for.
    pub role: String,
    /// Namespace in that system.
    pub namespace: Option<String>,
    /// Which of several.
    pub cluster: String,
    /// Give the token in the environment.
    pub env: Option<bool>,
    /// Write the token to no file that the task sees.
    pub disable_file: Option<bool>,
    /// What a new token does: `noop`, `restart` or `signal`.
    pub change_mode: Option<String>,
    /// Signal for `signal`.
    pub change_signal: Option<String>,
    /// Do not renew the token.
    pub allow_token_expiration: Option<bool>,
}

/// Which catalog services and templates speak with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Consul {
    /// Namespace in the catalog.
    pub namespace: String,
    /// Which of several.
    pub cluster: String,
    /// Partition of the catalog.
    pub partition: String,
}

/// Values that a task gets from a store of secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Secret {
    /// Name in `${secret.NAME.KEY}`.
    pub name: String,
    /// The store.
    pub provider: String,
    /// Path in the store.
    pub path: String,
    /// Options of the store, free in form.
    pub config: Option<Map<String, Value>>,
    /// Environment of the program that reads the store.
    pub env: Option<BTreeMap<String, String>>,
}
