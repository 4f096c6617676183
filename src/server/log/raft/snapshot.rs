//! The snapshot file: a header, then sections, each with a checksum, then an end that says how many
//! rows there were. A section holds rows of one table, so that neither writing nor reading needs
//! memory for more than one section besides the state itself.
//!
//! It is written beside its place, synced and renamed, so that a crash leaves the old one or the
//! new one.

use openraft::{LogId, SnapshotMeta};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    StartError,
    files::{damaged, too_new},
    identity::sync_directory,
    stored::{Position, Voters},
    types::ServerNode,
};
use crate::state::{Loading, SavedRow, State};

/// What stands before the state, as the Raft library wants it.
pub(super) type Meta = SnapshotMeta<u64, ServerNode>;

const MAGIC: &[u8; 8] = b"trivetSN";
const FORMAT: u32 = 1;
const PREFIX_BYTES: usize = 12;
/// Bytes of rows of one section, unless a single row is longer.
const SECTION_BYTES: usize = 256 << 10;
/// Longest section that is read.
const SECTION_BYTES_MAX: usize = 256 << 20;

/// One section; the rows of it follow each other as MessagePack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// A [`Head`].
    Head = 1,
    /// [`SavedRow`]s of one table.
    Rows = 2,
    /// An [`End`].
    End = 3,
}

/// Where the snapshot stands in the log.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Head {
    /// The last entry in it.
    last: Option<Position>,
    /// Who votes.
    voters: Voters,
}

/// What a complete snapshot ends with.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct End {
    rows: u64,
}

/// Where the snapshot of one server is kept.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFile {
    directory: PathBuf,
    /// The last entry of the file in place: an older one never replaces it.
    last: Arc<Mutex<Option<LogId<u64>>>>,
}

impl SnapshotFile {
    /// The file in `directory`, which exists.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            last: Arc::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("snapshot")
    }

    /// Where a snapshot from another server is collected.
    pub(super) fn received_path(&self) -> PathBuf {
        self.directory.join("snapshot.received")
    }

    /// Length of the file, bytes; 0 for none.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(self.path()).map_or(0, |metadata| metadata.len())
    }

    /// Writes a snapshot durably in place of an older one.
    pub(super) fn write(&self, meta: &Meta, state: &State) -> io::Result<()> {
        let new = self.directory.join("snapshot.new");
        let written = write_to(&new, meta, state).and_then(|()| self.put_in_place(&new, meta));
        if written.is_err() {
            // On a full disk half a snapshot would hold what the log needs.
            fs::remove_file(&new).ok();
        }
        written
    }

    /// Puts a complete and synced file in place durably, unless a newer one is there.
    pub(super) fn put_in_place(&self, written: &Path, meta: &Meta) -> io::Result<()> {
        let mut last = self.last.lock();
        if *last > meta.last_log_id {
            return fs::remove_file(written);
        }
        fs::rename(written, self.path())?;
        sync_directory(&self.directory)?;
        *last = meta.last_log_id;
        Ok(())
    }

    /// Reads the snapshot; none when none was written yet.
    pub(super) fn read(&self) -> Result<Option<(Meta, State)>, StartError> {
        let path = self.path();
        let file = self
            .open()
            .map_err(|error| StartError::files(&path, error))?;
        let Some(file) = file else {
            return Ok(None);
        };
        let read = read_from(file).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                damaged(&self.directory, &path, &error.to_string())
            }
            io::ErrorKind::Unsupported => too_new(&path, &error),
            _ => StartError::files(&path, error),
        })?;
        *self.last.lock() = read.0.last_log_id;
        Ok(Some(read))
    }

    /// Opens the snapshot for sending.
    pub(super) fn open_with_meta(&self) -> io::Result<Option<(Meta, File)>> {
        let Some(file) = self.open()? else {
            return Ok(None);
        };
        let mut input = BufReader::new(file);
        read_prefix(&mut input)?;
        let meta = read_head(&mut input)?;
        Ok(self.open()?.map(|file| (meta, file)))
    }

    fn open(&self) -> io::Result<Option<File>> {
        match File::open(self.path()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn write_to(path: &Path, meta: &Meta, state: &State) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write_all(&mut out, meta, state.saved_rows())?;
    out.flush()?;
    out.get_ref().sync_all()
}

fn write_all(
    out: &mut impl Write,
    meta: &Meta,
    saved: impl Iterator<Item = SavedRow>,
) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT.to_le_bytes())?;
    let head = Head {
        last: meta.last_log_id.map(Position::from),
        voters: Voters::from(&meta.last_membership),
    };
    write_section(out, Section::Head, &encode(&head)?)?;
    let (mut section, mut table, mut rows) = (Vec::new(), None, 0);
    for row in saved {
        let of_row = Some(row.table());
        if !section.is_empty() && (table != of_row || section.len() >= SECTION_BYTES) {
            write_section(out, Section::Rows, &section)?;
            section.clear();
        }
        table = of_row;
        rows += 1;
        rmp_serde::encode::write_named(&mut section, &row).map_err(io::Error::other)?;
    }
    write_section(out, Section::Rows, &section)?;
    write_section(out, Section::End, &encode(&End { rows })?)
}

