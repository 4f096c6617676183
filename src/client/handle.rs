use super::{
    Error,
    alloc::{Tasks, message::Message},
    allocdir::SECRET_DIRS,
    collection::Ask,
    command::{Command, CommandRequest},
    file_threads::READ_TIMEOUT,
    labels::{Changes, Labels, Relabeled},
    local::Registered,
    logs::{self, Frame, Range, Writer},
    migration,
    shared::{CheckStatus, Shared},
    stats::{self, AllocUsage, HostStats},
};
use bytes::Bytes;
use futures_util::future::join_all;
use jobs::model::{AllocId, Allocation, Node, TaskPhase};
use mesh::model::CheckId;
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use sys::{
    directory::{Directory, Found, Links, stays_below},
    processes,
    threads::Threads,
};
use tokio::{
    io::AsyncRead,
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::io::StreamReader;

/// Entries of a directory that are listed.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of a path, the NUL at its end included: the kernel's own limit.
const PATH_BYTES_MAX: usize = 4096;

/// How long a request for the data of an allocation waits for its end.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// Allocations on this machine by id, those that are over included.
pub(super) type Allocs = BTreeMap<AllocId, Arc<Known>>;

/// Most allocations that are measured in one go, and how many of them at a time.
const USAGES_MAX: usize = 1_000;
const MEASURED_AT_A_TIME: usize = 64;

/// An allocation and the way to its runner, which is closed when it is over.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) shared: Arc<Shared>,
    pub(super) messages: mpsc::Sender<Message>,
}

/// One of a task's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A file or directory of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Name without its directory.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// Such as `-rw-r--r--`.
    pub mode: String,
    /// Last change.
    pub modified: SystemTime,
}

/// What the API uses of the client part. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) allocs: Arc<RwLock<Allocs>>,
    pub(super) node: watch::Receiver<Arc<Node>>,
    pub(super) alloc_dir: PathBuf,
    pub(super) reads: Threads,
    pub(super) registered: Arc<Registered>,
    pub(super) relabeled: Arc<Relabeled>,
    pub(super) restored: watch::Receiver<bool>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) takes_commands: bool,
}

impl Handle {
    /// True once the allocations of an earlier agent on the same directory are known here.
    pub fn restored(&self) -> watch::Receiver<bool> {
        self.restored.clone()
    }

    /// The labels of this machine.
    pub fn labels(&self) -> Labels {
        self.relabeled.get()
    }

    /// Changes labels of this machine; the servers are told soon after.
    ///
    /// # Errors
    /// When there are too many, or they cannot be kept; nothing is changed then.
    pub fn relabel(&self, changes: Changes) -> Result<Labels, Error> {
        self.relabeled.change(changes)
    }

    /// What was registered with this agent over its API.
    pub fn registered(&self) -> &Registered {
        &self.registered
    }

    /// Whether this machine has, or had, the allocation.
    pub fn knows(&self, alloc: &str) -> bool {
        AllocId::parse(alloc).is_some_and(|id| self.allocs.read().contains_key(&id))
    }

