//! Sessions as the session endpoints show them.

use serde::{Deserialize, Serialize};

use crate::model::{CheckId, NodeName, Session, SessionId};

use super::duration::go_duration;

/// A session. Source: session API, "Read Session".
///
/// Shape: `ttl` is empty without one; `service_checks` is null when there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SessionEntry {
    /// Id.
    #[serde(rename = "ID")]
    pub id: SessionId,
    /// Name for people.
    pub name: String,
    /// Node name.
    pub node: NodeName,
    /// Nanoseconds.
    pub lock_delay: u64,
    /// `release` or `delete`.
    pub behavior: String,
    /// As `15s`.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// Ids of node-level checks.
    pub node_checks: Vec<CheckId>,
    /// Checks of instances.
    pub service_checks: Option<Vec<SessionServiceCheck>>,
    /// When it was made.
    pub create_index: u64,
    /// The same.
    pub modify_index: u64,
}

/// A check of an instance that a session depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SessionServiceCheck {
    /// Check id.
    #[serde(rename = "ID")]
    pub id: CheckId,
    /// Always empty: there are no namespaces.
    pub namespace: String,
}

impl From<&Session> for SessionEntry {
    fn from(session: &Session) -> Self {
        let service_checks = session.service_checks.iter().map(|id| SessionServiceCheck {
            id: id.clone(),
            namespace: String::new(),
        });
        Self {
            id: session.id.clone(),
            name: session.name.clone(),
            node: session.node.clone(),
            lock_delay: u64::try_from(session.lock_delay.as_nanos()).unwrap_or(u64::MAX),
            behavior: session.behavior.as_str().to_owned(),
            ttl: if session.ttl.is_zero() {
                String::new()
            } else {
                go_duration(session.ttl)
            },
            node_checks: session.node_checks.clone(),
            service_checks: (!session.service_checks.is_empty()).then(|| service_checks.collect()),
            create_index: session.create_index,
            modify_index: session.modify_index,
        }
    }
}
