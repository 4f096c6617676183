//! An entry of the central configuration of services.

use serde::{Deserialize, Serialize};

use super::Index;

/// What operators say about how services speak to each other.
///
/// Writer: users, through the configuration API, which checks what an entry says before it is
/// proposed. The indexes are written by [`crate::state::State::apply`] only.
///
/// Source: configuration entries API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigEntry {
    /// Which.
    pub key: ConfigKey,
    /// What it says: a JSON object with `Kind` and `Name`, without indexes; at most
    /// [`crate::state::CONFIG_ENTRY_BYTES_MAX`].
    pub body: String,
    /// Log index at which the row was first written.
    pub create_index: Index,
    /// Log index of the last effective change.
    pub modify_index: Index,
}

/// Key of an entry; orders by kind, then by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigKey {
    /// Such as `service-defaults`.
    pub kind: String,
    /// What it is about, mostly a service.
    pub name: String,
}
