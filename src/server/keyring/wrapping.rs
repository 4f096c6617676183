//! The file with the wrapping key of a server.

use std::{fs, io, path::Path};

use super::KEY_LEN;
use crate::log::raft::StartError;
use sys::files::{Durability, create_dir, write_atomic};

/// Reads the key; none when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<[u8; KEY_LEN]>, StartError> {
    let found = match fs::read(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StartError::files(path, error)),
    };
    let key = parse(&String::from_utf8_lossy(&found));
    key.map(Some)
        .ok_or_else(|| unusable(path, "is damaged or of another version"))
}

/// Writes the key durably, for its owner alone.
pub(super) fn write(path: &Path, key: &[u8; KEY_LEN]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        create_dir(parent, 0o700)?;
    }
    write_atomic(path, text(key).as_bytes(), Durability::Power)
}

/// The refusal to start with this file.
pub(super) fn unusable(path: &Path, what: &str) -> StartError {
    StartError::Damaged {
        path: path.display().to_string(),
        what: what.into(),
        way_out: "Put the file back from a copy of the data directory: nothing else can decrypt \
                  the variables"
            .into(),
    }
}

fn text(key: &[u8; KEY_LEN]) -> String {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = format!("trivet wrapping key\nkey = {digits}\n");
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body}checksum = {sum:08x}\n")
}

fn parse(found: &str) -> Option<[u8; KEY_LEN]> {
    let digits = found.lines().find_map(|line| line.strip_prefix("key = "))?;
    let mut key = [0; KEY_LEN];
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (text(&key) == found).then_some(key)
}
