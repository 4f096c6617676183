//! A small file that says that this directory has a log, so that a log that vanished is not taken
//! for one that never was.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{StartError, segment::FORMAT};

const NAME: &str = "identity";

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

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
