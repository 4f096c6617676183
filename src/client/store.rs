//! What the client must still know after it was killed.
//!
//! One file per allocation for what the servers want, one for what became of it, each replaced as a whole.
//! They survive the end of the agent, not a power cut: after one no task runs any more, and the servers
//! say again what they want. The node's own identity survives both.

use crate::{
    rpc::message::Assignment,
    sys::{
        files::{self, Durability, write_atomic},
        random,
    },
};
use jobs::model::{TaskState, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Who this machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Id of the node.
    pub(super) id: String,
    /// What it proves itself with.
    pub(super) secret_id: String,
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
    pub(super) deployment_id: String,
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
                    id: random::uuid(),
                    secret_id: random::uuid(),
                };
                write(&path, &identity, Durability::Power)?;
                identity
            }
            Err(error) => return Err(error),
        };
        Ok((store, identity))
    }

    /// Where supervisors keep their sockets and exit files.
    pub(super) fn run_dir(&self) -> &Path {
        &self.runs
    }

    /// Keeps what the servers want.
    pub(super) fn save_assignment(&self, assignment: &Assignment) -> io::Result<()> {
        let path = self.path(&assignment.alloc.id, "assignment");
        write(&path, assignment, Durability::Process)
    }

    /// Keeps what became of an allocation.
    pub(super) fn save_record(&self, alloc_id: &str, record: &AllocRecord) -> io::Result<()> {
        write(&self.path(alloc_id, "record"), record, Durability::Process)
    }

    /// Forgets an allocation.
    pub(super) fn forget(&self, alloc_id: &str) {
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
                    let record = read(&path.with_extension("record")).unwrap_or_default();
                    all.push(Saved { assignment, record });
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a saved allocation is unreadable");
                }
            }
        }
        Ok(all)
    }

    fn path(&self, alloc_id: &str, kind: &str) -> PathBuf {
        self.allocs.join(format!("{alloc_id}.{kind}"))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    rmp_serde::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

fn write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> io::Result<()> {
    let bytes = rmp_serde::to_vec_named(value).map_err(io::Error::other)?;
    write_atomic(path, &bytes, durability)
}
