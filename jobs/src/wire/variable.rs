use crate::model::{self, Index, RootKeyId, RootKeyState, Span, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A variable, decrypted; without `items` what a list says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Variable {
    /// Namespace.
    pub namespace: String,
    /// Path in it.
    pub path: String,
    /// Entry that made it.
    pub create_index: Index,
    /// Entry that changed it last; in a write that asks for it the one that it must have.
    pub modify_index: Index,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was changed last.
    pub modify_time: Timestamp,
    /// Names and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<BTreeMap<String, String>>,
    /// Who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<VariableLock>,
}

/// A lock; a time that is not set has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VariableLock {
    /// What its holder shows.
    #[serde(rename = "ID")]
    pub id: String,
    /// How long it lasts after the last renewal.
    #[serde(rename = "TTL", serialize_with = "text", deserialize_with = "span")]
    pub ttl: Span,
    /// How long nobody gets it after it was not renewed.
    #[serde(serialize_with = "text", deserialize_with = "span")]
    pub lock_delay: Span,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape is serde's")]
fn text<S: serde::Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    if span.is_zero() {
        serializer.serialize_str("")
    } else {
        serializer.collect_str(span)
    }
}

/// As [`Span`] is read, and no text as no time.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) if text.is_empty() => Ok(Span::ZERO),
        value => Span::deserialize(value).map_err(serde::de::Error::custom),
    }
}

impl From<&model::Variable> for Variable {
    /// What a list says of it.
    fn from(row: &model::Variable) -> Self {
        Self {
            namespace: row.key.namespace.to_string(),
            path: row.key.path.to_string(),
            lock: row.lock.as_ref().map(|lock| VariableLock {
                id: lock.id.to_string(),
                ttl: lock.ttl,
                lock_delay: lock.lock_delay,
            }),
            create_index: row.create_index,
            create_time: row.create_time,
            modify_index: row.modify_index,
            modify_time: row.modify_time,
            items: None,
        }
    }
}

/// A key that variables are encrypted with, as far as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RootKeyMeta {
    /// Id.
    #[serde(rename = "KeyID")]
    pub key_id: RootKeyId,
    /// The cipher.
    pub algorithm: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// Entry that made it.
    pub create_index: Index,
    /// Entry that changed it last.
    pub modify_index: Index,
    /// What it is used for.
    pub state: RootKeyState,
    /// When it becomes active by itself; 0 for a key that does not wait for it.
    pub publish_time: Timestamp,
}

impl RootKeyMeta {
    /// The only cipher.
    pub const ALGORITHM: &'static str = "aes256-gcm";
}

impl From<&model::RootKey> for RootKeyMeta {
    fn from(row: &model::RootKey) -> Self {
        Self {
            key_id: row.id,
            algorithm: Self::ALGORITHM.to_owned(),
            create_time: row.create_time,
            create_index: row.create_index,
            modify_index: row.modify_index,
            state: row.state,
            publish_time: Timestamp::default(),
        }
    }
}

/// Answer to a rotation of root keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RootKeyRotateResponse {
    /// The new key.
    pub key: RootKeyMeta,
    /// Entry that made it.
    pub index: Index,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_lock_are_text_and_are_read_as_text_or_nanoseconds() {
        let lock: VariableLock =
            serde_json::from_str(r#"{"ID":"x","TTL":"15s","LockDelay":1000000000}"#).unwrap();
        assert_eq!(lock.ttl, Span::from_secs(15));
        assert_eq!(lock.lock_delay, Span::SECOND);
        let unset = VariableLock {
            ttl: Span::ZERO,
            ..lock
        };
        assert_eq!(
            serde_json::to_string(&unset).unwrap(),
            r#"{"ID":"x","TTL":"","LockDelay":"1s"}"#
        );
        let read: VariableLock = serde_json::from_str(r#"{"ID":"x","TTL":""}"#).unwrap();
        assert_eq!(read.ttl, Span::ZERO);
    }
}
