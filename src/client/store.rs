//! What the client must still know after it was killed.
//!
//! One file per allocation: a mark, then frames, each a length, a checksum and a value. The first
//! frame is what the servers want; every change of that, or of what became of it, is appended, for
//! new files cost the file system much more than new bytes. The last frame of each kind counts.
//!
//! The files survive the end of the agent, not a power cut: after one no task runs any more, and
//! the servers say again what they want. The node's own identity survives both. A file that was cut
//! short gives what it still holds, and says so; one that was changed gives nothing.

use super::{
    cores::Given,
    last_run::{LastRun, empty_for_none},
};
use jobs::model::{AllocId, DeploymentId, NodeId, SecretId, TaskName, TaskState, Timestamp};
use rpc::message::Assignment;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use sys::{
    files::{self, Durability, write_atomic},
    random,
};

/// What each file begins with; the last character is the version of the format.
const MARK: &[u8] = b"trivet-alloc-1\n";
/// Length of a file from which it is replaced by one with the newest frames alone.
const FILE_BYTES_MAX: u64 = 128 * 1024;
/// Bytes of a frame before its value: length, checksum and kind.
const HEAD_BYTES: usize = 9;
/// Kind of a frame with an [`Assignment`].
const ASSIGNMENT: u8 = 1;
/// Kind of a frame with an [`AllocRecord`].
const RECORD: u8 = 2;
/// What is wrong with a file that holds nothing whole.
const BEGINNING_MISSING: &str = "its beginning is missing";

/// Who this machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Id of the node.
    pub(super) id: NodeId,
    /// What it proves itself with.
    pub(super) secret_id: SecretId,
    /// Of both; none in the files of earlier versions.
    #[serde(default)]
    checksum: Option<u32>,
}

impl Identity {
    fn new(id: NodeId, secret_id: SecretId) -> io::Result<Self> {
        let checksum = Some(Self::checksum(id, &secret_id)?);
        Ok(Self {
            id,
            secret_id,
            checksum,
        })
    }

    fn checksum(id: NodeId, secret_id: &SecretId) -> io::Result<u32> {
        let bytes = rmp_serde::to_vec(&(id, secret_id)).map_err(io::Error::other)?;
        Ok(crc32fast::hash(&bytes))
    }

    /// The identity that a file holds.
    ///
    /// # Errors
    /// When it cannot be read, or was changed since it was written.
    fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let found: Self = rmp_serde::from_slice(&bytes).map_err(io::Error::other)?;
        let expected = Self::checksum(found.id, &found.secret_id)?;
        if found.checksum.is_some_and(|sum| sum != expected) {
            return Err(io::Error::other("its checksum is wrong"));
        }
        Ok(found)
    }
}

/// What became of an allocation here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AllocRecord {
    /// One per task of the group.
    pub(super) tasks: BTreeMap<TaskName, TaskRecord>,
    /// Health in the deployment and when it was decided.
    #[serde(with = "jobs::model::rfc3339::decision")]
    pub(super) health: Option<(bool, Timestamp)>,
    /// Deployment that the health belongs to.
    pub(super) deployment_id: Option<DeploymentId>,
    /// Processors that its tasks have for themselves.
    pub(super) cores: Given,
    /// It was set up; from then on its directory exists.
    pub(super) is_built: bool,
    /// It ran longer than its group may, and was stopped for that.
    pub(super) is_timed_out: bool,
}

/// What became of a task here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TaskRecord {
    /// As reported.
    pub(super) state: TaskState,
    /// The last run that was started.
    #[serde(rename = "run_id")]
    pub(super) last_run: LastRun,
    /// What the driver needs to find what is left of that run; none when it is not known.
    #[serde(with = "empty_for_none")]
    pub(super) handle: Option<String>,
    /// Exit code of a run that ended by itself, until it is decided what comes next.
    pub(super) undecided: Option<i32>,
    /// What the restart policy has counted.
    pub(super) restarts: (u32, Option<Timestamp>),
    /// Everything it needs was fetched.
    pub(super) is_fetched: bool,
}

/// An allocation as it was left.
#[derive(Debug)]
pub(super) struct Saved {
    /// What the servers wanted.
    pub(super) assignment: Assignment,
    /// What had become of it. When the file was cut short, its runs are [`LastRun::Unknown`].
    pub(super) record: AllocRecord,
}

