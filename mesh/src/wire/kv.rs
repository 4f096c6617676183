//! Keys as the key-value endpoints show them.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::{KvEntry, SessionId};

/// A key with its value. Source: KV store API, "Read Key".
///
/// Shape: `value` is base64 and null when it is empty; `session` is absent unless the key is
/// locked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KvPair {
    /// How often the key was locked.
    pub lock_index: u64,
    /// The key.
    pub key: String,
    /// The user's number.
    pub flags: u64,
    /// The value.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub value: Vec<u8>,
    /// Id of the session that holds the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// First write.
    pub create_index: u64,
    /// Last change.
    pub modify_index: u64,
}

impl From<&KvEntry> for KvPair {
    fn from(entry: &KvEntry) -> Self {
        Self {
            lock_index: entry.lock_index,
            key: entry.key.clone(),
            flags: entry.flags,
            value: entry.value.clone(),
            session: entry.session.clone(),
            create_index: entry.create_index,
            modify_index: entry.modify_index,
        }
    }
}

/// A key in a file of exported keys. Source: commands `kv export` and `kv import`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvExport {
    /// The key.
    pub key: String,
    /// The user's number.
    pub flags: u64,
    /// The value, base64; empty when there is none.
    pub value: String,
}

impl From<&KvPair> for KvExport {
    fn from(pair: &KvPair) -> Self {
        Self {
            key: pair.key.clone(),
            flags: pair.flags,
            value: STANDARD.encode(&pair.value),
        }
    }
}

impl KvExport {
    /// The value as it is stored.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no base64.
    pub fn bytes(&self) -> Result<Vec<u8>, DecodeError> {
        STANDARD.decode(&self.value)
    }
}

fn encode<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_empty() {
        return serializer.serialize_none();
    }
    serializer.collect_str(&Base64Display::new(value, &STANDARD))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let text = text.unwrap_or_default();
    STANDARD.decode(text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_in_the_reference() {
        let mut entry = KvEntry {
            key: "a/1".to_owned(),
            value: b"hello".to_vec(),
            flags: u64::MAX,
            create_index: 15,
            modify_index: 24,
            ..KvEntry::default()
        };
        let text = |entry: &KvEntry| serde_json::to_string(&KvPair::from(entry)).unwrap();
        assert_eq!(
            text(&entry),
            r#"{"LockIndex":0,"Key":"a/1","Flags":18446744073709551615,"Value":"aGVsbG8=","CreateIndex":15,"ModifyIndex":24}"#
        );
        let back: KvPair = serde_json::from_str(&text(&entry)).unwrap();
        assert_eq!(back, KvPair::from(&entry));
        entry.value.clear();
        entry.session = Some("S".into());
        assert!(text(&entry).contains(r#""Value":null,"Session":"S""#));
        let back: KvPair = serde_json::from_str(&text(&entry)).unwrap();
        assert_eq!(back, KvPair::from(&entry));
    }
}