/// A section is its kind, its length and the checksum of both and of its content, then the content.
fn write_section(out: &mut impl Write, section: Section, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut prefix = [0; PREFIX_BYTES];
    prefix[0] = section as u8;
    prefix[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&prefix[..8], content);
    prefix[8..].copy_from_slice(&sum.to_le_bytes());
    out.write_all(&prefix)?;
    out.write_all(content)
}

fn checksum(prefix: &[u8], content: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(prefix);
    sum.update(content);
    sum.finalize()
}

/// Reads and checks a whole snapshot.
pub(super) fn read_from(file: File) -> io::Result<(Meta, State)> {
    let mut input = BufReader::with_capacity(1 << 20, file);
    read_prefix(&mut input)?;
    let meta = read_head(&mut input)?;
    let mut loading = Loading::default();
    let mut rows = 0;
    loop {
        let (section, content) = read_section(&mut input)?;
        match section {
            Section::Head => return Err(invalid("has a second head".into())),
            Section::Rows => {
                let mut left = content.as_slice();
                while !left.is_empty() {
                    let mut row = rmp_serde::Deserializer::new(&mut left);
                    let row = SavedRow::deserialize(&mut row).map_err(|error| {
                        invalid(format!(
                            "holds a row that this version of trivet does not know ({error})"
                        ))
                    })?;
                    loading
                        .add(row)
                        .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
                    rows += 1;
                }
            }
            Section::End => {
                let end: End = decode(&content)?;
                if end.rows != rows || input.read(&mut [0])? != 0 {
                    return Err(invalid(format!(
                        "has {rows} rows where {} belong",
                        end.rows
                    )));
                }
                return Ok((meta, loading.finish()));
            }
        }
    }
}

fn read_prefix(input: &mut impl Read) -> io::Result<()> {
    let mut prefix = [0; 12];
    read_exact(input, &mut prefix)?;
    if &prefix[..8] != MAGIC {
        return Err(invalid(
            "is no snapshot of trivet, or its beginning is damaged".into(),
        ));
    }
    let format = u32::from_le_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    if format != FORMAT {
        return Err(invalid(format!(
            "has format {format}, and this version of trivet reads format {FORMAT}"
        )));
    }
    Ok(())
}

fn read_head(input: &mut impl Read) -> io::Result<Meta> {
    let (section, content) = read_section(input)?;
    if section != Section::Head {
        return Err(invalid("has no head".into()));
    }
    let head: Head = decode(&content)?;
    let last = head.last.map(LogId::from);
    Ok(Meta {
        last_log_id: last,
        last_membership: head.voters.into(),
        snapshot_id: snapshot_id(last),
    })
}

/// What the Raft library calls a snapshot.
pub(super) fn snapshot_id(last: Option<LogId<u64>>) -> String {
    last.map_or_else(String::new, |id| format!("{}-{}", id.leader_id, id.index))
}

fn read_section(input: &mut impl Read) -> io::Result<(Section, Vec<u8>)> {
    let mut prefix = [0; PREFIX_BYTES];
    read_exact(input, &mut prefix)?;
    let word = |at: usize| {
        u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    let wrong = || invalid("is damaged: the checksum of a section does not match".into());
    let length = usize::try_from(word(4)).map_err(io::Error::other)?;
    if length > SECTION_BYTES_MAX {
        return Err(wrong());
    }
    let mut content = Vec::new();
    // Not more than there is, whatever the length says.
    input.take(length as u64).read_to_end(&mut content)?;
    if content.len() != length {
        return Err(invalid("is cut off".into()));
    }
    if checksum(&prefix[..8], &content) != word(8) {
        return Err(wrong());
    }
    let section = match prefix[0] {
        1 => Section::Head,
        2 => Section::Rows,
        3 => Section::End,
        other => {
            return Err(invalid(format!(
                "has a section of kind {other}, which this version of trivet does not know"
            )));
        }
    };
    Ok((section, content))
}

fn read_exact(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<()> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("is cut off".into()),
        _ => error,
    })
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| invalid(format!("cannot be read: {error}")))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::Timestamp;
    use registration::Version;

    #[test]
    fn a_state_of_newer_rules_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = SnapshotFile::new(directory.path().to_owned());
        let write = |version| {
            let row = SavedRow::Head {
                index: 7,
                now: Timestamp::from_nanos(7),
                version,
            };
            let mut bytes = Vec::new();
            write_all(&mut bytes, &Meta::default(), std::iter::once(row)).unwrap();
            fs::write(file.path(), bytes).unwrap();
        };
        write(Version::SUPPORTED);
        assert_eq!(file.read().unwrap().unwrap().1.stamp().index, 7);
        let newer = Version::SUPPORTED.next();
        write(newer);
        let error = file.read().unwrap_err().to_string();
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
        assert!(
            error.contains(&format!("version {newer} of the cluster's rules")),
            "{error}"
        );
        assert!(
            error.contains("Run the version of trivet that wrote it"),
            "{error}"
        );
    }
}