/// A file that does not say what was kept in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    /// The allocation.
    pub(super) alloc_id: AllocId,
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong with it.
    pub(super) reason: String,
    /// It ends within the first frame.
    pub(super) is_cut: bool,
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
    /// Opens the directory and reads or makes the node's identity, with the id `wanted` if there is
    /// one. A node that has an id keeps it.
    pub(super) fn open(data_dir: &Path, wanted: Option<NodeId>) -> io::Result<(Self, Identity)> {
        let store = Self {
            allocs: data_dir.join("allocs"),
            runs: data_dir.join("run"),
        };
        for dir in [data_dir, &store.allocs, &store.runs] {
            files::create_dir(dir, 0o700)?;
        }
        let path = data_dir.join("node");
        let identity = match Identity::read(&path) {
            Ok(identity) => {
                if wanted.is_some_and(|wanted| wanted != identity.id) {
                    tracing::warn!(
                        id = %identity.id,
                        "the node has another id than the configuration says, and keeps it"
                    );
                }
                identity
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = wanted.unwrap_or_else(random::id);
                let identity = Identity::new(id, random::uuid().into())?;
                write(&path, &identity, Durability::Power)?;
                identity
            }
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Ok((store, identity))
    }

    /// Where drivers keep what they need to find their tasks again.
    pub(super) fn run_dir(&self) -> &Path {
        &self.runs
    }

    /// Keeps a new allocation, whatever stood in its file.
    pub(super) fn begin(&self, assignment: &Assignment, record: &AllocRecord) -> io::Result<()> {
        let mut content = MARK.to_vec();
        content.extend(frame(ASSIGNMENT, assignment)?);
        content.extend(frame(RECORD, record)?);
        let path = self.path(assignment.alloc.id);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&content)
    }

    /// Keeps what the servers want now.
    pub(super) fn save_assignment(&self, assignment: &Assignment) -> io::Result<()> {
        self.append(assignment.alloc.id, &frame(ASSIGNMENT, assignment)?)
    }

    /// Keeps what became of an allocation.
    pub(super) fn save_record(&self, alloc_id: AllocId, record: &AllocRecord) -> io::Result<()> {
        self.append(alloc_id, &frame(RECORD, record)?)
    }

    /// Forgets an allocation.
    pub(super) fn forget(&self, alloc_id: AllocId) {
        fs::remove_file(self.path(alloc_id)).ok();
    }

    /// Every allocation that was kept, and every file that does not say what was.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub(super) fn load(&self) -> io::Result<(Vec<Saved>, Vec<Damaged>)> {
        let (mut saved, mut damaged) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.allocs)? {
            let path = entry?.path();
            if path.extension().is_none_or(|kind| kind != "assignment") {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(alloc_id) = stem.and_then(AllocId::parse) else {
                tracing::warn!(file = %path.display(), "a file that is named after no allocation is left alone");
                continue;
            };
            match load(&path, alloc_id) {
                Ok(alloc) => saved.push(alloc),
                Err(reason) => damaged.push(Damaged {
                    alloc_id,
                    path,
                    is_cut: reason == BEGINNING_MISSING,
                    reason,
                }),
            }
        }
        Ok((saved, damaged))
    }

    fn append(&self, alloc_id: AllocId, frame: &[u8]) -> io::Result<()> {
        let path = self.path(alloc_id);
        let mut file = fs::OpenOptions::new().append(true).open(&path)?;
        let before = file.metadata()?.len();
        let written = file.write_all(frame);
        if written.is_err() {
            // A part of a frame would hide those that come after it.
            file.set_len(before)?;
        }
        written?;
        if before > FILE_BYTES_MAX {
            compact(&path)?;
        }
        Ok(())
    }

    fn path(&self, alloc_id: AllocId) -> PathBuf {
        self.allocs.join(format!("{alloc_id}.assignment"))
    }
}