    /// This machine.
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node.borrow())
    }

    /// The entries of a directory, by name; at most 10,000.
    ///
    /// # Errors
    /// Unknown allocation, a path that no file can have, nothing there, no directory, or outside of
    /// the allocation's directory.
    pub async fn list(&self, alloc: &str, path: &str) -> Result<Vec<FileInfo>, Error> {
        let asked = path.to_owned();
        self.open(alloc, path, move |found| {
            if !found.metadata().is_dir() {
                return Err(wrong_kind(&asked, "is not a directory"));
            }
            let mut entries = Vec::new();
            for entry in found.open_directory()?.entries()?.take(ENTRIES_MAX) {
                let entry = entry?;
                // A name that vanished meanwhile is not there.
                if let Ok(metadata) = entry.metadata() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    entries.push(info(name, &metadata));
                }
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        })
        .await
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// As [`Handle::list`].
    pub async fn stat(&self, alloc: &str, path: &str) -> Result<FileInfo, Error> {
        let name = Path::new(path).file_name().map_or_else(
            || "/".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        self.open(alloc, path, move |found| Ok(info(name, found.metadata())))
            .await
    }

    /// The content of a file from `offset` on, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Handle::list`], for everything but a regular file, and for one that only a hard link
    /// brought into the allocation's directory.
    pub async fn read(
        &self,
        alloc: &str,
        path: &str,
        offset: u64,
        limit: Option<u64>,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, Error> {
        check_offset(offset)?;
        let file = self.open_file(alloc, path).await?;
        let limit = limit.unwrap_or(u64::MAX);
        let pieces = logs::read(file, offset, limit, self.reads.clone());
        Ok(StreamReader::new(Box::pin(pieces)))
    }

    /// The content of a file as frames; with `follow`, also what is appended later.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub async fn stream(
        &self,
        alloc: &str,
        path: &str,
        range: Range,
    ) -> Result<mpsc::Receiver<Frame>, Error> {
        check_offset(range.offset)?;
        let file = self.open_file(alloc, path).await?;
        let reads = self.reads.clone();
        Ok(logs::stream_file(file, path.to_owned(), range, reads))
    }

    /// What a task wrote as frames, over all its log files; with `follow`, also what it writes
    /// later.
    ///
    /// # Errors
    /// Unknown allocation or task, or no logs yet.
    pub async fn logs(
        &self,
        alloc: &str,
        task: &str,
        stream: LogStream,
        range: Range,
    ) -> Result<mpsc::Receiver<Frame>, Error> {
        check_offset(range.offset)?;
        let known = self.known(alloc)?;
        if !known.shared.states().contains_key(task) {
            return Err(Error::UnknownTask {
                task: task.to_owned(),
            });
        }
        let stream = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        let path = known.shared.dir.logs();
        let prefix = format!("{task}.{stream}.");
        let wanted = prefix.clone();
        let look = move || {
            let dir = Directory::open(&path)?;
            let has_logs = !logs::log_files(&dir, &wanted)?.is_empty();
            Ok(has_logs.then_some(dir))
        };
        let dir = self.reads.run_within(READ_TIMEOUT, look).await?;
        let dir = dir.ok_or_else(|| Error::NotStarted {
            task: task.to_owned(),
        })?;
        let task = task.to_owned();
        let writer = Writer {
            changes: known.shared.revisions(),
            is_over: Box::new(move || {
                let state = known.shared.task(&task).state;
                state.state == TaskPhase::Dead
            }),
        };
        let reads = self.reads.clone();
        Ok(logs::stream_logs(dir, prefix, range, writer, reads))
    }

    /// The data of an allocation that is over, for the one that replaces it on another node: a tar
    /// of `alloc/data` and of `local` of each task. Waits a while for the end.
    ///
    /// # Errors
    /// Unknown allocation, one that goes on, or one whose directory was never made.
    pub async fn snapshot(&self, alloc: &str) -> Result<mpsc::Receiver<io::Result<Bytes>>, Error> {
        let known = self.known(alloc)?;
        let shared = &known.shared;
        let mut revisions = shared.revisions();
        let is_over = |_: &u64| shared.is_over() || known.messages.is_closed();
        let ended = timeout(END_PATIENCE, revisions.wait_for(is_over));
        let goes_on = ended.await.is_err();
        if goes_on {
            return Err(Error::StillRuns);
        }
        let description = shared.alloc();
        let pin = shared.cx.pins.pin(description.id);
        let of_tasks = Arc::clone(&description);
        let pieces = migration::packed(
            &description,
            shared.dir.clone(),
            shared.cx.files.packing.clone(),
            move |found| may_be_linked(&of_tasks, found),
            pin,
        );
        pieces.await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NoFile { path: "/".into() },
            _ => error.into(),
        })
    }

    /// Restarts tasks; answers when it is under way.
    ///
    /// # Errors
    /// Unknown allocation or task, or nothing runs.
    pub async fn restart(&self, alloc: &str, tasks: Tasks) -> Result<(), Error> {
        let reason = match tasks {
            Tasks::Named(_) => "User requested task to restart",
            Tasks::Running => "User requested running tasks to restart",
            Tasks::All => "User requested all tasks to restart",
        };
        let is_named = matches!(tasks, Tasks::Named(_));
        self.ask(alloc, |reply| Message::Restart {
            tasks,
            reason: reason.to_owned(),
            unhealthy: false,
            reply: Some(reply),
        })
        .await
        .map_err(|error| match error {
            Error::NotRunning if !is_named && self.is_over(alloc) => Error::Over,
            error => error,
        })
    }

    /// Sends a signal to one task, or to all that run.
    ///
    /// # Errors
    /// Unknown allocation, task or signal, nothing runs, or a driver without signals.
    pub async fn signal(&self, alloc: &str, task: Option<&str>, signal: &str) -> Result<(), Error> {
        self.ask(alloc, |reply| Message::Signal {
            task: task.map(str::to_owned),
            signal: signal.to_owned(),
            reply,
        })
        .await
    }

    /// Has the directories of all ended allocations removed soon.
    ///
    /// # Errors
    /// When the client part has stopped.
    pub async fn collect(&self) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        let asked = self.asks.send(Ask::All(reply)).await;
        asked.map_err(|_| Error::Stopping)?;
        done.await.map_err(|_| Error::Stopping)
    }

    /// Has the directory of an ended allocation removed soon.
    ///
    /// # Errors
    /// Unknown allocation, one that is not over, or the client part has stopped.
    pub async fn collect_alloc(&self, alloc: &str) -> Result<(), Error> {
        let unknown = || Error::UnknownAlloc {
            alloc: alloc.to_owned(),
        };
        let id = AllocId::parse(alloc).ok_or_else(unknown)?;
        let (reply, done) = oneshot::channel();
        let asked = self.asks.send(Ask::One(id, reply)).await;
        asked.map_err(|_| Error::Stopping)?;
        done.await.map_err(|_| Error::Stopping)?
    }

    /// Whether commands may be started inside of tasks.
    ///
    /// # Errors
    /// When the operator of this machine does not want any.
    pub fn check_commands(&self) -> Result<(), Error> {
        if self.takes_commands {
            Ok(())
        } else {
            Err(Error::NoCommands)
        }
    }

    /// Starts a command inside of a task.
    ///
    /// # Errors
    /// Unknown allocation or task, the task does not run, its driver cannot start the command, or
    /// as [`Handle::check_commands`].
    pub async fn command(&self, alloc: &str, request: CommandRequest) -> Result<Command, Error> {
        self.check_commands()?;
        let known = self.known(alloc)?;
        Command::start(&known.shared, request).await
    }

    /// What an allocation uses right now; `task` leaves the others out.
    ///
    /// # Errors
    /// Unknown allocation or task.
    pub async fn alloc_usage(&self, alloc: &str, task: Option<&str>) -> Result<AllocUsage, Error> {
        let known = self.known(alloc)?;
        let mut meters = known.shared.meters.lock().clone();
        if let Some(task) = task {
            if !known.shared.states().contains_key(task) {
                return Err(Error::UnknownTask {
                    task: task.to_owned(),
                });
            }
            meters.retain(|name, _| name == task);
        }
        let cpu_mhz = self.node().node_resources.cpu.cpu_shares;
        let cores = self.node().node_resources.cpu.total_cpu_cores;
        Ok(stats::alloc_usage(meters, cpu_mhz, cores).await)
    }

    /// What the running tasks of every allocation use right now, in the order of their ids; at most
    /// 1,000 allocations.
    pub async fn usages(&self) -> Vec<(Arc<Allocation>, AllocUsage)> {
        let known: Vec<Arc<Known>> = self.allocs.read().values().cloned().collect();
        let node = self.node();
        let (mhz, cores) = (
            node.node_resources.cpu.cpu_shares,
            node.node_resources.cpu.total_cpu_cores,
        );
        let metered = known.into_iter().filter_map(|known| {
            let meters = known.shared.meters.lock().clone();
            (!meters.is_empty()).then(|| (known.shared.alloc(), meters))
        });
        let metered: Vec<_> = metered.take(USAGES_MAX).collect();
        let mut usages = Vec::with_capacity(metered.len());
        for some in metered.chunks(MEASURED_AT_A_TIME) {
            let measured = some
                .iter()
                .map(|(_, meters)| stats::alloc_usage(meters.clone(), mhz, cores));
            let measured = join_all(measured.collect::<Vec<_>>()).await;
            let allocs = some.iter().map(|(alloc, _)| Arc::clone(alloc));
            usages.extend(allocs.zip(measured));
        }
        usages
    }

    /// What this machine uses right now.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read.
    pub async fn host_stats(&self) -> Result<HostStats, Error> {
        let cpu_mhz = self.node().node_resources.cpu.cpu_shares;
        Ok(stats::host_stats(&self.alloc_dir, cpu_mhz).await?)
    }

    /// The checks of an allocation by id, with their last results.
    ///
    /// # Errors
    /// Unknown allocation.
    pub fn checks(&self, alloc: &str) -> Result<BTreeMap<CheckId, CheckStatus>, Error> {
        Ok(self.known(alloc)?.shared.checks.lock().clone())
    }

    async fn ask(
        &self,
        alloc: &str,
        message: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Message,
    ) -> Result<(), Error> {
        let known = self.known(alloc)?;
        let (reply, done) = oneshot::channel();
        known
            .messages
            .send(message(reply))
            .await
            .map_err(|_| Error::NotRunning)?;
        done.await.map_err(|_| Error::NotRunning)?
    }

    /// True once nobody runs the allocation any more.
    fn is_over(&self, alloc: &str) -> bool {
        self.known(alloc)
            .is_ok_and(|known| known.messages.is_closed())
    }

    fn known(&self, alloc: &str) -> Result<Arc<Known>, Error> {
        let allocs = self.allocs.read();
        AllocId::parse(alloc)
            .and_then(|id| allocs.get(&id).cloned())
            .ok_or_else(|| Error::UnknownAlloc {
                alloc: alloc.to_owned(),
            })
    }

    /// Opens a regular file below the allocation's directory.
    async fn open_file(&self, alloc: &str, path: &str) -> Result<File, Error> {
        let known = self.known(alloc)?;
        let asked = path.to_owned();
        self.open(alloc, path, move |found| {
            if !found.metadata().is_file() {
                return Err(wrong_kind(&asked, "is not a file"));
            }
            if found.metadata().nlink() > 1 && !may_be_linked(&known.shared.alloc(), &found) {
                return Err(Error::Linked { path: asked });
            }
            Ok(found.open_file()?)
        })
        .await
    }

    /// Looks at what stands at a path below the allocation's directory, which it cannot leave, and
    /// uses it where waiting for the disk holds nobody up.
    async fn open<T: Send + 'static>(
        &self,
        alloc: &str,
        path: &str,
        work: impl FnOnce(Found) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        check_path(path)?;
        let known = self.known(alloc)?;
        let path = path.to_owned();
        let open = move || Ok(find(&known.shared, &path).and_then(work));
        self.reads.run_within(READ_TIMEOUT, open).await?
    }
}

