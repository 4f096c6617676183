//! An intention as its endpoints show it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::filter::{Fields, Filterable, Kind, Row, Value};
use crate::intention::{Intention, Verdict};

/// An intention. Source: intentions API.
///
/// Shape: those that were written one by one have an id, times, metadata and a hash; one that
/// decides by request has permissions instead of an action.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IntentionEntry {
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub updated_at: String,
    /// A UUID.
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Always `default`.
    #[serde(rename = "SourceNS")]
    pub source_ns: &'static str,
    /// Who connects.
    pub source_name: String,
    /// Always `default`.
    #[serde(rename = "DestinationNS")]
    pub destination_ns: &'static str,
    /// Who is connected to.
    pub destination_name: String,
    /// Always `consul`.
    pub source_type: &'static str,
    /// `allow` or `deny`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub action: &'static str,
    /// What is decided by request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Json>,
    /// Free pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// How much it counts.
    pub precedence: u8,
    /// Differs when it says something else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// First write.
    pub create_index: u64,
    /// Last change.
    pub modify_index: u64,
}

impl From<&Intention> for IntentionEntry {
    fn from(row: &Intention) -> Self {
        let (action, permissions) = match &row.verdict {
            Verdict::Allow => ("allow", Vec::new()),
            Verdict::Deny => ("deny", Vec::new()),
            Verdict::ByRequest(permissions) => ("", permissions.clone()),
        };
        let legacy = row.legacy.clone().unwrap_or_default();
        Self {
            created_at: legacy.created,
            updated_at: legacy.updated,
            id: legacy.id,
            description: row.description.clone(),
            source_ns: "default",
            source_name: row.source.clone(),
            destination_ns: "default",
            destination_name: row.destination.clone(),
            source_type: "consul",
            action,
            permissions,
            meta: legacy.meta.into_iter().map(pair).collect(),
            precedence: row.precedence,
            hash: String::new(),
            create_index: row.create_index,
            modify_index: row.modify_index,
        }
    }
}

/// A pair of metadata; what is no text is written out.
fn pair((key, value): (String, Json)) -> (String, String) {
    match value {
        Json::String(text) => (key, text),
        other => (key, other.to_string()),
    }
}

impl Row for IntentionEntry {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "ID" => Value::Text(&self.id),
            "Description" => Value::Text(&self.description),
            "SourceNS" => Value::Text(self.source_ns),
            "SourceName" => Value::Text(&self.source_name),
            "DestinationNS" => Value::Text(self.destination_ns),
            "DestinationName" => Value::Text(&self.destination_name),
            "SourceType" => Value::Text(self.source_type),
            "Action" => Value::Text(self.action),
            "Meta" => Value::TextMap(&self.meta),
            "Precedence" => Value::Number(self.precedence.into()),
            _ => Value::Absent,
        }
    }
}

impl Filterable for IntentionEntry {
    const FIELDS: Fields = &[
        ("ID", Kind::Text),
        ("Description", Kind::Text),
        ("SourceNS", Kind::Text),
        ("SourceName", Kind::Text),
        ("DestinationNS", Kind::Text),
        ("DestinationName", Kind::Text),
        ("SourceType", Kind::Text),
        ("Action", Kind::Text),
        ("Meta", Kind::TextMap),
        ("SourcePartition", Kind::Text),
        ("SourcePeer", Kind::Text),
        ("SourceSamenessGroup", Kind::Text),
        ("DestinationPartition", Kind::Text),
        ("Precedence", Kind::Integer),
    ];
}