/// What a file holds, or what is wrong with it.
fn load(path: &Path, alloc_id: AllocId) -> Result<Saved, String> {
    let bytes = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let frames = frames(&bytes)?;
    let assignment = frames.assignment.ok_or(BEGINNING_MISSING)?;
    let mut assignment: Assignment = decode(assignment)?;
    if assignment.alloc.id != alloc_id {
        return Err(format!("it holds allocation `{}`", assignment.alloc.id));
    }
    assignment.alloc.job = Arc::clone(&assignment.job);
    let mut record: AllocRecord = match frames.record {
        Some(record) => decode(record)?,
        None => AllocRecord::default(),
    };
    if frames.whole < bytes.len() || frames.record.is_none() {
        // The agent was killed while it wrote, or somebody cut it: what came last is not known.
        let tasks = assignment.alloc.group().into_iter();
        for task in tasks.flat_map(|group| &group.tasks) {
            let task = record.tasks.entry(task.name.clone()).or_default();
            task.last_run = LastRun::Unknown;
        }
        record.is_built = true;
        // What is appended must not stand behind a part of a frame.
        cut(path, frames.whole).map_err(|error| format!("it cannot be mended: {error}"))?;
    }
    Ok(Saved { assignment, record })
}

fn cut(path: &Path, length: usize) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(length as u64)
}

/// Replaces a file by one with the newest frames alone.
fn compact(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let frames = frames(&bytes).map_err(io::Error::other)?;
    let mut content = MARK.to_vec();
    for (kind, value) in [(ASSIGNMENT, frames.assignment), (RECORD, frames.record)] {
        if let Some(value) = value {
            content.extend(framed(kind, value)?);
        }
    }
    write_atomic(path, &content, Durability::Process)
}

/// The newest frames of a file.
#[derive(Default)]
struct Frames<'a> {
    assignment: Option<&'a [u8]>,
    record: Option<&'a [u8]>,
    /// Bytes up to the end of the last whole frame.
    whole: usize,
}

/// Reads frame after frame until the file ends, within one if it was cut there; a frame whose
/// checksum is wrong is an error.
fn frames(bytes: &[u8]) -> Result<Frames<'_>, String> {
    let Some(mut rest) = bytes.strip_prefix(MARK) else {
        return Err(if MARK.starts_with(bytes) {
            BEGINNING_MISSING.into()
        } else {
            "it is of another format".into()
        });
    };
    let mut found = Frames::default();
    loop {
        found.whole = bytes.len() - rest.len();
        let Some((length, behind)) = rest.split_first_chunk::<4>() else {
            return Ok(found);
        };
        let Some((sum, behind)) = behind.split_first_chunk::<4>() else {
            return Ok(found);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((content, next)) = behind.split_at_checked(length) else {
            return Ok(found);
        };
        let (Some((kind, value)), true) = (
            content.split_first(),
            crc32fast::hash(content) == u32::from_le_bytes(*sum),
        ) else {
            return Err(format!("the checksum at byte {} is wrong", found.whole));
        };
        match *kind {
            ASSIGNMENT => found.assignment = Some(value),
            RECORD => found.record = Some(value),
            // Of a later version of the program.
            _ => {}
        }
        rest = next;
    }
}

fn frame<T: Serialize>(kind: u8, value: &T) -> io::Result<Vec<u8>> {
    let value = rmp_serde::to_vec_named(value).map_err(io::Error::other)?;
    framed(kind, &value)
}

fn framed(kind: u8, value: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(value.len() + 1).map_err(io::Error::other)?;
    let mut hash = crc32fast::Hasher::new();
    hash.update(&[kind]);
    hash.update(value);
    let mut frame = Vec::with_capacity(HEAD_BYTES + value.len());
    frame.extend(length.to_le_bytes());
    frame.extend(hash.finalize().to_le_bytes());
    frame.push(kind);
    frame.extend(value);
    Ok(frame)
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(value).map_err(|error| format!("it cannot be understood: {error}"))
}

