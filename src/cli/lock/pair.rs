//! Keys as the agent answers them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::time::Duration;

/// Pause before a holder is asked for again that the agent did not tell.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// A key as the agent answers it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pair {
    /// The key.
    pub(super) key: String,
    /// The value.
    pub(super) value: Vec<u8>,
    /// Flags, which say what it is used for.
    pub(super) flags: u64,
    /// Session that holds it; empty for none.
    pub(super) session: String,
    /// Version.
    pub(super) modify_index: u64,
}

/// The keys in an answer.
pub(super) fn pairs(body: &Value) -> Vec<Pair> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let rows = body.as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |row: &Value| Pair {
        key: text(row, "Key"),
        value: STANDARD.decode(text(row, "Value")).unwrap_or_default(),
        flags: row["Flags"].as_u64().unwrap_or(0),
        session: text(row, "Session"),
        modify_index: row["ModifyIndex"].as_u64().unwrap_or(0),
    };
    rows.iter().map(pair).collect()
}
