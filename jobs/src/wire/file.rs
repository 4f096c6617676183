use crate::model::{Timestamp, is_default};
use serde::{Deserialize, Serialize};

/// A file or directory of an allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocFileInfo {
    /// Last part of the path.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
    /// Bytes.
    pub size: i64,
    /// Such as `drwxr-xr-x`.
    pub file_mode: String,
    /// Last change.
    #[serde(with = "crate::model::rfc3339")]
    pub mod_time: Timestamp,
    /// Guessed from the first bytes; on `stat` of a file only.
    #[serde(skip_serializing_if = "is_default")]
    pub content_type: String,
}

/// One object of a log or file stream; objects follow each other without a delimiter. The empty
/// object is a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StreamFrame {
    /// File that the data stands in.
    #[serde(skip_serializing_if = "is_default")]
    pub file: String,
    /// Where the data starts in that file, bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub offset: i64,
    /// The data in base64, at most [`StreamFrame::DATA_MAX`] bytes before encoding.
    #[serde(skip_serializing_if = "is_default")]
    pub data: String,
    /// `file truncated` or `file deleted`.
    #[serde(skip_serializing_if = "is_default")]
    pub file_event: String,
}

impl StreamFrame {
    /// Longest data of one frame, bytes before encoding.
    pub const DATA_MAX: usize = 64 * 1024;

    /// True when it only says that the stream is alive.
    pub fn is_heartbeat(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_the_empty_object() {
        let frame = StreamFrame::default();
        assert!(frame.is_heartbeat());
        assert_eq!(serde_json::to_string(&frame).unwrap(), "{}");
    }
}
