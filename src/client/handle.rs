use super::{
    Error,
    alloc::{
        runner::Message,
        shared::{CheckStatus, Shared},
    },
    allocdir::SECRET_DIRS,
    logs::{self, Frame, Range},
    stats::{self, AllocUsage, HostStats},
};
use crate::sys::files::{Directory, stays_below};
use jobs::model::{AllocId, Node, TaskPhase};
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{mpsc, oneshot, watch},
};

/// Entries of a directory that are listed.
const ENTRIES_MAX: usize = 10_000;

/// Allocations on this machine by id, those that are over included.
pub(super) type Allocs = BTreeMap<AllocId, Arc<Known>>;

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
    allocs: Arc<RwLock<Allocs>>,
    node: watch::Receiver<Arc<Node>>,
    alloc_dir: PathBuf,
}

impl Handle {
    pub(super) fn new(
        allocs: Arc<RwLock<Allocs>>,
        node: watch::Receiver<Arc<Node>>,
        alloc_dir: PathBuf,
    ) -> Self {
        Self {
            allocs,
            node,
            alloc_dir,
        }
    }

    /// This machine.
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node.borrow())
    }

    /// The entries of a directory, by name; at most 10,000.
    ///
    /// # Errors
    /// Unknown allocation, nothing there, no directory, or outside of the allocation's directory.
    pub fn list(&self, alloc: &str, path: &str) -> Result<Vec<FileInfo>, Error> {
        let file = self.open(alloc, path)?;
        if !file.metadata()?.is_dir() {
            return Err(wrong_kind(path, "is not a directory"));
        }
        // Through the open descriptor, so that the name cannot come to mean something else meanwhile.
        let reach = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let mut entries = Vec::new();
        for entry in fs::read_dir(reach)?.take(ENTRIES_MAX) {
            let entry = entry?;
            // A name that vanished meanwhile is not there.
            if let Ok(metadata) = entry.metadata() {
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(info(name, &metadata));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// As [`Handle::list`].
    pub fn stat(&self, alloc: &str, path: &str) -> Result<FileInfo, Error> {
        let file = self.open(alloc, path)?;
        let name = Path::new(path).file_name().map_or_else(
            || "/".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(info(name, &file.metadata()?))
    }

    /// The content of a file from `offset` on, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Handle::list`], and for a directory.
    pub fn read(
        &self,
        alloc: &str,
        path: &str,
        offset: u64,
        limit: Option<u64>,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, Error> {
        let mut file = self.open(alloc, path)?;
        if !file.metadata()?.is_file() {
            return Err(wrong_kind(path, "is not a file"));
        }
        file.seek(SeekFrom::Start(offset))?;
        Ok(tokio::fs::File::from_std(file).take(limit.unwrap_or(u64::MAX)))
    }

    /// The content of a file as frames; with `follow`, also what is appended later.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn stream(
        &self,
        alloc: &str,
        path: &str,
        range: Range,
    ) -> Result<mpsc::Receiver<Frame>, Error> {
        let file = self.open(alloc, path)?;
        if !file.metadata()?.is_file() {
            return Err(wrong_kind(path, "is not a file"));
        }
        Ok(logs::stream_file(file, path.to_owned(), range))
    }

    /// What a task wrote as frames, over all its log files; with `follow`, also what it writes later.
    ///
    /// # Errors
    /// Unknown allocation or task, or no logs yet.
    pub fn logs(
        &self,
        alloc: &str,
        task: &str,
        stream: LogStream,
        range: Range,
    ) -> Result<mpsc::Receiver<Frame>, Error> {
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
        let dir = known.shared.dir.logs();
        let prefix = format!("{task}.{stream}.");
        if logs::numbers(&dir, &prefix)?.is_empty() {
            return Err(Error::NotStarted {
                task: task.to_owned(),
            });
        }
        let task = task.to_owned();
        let is_over = move || {
            let state = known.shared.task(&task).state;
            state.state == TaskPhase::Dead
        };
        Ok(logs::stream_logs(dir, prefix, range, is_over))
    }

    /// Restarts one task, or all that run; answers when it is under way.
    ///
    /// # Errors
    /// Unknown allocation or task, or nothing runs.
    pub async fn restart(&self, alloc: &str, task: Option<&str>) -> Result<(), Error> {
        let reason = match task {
            Some(_) => "User requested task to restart",
            None => "User requested running tasks to restart",
        };
        self.ask(alloc, |reply| Message::Restart {
            task: task.map(str::to_owned),
            reason: reason.to_owned(),
            unhealthy: false,
            reply: Some(reply),
        })
        .await
        .map_err(|error| match error {
            Error::NotRunning if task.is_none() && self.is_over(alloc) => Error::Over,
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

    /// What an allocation uses right now; `task` leaves the others out.
    ///
    /// # Errors
    /// Unknown allocation or task.
    pub async fn alloc_usage(&self, alloc: &str, task: Option<&str>) -> Result<AllocUsage, Error> {
        let known = self.known(alloc)?;
        let mut processes = known.shared.processes.lock().clone();
        if let Some(task) = task {
            if !known.shared.states().contains_key(task) {
                return Err(Error::UnknownTask {
                    task: task.to_owned(),
                });
            }
            processes.retain(|name, _| name == task);
        }
        let cpu_mhz = self.node().node_resources.cpu.cpu_shares;
        let cores = self.node().node_resources.cpu.total_cpu_cores;
        Ok(stats::alloc_usage(processes, cpu_mhz, cores).await)
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
    pub fn checks(&self, alloc: &str) -> Result<BTreeMap<String, CheckStatus>, Error> {
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

    /// Opens what stands at a path below the allocation's directory, which it cannot leave.
    fn open(&self, alloc: &str, path: &str) -> Result<File, Error> {
        let known = self.known(alloc)?;
        let asked = Path::new(path);
        if !stays_below(asked) {
            return Err(Error::Escapes {
                path: path.to_owned(),
            });
        }
        let root = known.shared.dir.root();
        let file = Directory::open(root)
            .and_then(|directory| directory.open_file(asked))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NoFile {
                    path: path.to_owned(),
                },
                io::ErrorKind::PermissionDenied => Error::Escapes {
                    path: path.to_owned(),
                },
                _ => Error::Io(error),
            })?;
        // By where it really lies: a link inside the directory may lead to a secret, too.
        let reach = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let real = fs::read_link(reach)?;
        let real_root = fs::canonicalize(root)?;
        if is_secret(real.strip_prefix(&real_root).unwrap_or(&real)) {
            return Err(Error::SecretPath {
                path: path.to_owned(),
            });
        }
        Ok(file)
    }
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
