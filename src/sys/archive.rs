//! The archive that a snapshot of the catalog is kept in: a compressed tar with `meta.json`,
//! `state.bin` and `SHA256SUMS`, which every file of it is checked with.
//!
//! `state.bin` is a head and [`Frame`]s: rows of tables, of which only their writer knows the form.

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    io::{self, Read},
};

/// Longest state that is kept and read, bytes.
pub const STATE_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Longest of the other files, bytes.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// Files that an archive may have.
const FILES_MAX: usize = 8;

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";
/// What the state begins with.
const MAGIC: &[u8; 8] = b"trivetCS";
const FORMAT: u32 = 1;

/// Why an archive is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read at all.
    #[error("failed to decompress snapshot: {0}")]
    Compression(io::Error),
    /// A file of it is too long, or there are too many.
    #[error("failed to read snapshot: `{name}` is more than a snapshot may hold")]
    TooLong {
        /// Name of the file.
        name: String,
    },
    /// A file is missing.
    #[error("failed to read snapshot: `{name}` is missing")]
    Missing {
        /// Name of the file.
        name: &'static str,
    },
    /// A file is not the one that was written.
    #[error(
        "failed to read snapshot: failed checking integrity of snapshot: hash check failed for {name:?}"
    )]
    Sum {
        /// Name of the file.
        name: &'static str,
    },
    /// What it says of itself cannot be read.
    #[error("failed to read snapshot: failed to decode snapshot metadata: {0}")]
    Meta(serde_json::Error),
    /// The state is of another program, or of a newer version of this one.
    #[error("failed to read snapshot: the state in it was not written by this version of trivet")]
    Foreign,
    /// The state ends too early.
    #[error("failed to read snapshot: the state in it is cut off")]
    CutOff,
}

/// What an archive says of itself. Source: snapshot API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Meta {
    /// Of the form of this.
    pub version: u32,
    /// Term, index and time.
    #[serde(rename = "ID")]
    pub id: String,
    /// Last entry of the log that is in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Always null: the servers are in `configuration`.
    pub peers: Option<String>,
    /// The servers at that time.
    pub configuration: Servers,
    /// Entry that made them so.
    pub configuration_index: u64,
    /// Bytes of the state.
    pub size: u64,
}

/// Servers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Servers {
    /// All of them.
    pub servers: Vec<Server>,
}

/// A server of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Server {
    /// 0 for one that votes.
    pub suffrage: u8,
    /// Id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Address and port.
    pub address: String,
}

/// An archive that was read and checked.
#[derive(Debug)]
pub struct Archive {
    /// What it says of itself.
    pub meta: Meta,
    /// The state, see [`frames`].
    pub state: Vec<u8>,
}

/// Makes an archive.
///
/// # Errors
/// Only when memory cannot be written, which it always can.
pub fn pack(meta: &Meta, state: &[u8]) -> io::Result<Vec<u8>> {
    let meta = serde_json::to_vec(meta).map_err(io::Error::other)?;
    let mut sums = String::new();
    for (name, content) in [(META, meta.as_slice()), (STATE, state)] {
        // Writing to a text cannot fail.
        writeln!(sums, "{}  {name}", hex(content)).ok();
    }
    let out = GzEncoder::new(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(out);
    for (name, content) in [
        (META, meta.as_slice()),
        (STATE, state),
        (SUMS, sums.as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, content)?;
    }
    tar.into_inner()?.finish()
}

fn hex(content: &[u8]) -> String {
    let sum = Sha256::digest(content);
    sum.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Reads an archive and checks every file of it.
///
/// # Errors
/// [`Error`].
pub fn unpack(archive: impl Read) -> Result<Archive, Error> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let (mut meta, mut state, mut sums) = (None, None, None);
    for entry in tar.entries().map_err(Error::Compression)?.take(FILES_MAX) {
        let mut entry = entry.map_err(Error::Compression)?;
        let name = entry.path().map_err(Error::Compression)?;
        let name = name.to_string_lossy().into_owned();
        let (place, bytes_max) = match name.as_str() {
            META => (&mut meta, FILE_BYTES_MAX),
            STATE => (&mut state, STATE_BYTES_MAX),
            SUMS => (&mut sums, FILE_BYTES_MAX),
            _ => continue,
        };
        let mut content = Vec::new();
        let most = bytes_max as u64 + 1;
        entry
            .by_ref()
            .take(most)
            .read_to_end(&mut content)
            .map_err(Error::Compression)?;
        if content.len() > bytes_max {
            return Err(Error::TooLong { name });
        }
        *place = Some(content);
    }
    // The end says whether what was expanded is what was compressed.
    let mut rest = tar.into_inner().take(FILE_BYTES_MAX as u64);
    io::copy(&mut rest, &mut io::sink()).map_err(Error::Compression)?;
    let meta = meta.ok_or(Error::Missing { name: META })?;
    let state = state.ok_or(Error::Missing { name: STATE })?;
    let sums = sums.ok_or(Error::Missing { name: SUMS })?;
    let sums = String::from_utf8_lossy(&sums);
    for (name, content) in [(META, &meta), (STATE, &state)] {
        let mut lines = sums.lines().filter_map(|line| line.split_once("  "));
        let written = lines.find(|(_, of)| *of == name);
        if written.is_none_or(|(sum, _)| sum != hex(content)) {
            return Err(Error::Sum { name });
        }
    }
    Ok(Archive {
        meta: serde_json::from_slice(&meta).map_err(Error::Meta)?,
        state,
    })
}

/// A row of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Name of its table.
    pub table: &'a str,
    /// What it is found by in a table of keys; empty elsewhere.
    pub key: &'a str,
    /// The row.
    pub row: &'a [u8],
}

