//! What the client must still know after it was killed.
//!
//! One file per allocation for what the servers want, replaced as a whole, and one for what became of it, to
//! which every change is appended: new files cost the file system much more than new bytes.
//! They survive the end of the agent, not a power cut: after one no task runs any more, and the servers
//! say again what they want. The node's own identity survives both.

use crate::{
    rpc::message::Assignment,
    sys::{
        files::{self, Durability, write_atomic},
        random,
    },
};
use jobs::model::{AllocId, DeploymentId, NodeId, SecretId, TaskState, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Bytes of earlier records that a file may hold before it is replaced by one with the newest alone.
const RECORD_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Who this machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Id of the node.
    pub(super) id: NodeId,
    /// What it proves itself with.
    pub(super) secret_id: SecretId,
}

/// What became of an allocation here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AllocRecord {
    /// One per task of the group.
    pub(super) tasks: BTreeMap<String, TaskRecord>,
    /// Health in the deployment and when it was decided.
    pub(super) health: Option<(bool, Timestamp)>,
    /// Deployment that the health belongs to.
    pub(super) deployment_id: Option<DeploymentId>,
    /// It was set up; from then on its directory exists.
    pub(super) is_built: bool,
}

/// What became of a task here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TaskRecord {
    /// As reported.
    pub(super) state: TaskState,
    /// The last run that was started; empty for none.
    pub(super) run_id: String,
    /// What the restart policy has counted.
    pub(super) restarts: (u32, Option<i64>),
    /// Everything it needs was fetched.
    pub(super) is_fetched: bool,
}

/// An allocation as it was left.
#[derive(Debug)]
pub(super) struct Saved {
    /// What the servers wanted.
    pub(super) assignment: Assignment,
    /// What had become of it.
    pub(super) record: AllocRecord,
}

/// The error for an identity that is there and damaged.
fn unreadable(path: &Path, error: &io::Error) -> io::Error {
    let text = format!(
        "`{}` cannot be read ({error}). Restore it from a backup, or remove it: the machine then registers as \
         a new node, and what ran under its old identity is placed anew",
        path.display()
    );
    io::Error::new(error.kind(), text)
}

/// The client's files.
#[derive(Debug)]
pub(super) struct Store {
    allocs: PathBuf,
    runs: PathBuf,
}

impl Store {
    /// Opens the directory and reads or makes the node's identity.
    pub(super) fn open(data_dir: &Path) -> io::Result<(Self, Identity)> {
        let store = Self {
            allocs: data_dir.join("allocs"),
            runs: data_dir.join("run"),
        };
        for dir in [data_dir, &store.allocs, &store.runs] {
            files::create_dir(dir, 0o700)?;
        }
        let path = data_dir.join("node");
        let identity = match read::<Identity>(&path) {
            Ok(identity) => identity,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Identity {
                    id: random::id(),
                    secret_id: random::uuid().into(),
                };
                write(&path, &identity, Durability::Power)?;
                identity
            }
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Ok((store, identity))
    }

    /// Where supervisors keep their sockets and exit files.
    pub(super) fn run_dir(&self) -> &Path {
        &self.runs
    }

    /// Keeps what the servers want.
    pub(super) fn save_assignment(&self, assignment: &Assignment) -> io::Result<()> {
        let path = self.path(assignment.alloc.id, "assignment");
        write(&path, assignment, Durability::Process)
    }

    /// Keeps what became of an allocation.
    pub(super) fn save_record(&self, alloc_id: AllocId, record: &AllocRecord) -> io::Result<()> {
        append(&self.path(alloc_id, "record"), record)
    }

    /// Forgets an allocation.
    pub(super) fn forget(&self, alloc_id: AllocId) {
        for kind in ["assignment", "record"] {
            fs::remove_file(self.path(alloc_id, kind)).ok();
        }
    }

    /// Every allocation that was kept. What cannot be read is left out: the servers will say it again.
    pub(super) fn load(&self) -> io::Result<Vec<Saved>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.allocs)? {
            let path = entry?.path();
            if path.extension().is_none_or(|kind| kind != "assignment") {
                continue;
            }
            match read::<Assignment>(&path) {
                Ok(mut assignment) => {
                    assignment.alloc.job = std::sync::Arc::clone(&assignment.job);
                    let record = read_last(&path.with_extension("record")).unwrap_or_default();
                    all.push(Saved { assignment, record });
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a saved allocation is unreadable");
                }
            }
        }
        Ok(all)
    }

    fn path(&self, alloc_id: AllocId, kind: &str) -> PathBuf {
        self.allocs.join(format!("{alloc_id}.{kind}"))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    rmp_serde::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

/// Adds a frame, four bytes of length and the value, to a file.
fn append<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let frame = frame(value)?;
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let before = file.metadata()?.len();
    if before > RECORD_FILE_BYTES_MAX {
        return write_atomic(path, &frame, Durability::Process);
    }
    let written = file.write_all(&frame);
    if written.is_err() {
        // A part of a frame would hide those that come after it.
        file.set_len(before)?;
    }
    written
}

/// The last whole frame of a file, which then holds it alone: an agent that was killed may have left a part
/// of one behind it.
fn read_last<T: Serialize + DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = fs::read(path)?;
    let (mut rest, mut last) = (&bytes[..], None);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(io::Error::other)?;
        let Some((content, next)) = behind.split_at_checked(length) else {
            break;
        };
        (rest, last) = (next, Some(content));
    }
    let last = last.ok_or(io::ErrorKind::UnexpectedEof)?;
    let value = rmp_serde::from_slice(last).map_err(io::Error::other)?;
    if last.len() + 4 < bytes.len() {
        write_atomic(path, &frame(&value)?, Durability::Process)?;
    }
    Ok(value)
}

fn frame<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    rmp_serde::encode::write_named(&mut frame, value).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    if let Some(head) = frame.first_chunk_mut() {
        *head = length.to_le_bytes();
    }
    Ok(frame)
}

fn write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> io::Result<()> {
    let bytes = rmp_serde::to_vec_named(value).map_err(io::Error::other)?;
    write_atomic(path, &bytes, durability)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run_id: &str) -> AllocRecord {
        let task = TaskRecord {
            run_id: run_id.into(),
            ..TaskRecord::default()
        };
        AllocRecord {
            tasks: BTreeMap::from([("t".to_owned(), task)]),
            ..AllocRecord::default()
        }
    }

    fn run_id(path: &Path) -> String {
        let record: AllocRecord = read_last(path).unwrap();
        record.tasks["t"].run_id.clone()
    }

    #[test]
    fn the_last_whole_record_counts_whatever_stands_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.record");
        for number in 0..3 {
            append(&path, &record(&number.to_string())).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        for cut in 1..frame(&record("2")).unwrap().len() {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(run_id(&path), "1");
            append(&path, &record("3")).unwrap();
            assert_eq!(run_id(&path), "3");
        }
    }

    #[test]
    fn a_record_file_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.record");
        for number in 0..2_000 {
            append(&path, &record(&format!("{number:0200}"))).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * RECORD_FILE_BYTES_MAX);
        assert_eq!(run_id(&path), format!("{:0200}", 1_999));
    }
}