fn write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> io::Result<()> {
    let bytes = rmp_serde::to_vec_named(value).map_err(io::Error::other)?;
    write_atomic(path, &bytes, durability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::{Allocation, Job, Task, TaskGroup};

    fn alloc_id() -> AllocId {
        AllocId::named("a")
    }

    fn assignment(version: u64) -> Assignment {
        let task = Task {
            name: "t".into(),
            ..Task::default()
        };
        let group = TaskGroup {
            name: "g".into(),
            tasks: vec![task],
            ..TaskGroup::default()
        };
        let job = Arc::new(Job {
            task_groups: vec![group].into(),
            version,
            ..Job::default()
        });
        let alloc = Allocation {
            id: alloc_id(),
            task_group: "g".into(),
            job: Arc::clone(&job),
            ..Allocation::default()
        };
        Assignment { alloc, job }
    }

    fn run(id: &str) -> LastRun {
        LastRun::Known(id.to_owned())
    }

    fn record(run_id: &str) -> AllocRecord {
        let task = TaskRecord {
            last_run: run_id.to_owned().into(),
            ..TaskRecord::default()
        };
        AllocRecord {
            tasks: BTreeMap::from([("t".into(), task)]),
            is_built: true,
            ..AllocRecord::default()
        }
    }

    fn store() -> (tempfile::TempDir, Store, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), None).unwrap();
        let path = store.path(alloc_id());
        store.begin(&assignment(0), &record("")).unwrap();
        store.save_record(alloc_id(), &record("one")).unwrap();
        store.save_assignment(&assignment(1)).unwrap();
        store.save_record(alloc_id(), &record("two")).unwrap();
        (dir, store, path)
    }

    #[test]
    fn a_node_gets_the_id_that_is_wanted_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let (wanted, other) = (NodeId::named("wanted"), NodeId::named("other"));
        for asked in [Some(wanted), Some(other), None] {
            let (_, identity) = Store::open(dir.path(), asked).unwrap();
            assert_eq!(identity.id, wanted);
        }
    }

    #[test]
    fn a_changed_identity_is_refused_with_the_name_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node");
        let (_, first) = Store::open(dir.path(), None).unwrap();
        let content = fs::read(&path).unwrap();
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            match Store::open(dir.path(), None) {
                // What was changed says nothing about the identity.
                Ok((_, read)) => assert_eq!(
                    (read.id, read.secret_id),
                    (first.id, first.secret_id.clone())
                ),
                Err(error) => assert!(error.to_string().contains("/node`"), "{at}: {error}"),
            }
        }
    }

    fn loaded(store: &Store) -> Result<(u64, LastRun), String> {
        let (mut saved, mut damaged) = store.load().unwrap();
        assert_eq!(saved.len() + damaged.len(), 1);
        match (saved.pop(), damaged.pop()) {
            (Some(alloc), _) => {
                let last_run = alloc.record.tasks["t"].last_run.clone();
                Ok((alloc.assignment.job.version, last_run))
            }
            (None, Some(damaged)) => Err(damaged.reason),
            (None, None) => panic!("nothing"),
        }
    }

    #[test]
    fn the_last_frame_of_each_kind_counts() {
        let (_dir, store, _) = store();
        assert_eq!(loaded(&store), Ok((1, run("two"))));
        store.begin(&assignment(7), &record("")).unwrap();
        assert_eq!(loaded(&store), Ok((7, LastRun::None)));
    }

    #[test]
    fn a_file_that_was_cut_gives_what_it_holds_and_takes_more() {
        let (_dir, store, path) = store();
        let whole = fs::read(&path).unwrap();
        let bounds: Vec<usize> = {
            let mut bounds = vec![MARK.len()];
            for frame in [
                frame(ASSIGNMENT, &assignment(0)).unwrap(),
                frame(RECORD, &record("")).unwrap(),
                frame(RECORD, &record("one")).unwrap(),
                frame(ASSIGNMENT, &assignment(1)).unwrap(),
            ] {
                bounds.push(bounds.last().unwrap() + frame.len());
            }
            bounds
        };
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let expected = if length < bounds[1] {
                assert!(loaded(&store).is_err(), "{length}");
                continue;
            } else if length == bounds[2] {
                (0, LastRun::None)
            } else if length == bounds[3] {
                (0, run("one"))
            } else if length == bounds[4] {
                (1, run("one"))
            } else {
                (u64::from(length > bounds[4]), LastRun::Unknown)
            };
            assert_eq!(loaded(&store), Ok(expected), "{length}");
            store.save_record(alloc_id(), &record("three")).unwrap();
            assert_eq!(loaded(&store).unwrap().1, run("three"), "{length}");
        }
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let (_dir, store, path) = store();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            fs::write(&path, &changed).unwrap();
            // A length that became larger reads as a file that was cut.
            let found = loaded(&store);
            let is_noticed = found
                .as_ref()
                .map_or(true, |(_, last_run)| *last_run == LastRun::Unknown);
            assert!(is_noticed, "byte {at}: {found:?}");
        }
    }

    #[test]
    fn a_file_does_not_grow_without_end() {
        let (_dir, store, path) = store();
        for number in 0..3_000 {
            let record = record(&format!("{number:0200}"));
            store.save_record(alloc_id(), &record).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * FILE_BYTES_MAX);
        assert_eq!(loaded(&store), Ok((1, run(&format!("{:0200}", 2_999)))));
    }
}