/// The beginning of a state.
#[must_use]
pub fn begin() -> Vec<u8> {
    [MAGIC.as_slice(), &FORMAT.to_le_bytes()].concat()
}

/// Adds a row; a name or key beyond 64 KiB is cut.
pub fn add(state: &mut Vec<u8>, frame: Frame<'_>) {
    for part in [frame.table, frame.key] {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        state.extend_from_slice(&length.to_le_bytes());
        let bytes = part.as_bytes();
        state.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
    }
    let length = u32::try_from(frame.row.len()).unwrap_or(u32::MAX);
    state.extend_from_slice(&length.to_le_bytes());
    state.extend_from_slice(frame.row);
}

/// The rows of a state, in their order.
///
/// # Errors
/// [`Error::Foreign`] and [`Error::CutOff`].
pub fn frames(state: &[u8]) -> Result<Vec<Frame<'_>>, Error> {
    let mut rest = state
        .strip_prefix(begin().as_slice())
        .ok_or(Error::Foreign)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let frame = frame(&mut rest).ok_or(Error::CutOff)?;
        found.push(frame);
    }
    Ok(found)
}

fn frame<'a>(rest: &mut &'a [u8]) -> Option<Frame<'a>> {
    fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, behind) = rest.split_at_checked(count)?;
        *rest = behind;
        Some(taken)
    }
    fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
        let length = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
        str::from_utf8(take(rest, length.into())?).ok()
    }
    let (table, key) = (text(rest)?, text(rest)?);
    let length = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    let row = take(rest, usize::try_from(length).ok()?)?;
    Some(Frame { table, key, row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Vec<u8> {
        let mut state = begin();
        let (table, key, row) = ("keys", "a/b", b"row".as_slice());
        add(&mut state, Frame { table, key, row });
        let (table, key, row) = ("nodes", "", b"".as_slice());
        add(&mut state, Frame { table, key, row });
        state
    }

    #[test]
    fn what_is_packed_is_read_back() {
        let meta = Meta {
            version: 1,
            index: 7,
            ..Meta::default()
        };
        let archive = unpack(pack(&meta, &state()).unwrap().as_slice()).unwrap();
        assert_eq!(archive.meta, meta);
        let rows = frames(&archive.state).unwrap();
        let rows: Vec<_> = rows.iter().map(|row| (row.table, row.key)).collect();
        assert_eq!(rows, [("keys", "a/b"), ("nodes", "")]);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let packed = pack(&Meta::default(), &state()).unwrap();
        for length in 0..packed.len() {
            assert!(unpack(packed.get(..length).unwrap()).is_err(), "{length}");
        }
        assert!(unpack(b"junk\n".as_slice()).is_err());
        let whole = state();
        for length in 12..whole.len() {
            let cut = whole.get(..length).unwrap();
            let is_between_rows = length == 12 || length == 12 + 2 + 4 + 2 + 3 + 4 + 3;
            assert_eq!(frames(cut).is_ok(), is_between_rows, "{length}");
        }
        assert!(matches!(frames(b"other program"), Err(Error::Foreign)));
    }
}