fn find(shared: &Shared, path: &str) -> Result<Found, Error> {
    let asked = Path::new(path);
    let escapes = || Error::Escapes {
        path: path.to_owned(),
    };
    if !stays_below(asked) {
        return Err(escapes());
    }
    let found = shared
        .dir
        .open()
        .and_then(|directory| directory.find(asked, Links::Inside))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NoFile {
                path: path.to_owned(),
            },
            io::ErrorKind::PermissionDenied => escapes(),
            io::ErrorKind::InvalidFilename => TOO_LONG,
            _ => Error::Io(error),
        })?;
    // By where it really lies: a link inside the directory may lead to a secret, too.
    let real = found.real_path()?;
    let real_root = fs::canonicalize(shared.dir.root())?;
    if is_secret(real.strip_prefix(&real_root).unwrap_or(&real)) {
        return Err(Error::SecretPath {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

const TOO_LONG: Error = Error::BadPath {
    reason: "is too long: at most 4095 bytes, and 255 in one name",
};

/// Refuses what the kernel would refuse without saying why.
fn check_path(path: &str) -> Result<(), Error> {
    if path.contains('\0') {
        return Err(Error::BadPath {
            reason: "holds a NUL byte, which no name of a file has",
        });
    }
    if path.len() >= PATH_BYTES_MAX {
        return Err(TOO_LONG);
    }
    Ok(())
}

fn check_offset(offset: u64) -> Result<(), Error> {
    match i64::try_from(offset) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::BadOffset { offset }),
    }
}

/// True when each task that may have made the link could read the file anyway: it runs as the owner
/// of the file or as the agent's own user.
fn may_be_linked(alloc: &Allocation, found: &Found) -> bool {
    let owner = found.metadata().uid();
    let own = nix::unistd::geteuid().as_raw();
    let mut tasks = alloc.group().into_iter().flat_map(|group| &group.tasks);
    tasks.all(|task| {
        let user = if task.user.is_empty() {
            Some(own)
        } else {
            processes::user_ids(&task.user).ok().map(|(uid, _)| uid)
        };
        user.is_some_and(|user| user == owner || user == own)
    })
}

/// True for `<task>/secrets`, `<task>/private` and what lies below.
fn is_secret(inside: &Path) -> bool {
    let second = inside.components().nth(1);
    matches!(second, Some(Component::Normal(name)) if SECRET_DIRS.iter().any(|dir| name == *dir))
}

fn wrong_kind(path: &str, reason: &'static str) -> Error {
    Error::WrongKind {
        path: path.to_owned(),
        reason,
    }
}

fn info(name: String, metadata: &fs::Metadata) -> FileInfo {
    FileInfo {
        name,
        is_dir: metadata.is_dir(),
        size: metadata.len(),
        mode: mode_text(metadata),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
    }
}

/// The mode as the jobs API writes it.
fn mode_text(metadata: &fs::Metadata) -> String {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'L',
        _ => '-',
    };
    let mode = metadata.permissions().mode();
    let sticky = (mode & 0o1000 != 0).then_some('t');
    let bits = "rwxrwxrwx".chars().enumerate().map(|(place, letter)| {
        if mode & (0o400 >> place) == 0 {
            '-'
        } else {
            letter
        }
    });
    std::iter::once(kind).chain(sticky).chain(bits).collect()
}
