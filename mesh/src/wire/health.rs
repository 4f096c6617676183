//! Checks and instances as the health endpoints show them.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::{Check, CheckId, NodeName, ServiceId, ServiceName, Status};
use crate::view::{Instance, View};

use super::catalog::{CatalogNode, CatalogServiceEntry};
use super::duration::go_duration;

/// A check with its last result. Source: health API, "List Checks".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthCheck {
    /// Node name.
    pub node: NodeName,
    /// Check id.
    #[serde(rename = "CheckID")]
    pub check_id: CheckId,
    /// Name for people.
    pub name: String,
    /// Status.
    pub status: Status,
    /// Free text.
    pub notes: String,
    /// Text of the last result.
    pub output: String,
    /// Id of the instance; empty for a node-level check.
    #[serde(rename = "ServiceID")]
    pub service_id: ServiceId,
    /// Name of the service; empty for a node-level check.
    pub service_name: ServiceName,
    /// Tags of the instance, never null.
    pub service_tags: Vec<String>,
    /// How the check is made.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Pause between runs; empty if none.
    pub interval: String,
    /// Longest run; empty if not set.
    pub timeout: String,
    /// Always 0: no port is exposed for checks.
    pub exposed_port: u16,
    /// How it is made, for a check that was written into the catalog; empty for the checks of
    /// agents, which keep that to themselves.
    pub definition: Map<String, Value>,
    /// First write.
    pub create_index: u64,
    /// Last change.
    pub modify_index: u64,
}

impl HealthCheck {
    /// Converts a check, with the tags of its instance.
    #[must_use]
    pub fn new(check: &Check, tags: &[String]) -> Self {
        let (interval, timeout) = period(check);
        Self {
            node: check.node.clone(),
            check_id: check.id.clone(),
            name: check.name.clone(),
            status: check.status,
            notes: check.notes.clone(),
            output: check.output.clone(),
            service_id: check.service_id.clone().unwrap_or_default(),
            service_name: check.service_name.clone().unwrap_or_default(),
            service_tags: tags.to_vec(),
            kind: check.kind.clone(),
            interval,
            timeout,
            exposed_port: 0,
            definition: check
                .definition
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            create_index: check.create_index,
            modify_index: check.modify_index,
        }
    }

    /// Converts a check that is in `snapshot`.
    #[must_use]
    pub fn of(view: &View, check: &Check) -> Self {
        Self::new(check, view.check_tags(check))
    }

    /// Returns the check as the agent's own list shows it, which has no log index.
    #[must_use]
    pub fn without_indexes(self) -> Self {
        Self {
            create_index: 0,
            modify_index: 0,
            ..self
        }
    }
}

/// Writes a check's interval and timeout; empty when not set.
fn period(check: &Check) -> (String, String) {
    let text = |duration: Duration| {
        if duration.is_zero() {
            String::new()
        } else {
            go_duration(duration)
        }
    };
    (text(check.interval), text(check.timeout))
}

/// An instance with node and checks. Source: health API, "List Service Instances for Service".
///
/// Shape: checks of the node first, then the instance's own; may be empty.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthServiceEntry {
    /// The node.
    pub node: CatalogNode,
    /// The instance.
    pub service: CatalogServiceEntry,
    /// The checks.
    pub checks: Vec<HealthCheck>,
}

impl From<&Instance> for HealthServiceEntry {
    fn from(instance: &Instance) -> Self {
        let tags_of = |check: &Check| -> &[String] {
            if check.service_id.is_some() {
                &instance.service.tags
            } else {
                &[]
            }
        };
        Self {
            node: instance.node.as_ref().into(),
            service: instance.service.as_ref().into(),
            checks: instance
                .checks
                .iter()
                .map(|check| HealthCheck::new(check, tags_of(check)))
                .collect(),
        }
    }
}
