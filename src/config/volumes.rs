//! Directories of the host that jobs may use.

use super::{
    file::{Entry, Problem, SETTINGS, Value},
    reader::Reader,
};
use std::{collections::BTreeMap, path::PathBuf};

/// A directory of the host that jobs may mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostVolume {
    /// An absolute path.
    pub path: PathBuf,
    /// No job may write to it.
    pub read_only: bool,
}

/// Takes `host_volume` blocks: in JSON an object keyed by their names.
pub(super) fn take(
    volumes: &mut BTreeMap<String, HostVolume>,
    entry: Entry,
    reader: &mut Reader<'_>,
) {
    for (name, entry) in reader.named(entry) {
        if !matches!(entry.value, Value::Tree(_) | Value::List(_)) {
            reader.wrong(
                &entry,
                "a block with a name: host_volume \"certs\" { path = … }",
            );
            continue;
        }
        let mut volume = HostVolume::default();
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "path" => volume.path = reader.text(&inner).unwrap_or_default().into(),
                "read_only" => volume.read_only = reader.flag(&inner).unwrap_or_default(),
                _ => reader.unknown(&inner, "client.host_volume", &["path", "read_only"]),
            }
        }
        volumes.insert(name, volume);
    }
}

/// A volume without an absolute path is none.
pub(super) fn check(volumes: &BTreeMap<String, HostVolume>, problems: &mut Vec<Problem>) {
    for (name, volume) in volumes {
        if !volume.path.is_absolute() {
            let message = format!(
                "`client.host_volume \"{name}\"` has the path `{}`, which must be absolute",
                volume.path.display()
            );
            problems.push(Problem::new(SETTINGS, message));
        }
    }
}
