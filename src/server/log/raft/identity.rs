//! A small file that says that this directory has a log, so that a log that vanished is not taken
//! for one that never was.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{StartError, segment::FORMAT};
use sys::files::{Durability, write_atomic};

const NAME: &str = "identity";
/// The file with the id of the server.
const SERVER: &str = "server";
/// The id of servers whose log is older than that file.
#[cfg(test)]
pub(super) const FIRST_ID: u64 = 1;

fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

fn text(log_id: u128) -> String {
    let body = format!("trivet log\nformat = {FORMAT}\nid = {log_id:032x}\n");
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body}checksum = {sum:08x}\n")
}

/// Reads which log the directory has; none when it has no such file.
pub(super) fn read(directory: &Path) -> Result<Option<u128>, StartError> {
    let path = path(directory);
    let found = match fs::read(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StartError::files(&path, error)),
    };
    let found = String::from_utf8_lossy(&found);
    let id = found
        .lines()
        .find_map(|line| line.strip_prefix("id = "))
        .and_then(|id| u128::from_str_radix(id, 16).ok());
    match id {
        Some(id) if text(id) == found => Ok(Some(id)),
        _ => Err(StartError::Damaged {
            path: path.display().to_string(),
            what: "is damaged or of another version".into(),
            way_out: "Remove this one file: it is written anew from the log beside it".into(),
        }),
    }
}

/// Writes the file durably.
pub(super) fn write(directory: &Path, log_id: u128) -> Result<(), StartError> {
    let path = path(directory);
    let failed = |error| StartError::files(&path, error);
    let new = directory.join("identity.new");
    let mut file = File::create(&new).map_err(failed)?;
    file.write_all(text(log_id).as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new, &path).map_err(failed)?;
    sync_directory(directory).map_err(failed)
}

/// The id of the server whose log is in `directory`, as its file has it; none without the file. It
/// tells the server from all others, and stays whatever address it has.
pub(super) fn server_id(directory: &Path) -> Result<Option<u64>, StartError> {
    let path = directory.join(SERVER);
    let found = match fs::read_to_string(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(StartError::files(&path, error)),
    };
    let id = found.lines().find_map(|line| line.strip_prefix("id = "));
    let id = id.and_then(|id| u64::from_str_radix(id, 16).ok());
    match id {
        Some(id) if server_text(id) == found => Ok(Some(id)),
        _ => Err(server_error(
            &path,
            "is damaged or of another version",
            "Remove this one file if the server is the only one of its cluster: it is written \
             anew from the log beside it. Otherwise put it back from a copy, or empty the data \
             directory and let the server join again",
        )),
    }
}

/// That the file is missing, and that the log does not tell which of its servers this one is.
pub(super) fn missing_server(directory: &Path) -> StartError {
    server_error(
        &directory.join(SERVER),
        "is missing, and the log beside it is one of several servers",
        "Put the file back from a copy, or empty the data directory and let the server join again",
    )
}

fn server_error(path: &Path, what: &str, way_out: &str) -> StartError {
    StartError::Damaged {
        path: path.display().to_string(),
        what: what.into(),
        way_out: way_out.into(),
    }
}

/// A new id: neither none nor that of the first, and a number in every language.
pub(super) fn new_server_id(random: u64) -> u64 {
    (random >> 11) | 2
}

/// Writes the file with the id durably.
pub(super) fn write_server_id(directory: &Path, id: u64) -> Result<(), StartError> {
    let path = directory.join(SERVER);
    let failed = |error| StartError::files(&path, error);
    write_atomic(&path, server_text(id).as_bytes(), Durability::Power).map_err(failed)
}

fn server_text(id: u64) -> String {
    let body = format!("trivet server\nid = {id:x}\n");
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body}checksum = {sum:08x}\n")
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
