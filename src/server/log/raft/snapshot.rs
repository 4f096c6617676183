//! The snapshot file: what is known of the log, then the state, both MessagePack.
//!
//! It is written beside its place, synced and renamed, so that a crash leaves the old one or the new
//! one.

use openraft::{BasicNode, SnapshotMeta};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::server::state::State;

/// What stands before the state.
pub(super) type Meta = SnapshotMeta<u64, BasicNode>;

/// Where the snapshot of one server is kept.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFile {
    directory: PathBuf,
}

impl SnapshotFile {
    /// The file in `directory`, which exists.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("snapshot")
    }

    /// Where a snapshot from another server is collected.
    pub(super) fn received_path(&self) -> PathBuf {
        self.directory.join("snapshot.received")
    }

    /// Writes a snapshot durably in place of the one before.
    pub(super) fn write(&self, meta: &Meta, state: &State) -> io::Result<()> {
        let path = self.directory.join("snapshot.new");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        rmp_serde::encode::write_named(&mut out, meta).map_err(io::Error::other)?;
        rmp_serde::encode::write_named(&mut out, state).map_err(io::Error::other)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        self.put_in_place(&path)
    }

    /// Puts a complete and synced file in place durably.
    pub(super) fn put_in_place(&self, written: &Path) -> io::Result<()> {
        fs::rename(written, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    /// Reads the snapshot; none when none was written yet.
    pub(super) fn read(&self) -> io::Result<Option<(Meta, State)>> {
        let Some(file) = self.open()? else {
            return Ok(None);
        };
        read_from(file).map(Some)
    }

    /// Opens the snapshot for sending.
    pub(super) fn open_with_meta(&self) -> io::Result<Option<(Meta, File)>> {
        let Some(file) = self.open()? else {
            return Ok(None);
        };
        let mut input = rmp_serde::Deserializer::new(BufReader::new(file));
        let meta = serde::Deserialize::deserialize(&mut input).map_err(invalid)?;
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

/// Reads a whole snapshot.
pub(super) fn read_from(file: File) -> io::Result<(Meta, State)> {
    let mut input = rmp_serde::Deserializer::new(BufReader::with_capacity(1 << 20, file));
    let meta = serde::Deserialize::deserialize(&mut input).map_err(invalid)?;
    let state = serde::Deserialize::deserialize(&mut input).map_err(invalid)?;
    Ok((meta, state))
}

fn invalid(error: rmp_serde::decode::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the snapshot cannot be read: {error}"),
    )
}
