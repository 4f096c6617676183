//! The agent's side of supervisors.

use super::{
    CGROUP_FILE, Event, Exit, LOCK_FILE, Launch, MESSAGE_BYTES_MAX, Owner, Request, Started,
    address::{Addresses, lock_number, stem},
    fork::ForkServer,
};
use crate::drivers::End;
use nix::unistd::geteuid;
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStringExt,
            net::{SocketAddr, UnixStream as StdStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use sys::{
    cgroups::Cgroup,
    clock, faults,
    files::{Durability, write_atomic},
    limits::Controllers,
    locks::Locks,
    processes::{Ended, Identity, Tree, TreeEnd},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, error::Elapsed, sleep, timeout},
};

/// How long a supervisor may take to say that its task runs, or to greet an agent that comes back.
/// One that has not done so by then is ended.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);
/// Supervisors that wait for their next launch.
const IDLE_MAX: usize = 32;
/// How long one waits.
const IDLE_TIME: Duration = Duration::from_secs(1);
/// Tasks that one supervisor looks after, one after the other.
const RUNS_MAX: u32 = 256;
/// How long the end of killed processes is waited for.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at something that tells nobody when it changes: a lock, a dying process.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Why a task does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The program could not be executed; trying again gives the same.
    #[error("{reason}")]
    Program {
        /// Why.
        reason: String,
    },
    /// Another supervisor of the task holds its lock.
    #[error("another supervisor of the task is still there")]
    Taken,
    /// The supervisor could not be started, or did not answer.
    #[error("could not start the task's supervisor: {0}")]
    Supervisor(#[from] io::Error),
}

/// What an agent finds of a task.
#[derive(Debug)]
pub(crate) enum Found {
    /// It runs.
    Running(Box<Connection>),
    /// Its last run ended meanwhile.
    Ended(Exit),
    /// There is no trace of it, and no process.
    Gone,
}

/// All supervisors of a run directory.
#[derive(Debug)]
pub(crate) struct Supervisors {
    run_dir: PathBuf,
    locks: Locks,
    addresses: Addresses,
    fork_server: ForkServer,
    /// Where tasks get control groups of their own; none where there are none.
    cgroup: Option<Cgroup>,
    /// Where they get those that limit and count.
    controllers: Controllers,
    /// Stems of those that were there when this agent started, with or without a lock.
    earlier: Mutex<BTreeSet<String>>,
    /// Those that wait for their next launch, with when they began to; the latest last.
    idle: Mutex<Vec<(Instant, Link)>>,
}

/// The way to a supervisor.
#[derive(Debug)]
struct Link {
    events: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
    /// Launches that it may still take; 0 for one that another agent made.
    launches_left: u32,
}

/// A connection to the supervisor of a running task.
#[derive(Debug)]
pub(crate) struct Connection {
    supervisors: Arc<Supervisors>,
    /// None once the supervisor is done with this task.
    link: Option<Link>,
    started: Started,
}

/// What became of a launch.
struct Answer {
    /// The supervisor, once it held the lock.
    begun: Option<Identity>,
    event: Result<io::Result<Option<Event>>, Elapsed>,
}

impl Answer {
    /// The supervisor was gone before it had looked at the launch, as far as one can see.
    fn is_unheard(&self) -> bool {
        self.begun.is_none() && matches!(self.event, Ok(Ok(None) | Err(_)))
    }
}

impl Supervisors {
    /// Of the directory at `run_dir`; new ones are started from the program at `executable`.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub(crate) fn open(run_dir: &Path, executable: &Path) -> io::Result<Self> {
        let addresses = Addresses::of(run_dir)?;
        let cgroup = kept_group(&run_dir.join(CGROUP_FILE))
            .or_else(|| Cgroup::below_own(&format!("trivet-{}", addresses.key())));
        if let Some(group) = &cgroup {
            keep_group(&run_dir.join(CGROUP_FILE), group);
        }
        let name = format!("trivet-{}", addresses.key());
        let unified = cgroup.as_ref().map(Cgroup::path);
        Ok(Self {
            controllers: Controllers::below_own(&name, unified),
            locks: Locks::create(&run_dir.join(LOCK_FILE))?,
            run_dir: run_dir.to_owned(),
            fork_server: ForkServer::new(executable.to_owned()),
            addresses,
            cgroup,
            earlier: Mutex::default(),
            idle: Mutex::default(),
        })
    }

    /// Looks for every supervisor that an earlier agent left, and ends those that do not answer.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read, or a process cannot be ended.
    pub(crate) async fn earlier(self: &Arc<Self>) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        for address in self.addresses.listening(None)? {
            if let Ok(connection) = self.attach(&address).await {
                self.earlier.lock().insert(stem(connection.owner()));
                found.push(connection);
            }
        }
        let known: BTreeSet<i32> = found.iter().map(Connection::pid).collect();
        let locks = self.locks.holders()?;
        for (number, pid) in locks.into_iter().filter(|(_, pid)| !known.contains(pid)) {
            // It took its lock a moment ago, or it hangs: its agent is gone, so it need not come
            // into being.
            self.end_holder(number, pid).await?;
        }
        Ok(found)
    }

    /// Removes the exit files of all tasks but those in `known`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn forget_unknown(&self, known: &BTreeSet<Owner>) -> io::Result<()> {
        let known: BTreeSet<String> = known.iter().map(stem).collect();
        for entry in fs::read_dir(&self.run_dir)? {
            let path = entry?.path();
            let is_exit = path.extension().is_some_and(|kind| kind == "exit");
            let of_known = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| known.contains(stem));
            if is_exit && !of_known {
                fs::remove_file(path).ok();
            }
        }
        Ok(())
    }

    /// Starts a task below a new supervisor.
    ///
    /// # Errors
    /// [`LaunchError`]. After any but [`LaunchError::Program`] the task may run: look for it.
    pub(crate) async fn start(
        self: &Arc<Self>,
        mut launch: Launch,
    ) -> Result<Connection, LaunchError> {
        launch.run_dir.clone_from(&self.run_dir);
        launch.cgroup = self.cgroup.as_ref().map(|group| group.path().to_owned());
        launch.controllers = self.controllers.clone();
        self.forget(&launch.owner);
        let number = lock_number(&stem(&launch.owner));
        let launch = Request::Start(Box::new(launch));
        let (mut link, mut answer) = match self.take_idle() {
            Some(mut link) => {
                let answer = link.launch(&launch).await;
                (link, answer)
            }
            None => self.launch_anew(&launch).await?,
        };
        // One that died while it was idle. The connection is closed first, so that a free lock says
        // that nothing came of the launch.
        if link.launches_left + 1 < RUNS_MAX && answer.is_unheard() {
            drop(link);
            if self.locks.holder(number)?.is_some() {
                return Err(LaunchError::Taken);
            }
            (link, answer) = self.launch_anew(&launch).await?;
        }
        if let (Ok(Ok(None) | Err(_)) | Err(_), Some(supervisor)) = (&answer.event, answer.begun) {
            // It died or hangs on the way; the task may be there, or a part of it.
            let tree = Tree {
                supervisor,
                task: supervisor,
                cgroup: None,
                controllers: Controllers::default(),
            };
            end_tree(&tree).await?;
        }
        match answer.event {
            Ok(Ok(Some(Event::Started(started)))) => Ok(Connection {
                supervisors: Arc::clone(self),
                link: Some(link),
                started: *started,
            }),
            Ok(Ok(Some(Event::Failed { reason }))) => Err(LaunchError::Program { reason }),
            Ok(Ok(Some(Event::Taken))) => Err(LaunchError::Taken),
            Ok(Ok(Some(Event::Ended(_) | Event::Begun { .. } | Event::Idle) | None)) => {
                Err(io::Error::other("it ended before it had started the task").into())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.fork_server.give_up();
                Err(io::Error::from(io::ErrorKind::TimedOut).into())
            }
        }
    }

    /// Hands a launch to a supervisor that is made for it.
    async fn launch_anew(&self, launch: &Request) -> io::Result<(Link, Answer)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        self.fork_server.supervise(OwnedFd::from(theirs))?;
        let mut link = Link::new(UnixStream::from_std(ours)?, RUNS_MAX);
        let answer = link.launch(launch).await;
        Ok((link, answer))
    }

    /// A supervisor that waits for a launch.
    fn take_idle(&self) -> Option<Link> {
        let mut idle = self.idle.lock();
        loop {
            let (_, mut link) = idle.pop()?;
            if link.is_open() {
                return Some(link);
            }
        }
    }

    /// Keeps a supervisor for the next launch, for a while.
    fn keep_idle(self: &Arc<Self>, link: Link) {
        let mut idle = self.idle.lock();
        if idle.len() >= IDLE_MAX {
            return;
        }
        idle.push((Instant::now(), link));
        if idle.len() == 1 {
            let supervisors = Arc::downgrade(self);
            // Ends when none is left.
            tokio::spawn(async move {
                loop {
                    sleep(IDLE_TIME).await;
                    let Some(supervisors) = supervisors.upgrade() else {
                        return;
                    };
                    let mut idle = supervisors.idle.lock();
                    idle.retain(|(since, _)| since.elapsed() < IDLE_TIME);
                    if idle.is_empty() {
                        return;
                    }
                }
            });
        }
    }

    /// Looks for a task: its supervisor, or the exit file that it left. When there is neither,
    /// whatever may be left of the task, by its control group and by `last`, is ended before this
    /// returns.
    ///
    /// # Errors
    /// When it cannot be told, or when processes of the task are left that cannot be ended. Then
    /// nothing may be started.
    pub(crate) async fn find(
        self: &Arc<Self>,
        owner: &Owner,
        last: Option<&Tree>,
    ) -> io::Result<Found> {
        let stem = stem(owner);
        let number = lock_number(&stem);
        let give_up = Instant::now() + faults::patience(GREETING_TIMEOUT);
        loop {
            let holder = self.locks.holder(number)?;
            if holder.is_none() && !self.earlier.lock().contains(&stem) {
                break;
            }
            for address in self.addresses.listening(Some(&stem))? {
                if let Ok(connection) = self.attach(&address).await {
                    return Ok(Found::Running(Box::new(connection)));
                }
            }
            match holder {
                None => {
                    self.earlier.lock().remove(&stem);
                    break;
                }
                Some(pid) if Instant::now() >= give_up => self.end_holder(number, pid).await?,
                Some(_) => sleep(LOOK_PAUSE).await,
            }
        }
        if let Some(exit) = self.read_exit(&stem) {
            return Ok(Found::Ended(exit));
        }
        if let Some(last) = last {
            end_tree(last).await?;
        }
        if let Some(group) = self.cgroup.as_ref().map(|group| group.child(&stem)) {
            end_group(&group).await?;
        }
        Ok(Found::Gone)
    }

    async fn attach(self: &Arc<Self>, address: &SocketAddr) -> io::Result<Connection> {
        let stream = StdStream::connect_addr(address)?;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        // Names in the kernel belong to nobody: somebody else may have taken this one.
        let uid = stream.peer_cred()?.uid();
        if uid != geteuid().as_raw() && uid != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut link = Link::new(stream, 0);
        match timeout(faults::patience(GREETING_TIMEOUT), link.next()).await?? {
            Some(Event::Started(started)) => Ok(Connection {
                supervisors: Arc::clone(self),
                link: Some(link),
                started: *started,
            }),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Ends the supervisor that holds a lock with whatever it may have started, which nothing else
    /// names yet when its task was starting.
    async fn end_holder(&self, number: u64, pid: i32) -> io::Result<()> {
        let holder = Identity::of(pid);
        if self.locks.holder(number)? != Some(pid) {
            return Ok(());
        }
        if let Some(supervisor) = holder {
            let tree = Tree {
                supervisor,
                task: supervisor,
                cgroup: None,
                controllers: Controllers::default(),
            };
            end_tree(&tree).await?;
        }
        if self.locks.holder(number)? == Some(pid) {
            return Err(cannot_end(&[pid]));
        }
        tracing::warn!(pid, "ended a supervisor that did not answer");
        Ok(())
    }

    /// Removes the exit file of a task.
    pub(crate) fn forget(&self, owner: &Owner) {
        let file = format!("{}.exit", stem(owner));
        fs::remove_file(self.run_dir.join(file)).ok();
    }

    fn read_exit(&self, stem: &str) -> Option<Exit> {
        let content = fs::read(self.run_dir.join(format!("{stem}.exit"))).ok()?;
        serde_json::from_slice(&content).ok()
    }
}

impl Connection {
    /// The run.
    pub(crate) fn run_id(&self) -> &str {
        &self.started.run_id
    }

    /// The task.
    pub(crate) fn owner(&self) -> &Owner {
        &self.started.owner
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> &Tree {
        &self.started.tree
    }

    /// The supervisor.
    fn pid(&self) -> i32 {
        self.started.tree.supervisor.pid
    }

    /// Sends a signal to the task's process.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(crate) async fn signal(&mut self, number: i32) -> io::Result<()> {
        self.send(&Request::Signal { number }).await
    }

    /// Asks the supervisor to end the task: `number` first, SIGKILL after `kill_timeout`.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(crate) async fn stop(&mut self, number: i32, kill_timeout: Duration) -> io::Result<()> {
        let timeout_ms = u64::try_from(kill_timeout.as_millis()).unwrap_or(u64::MAX);
        self.send(&Request::Stop { number, timeout_ms }).await
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        match &mut self.link {
            Some(link) => link.send(request).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Waits for the end of the task. Safe to cancel and to call again.
    pub(crate) async fn ended(&mut self) -> Exit {
        let Some(link) = &mut self.link else {
            return self.lost().await;
        };
        loop {
            match link.next().await {
                Ok(Some(Event::Ended(exit))) => return exit,
                Ok(Some(
                    Event::Started(_)
                    | Event::Failed { .. }
                    | Event::Taken
                    | Event::Begun { .. }
                    | Event::Idle,
                )) => {}
                Ok(None) | Err(_) => return self.lost().await,
            }
        }
    }

    /// Tells that the end was heard, and waits until the supervisor is gone or has nothing more to
    /// do with the task. It may serve another task only when the end was kept, too.
    pub(crate) async fn noted(&mut self, end: End) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let request = match end {
            End::Kept if link.launches_left > 0 => Request::Next,
            End::Kept | End::Heard => Request::Noted,
        };
        let told = link.send(&request).await;
        let gone = async {
            while let Ok(Some(event)) = link.next().await {
                if matches!(event, Event::Idle) {
                    return true;
                }
            }
            false
        };
        // One that hangs is found, and ended, before the task is started again.
        if timeout(KILL_TIMEOUT, gone).await == Ok(true) {
            self.supervisors.keep_idle(link);
        }
        if told.is_err() {
            self.supervisors.forget(self.owner());
        }
    }

    /// Ends supervisor and task at once, and waits until nothing is left.
    ///
    /// # Errors
    /// When a process cannot be ended.
    pub(crate) async fn end(self) -> io::Result<()> {
        end_tree(self.tree()).await
    }

    /// The supervisor is gone without a word: somebody killed it, and whatever is left of the task
    /// goes, too.
    async fn lost(&self) -> Exit {
        let exit = self.supervisors.read_exit(&stem(self.owner()));
        if let Some(exit) = exit.filter(|exit| exit.run_id == self.run_id()) {
            return exit;
        }
        if let Err(error) = end_tree(self.tree()).await {
            tracing::error!(alloc = %self.owner().alloc_id, task = %self.owner().task, %error, "a task outlives its supervisor");
        }
        Exit {
            run_id: self.run_id().to_owned(),
            ended: Ended {
                code: 137,
                signal: 9,
            },
            at: clock::now(),
            message: "the task's supervisor was killed".into(),
            is_out_of_memory: false,
        }
    }
}

impl Drop for Supervisors {
    fn drop(&mut self) {
        // With tasks in it, it is for the next agent of this directory.
        if let Some(group) = &self.cgroup {
            group.remove_empty();
        }
        self.controllers.remove_empty();
    }
}

/// The control group of an earlier agent, which may hold its tasks; none when there is none, or
/// none that can be used from here.
fn kept_group(file: &Path) -> Option<Cgroup> {
    if faults::is_without("cgroups") {
        return None;
    }
    let path = PathBuf::from(OsString::from_vec(fs::read(file).ok()?));
    let group = Cgroup::at(&path);
    (path.is_absolute() && path.is_dir() && group.create().is_ok()).then_some(group)
}

fn keep_group(file: &Path, group: &Cgroup) {
    let path = group.path().as_os_str().as_encoded_bytes();
    let is_kept = fs::read(file).is_ok_and(|kept| kept == path);
    if !is_kept && let Err(error) = write_atomic(file, path, Durability::Process) {
        tracing::warn!(file = %file.display(), %error, "an agent that is started elsewhere will not find the tasks' control groups");
    }
}

async fn end_tree(tree: &Tree) -> io::Result<()> {
    let give_up = Instant::now() + KILL_TIMEOUT;
    while tree.kill() == TreeEnd::Dying {
        if Instant::now() >= give_up {
            return Err(cannot_end(&tree.processes()));
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

async fn end_group(group: &Cgroup) -> io::Result<()> {
    let give_up = Instant::now() + KILL_TIMEOUT;
    while group.remove().is_err() {
        group.kill();
        if Instant::now() >= give_up {
            return Err(cannot_end(&group.processes()));
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

fn cannot_end(pids: &[i32]) -> io::Error {
    io::Error::other(format!(
        "processes {pids:?} of an earlier run cannot be ended; nothing is started beside them"
    ))
}

impl Link {
    fn new(stream: UnixStream, launches_left: u32) -> Self {
        let (read, requests) = stream.into_split();
        Self {
            events: BufReader::new(read).lines(),
            requests,
            launches_left,
        }
    }

    /// Sends a launch and waits until the task runs, or does not.
    async fn launch(&mut self, launch: &Request) -> Answer {
        self.launches_left = self.launches_left.saturating_sub(1);
        let mut begun = None;
        let started = async {
            self.send(launch).await?;
            faults::point("launch.sent");
            let mut event = self.next().await?;
            if let Some(Event::Begun { supervisor }) = event {
                begun = Some(supervisor);
                event = self.next().await?;
            }
            Ok(event)
        };
        let event = timeout(faults::patience(GREETING_TIMEOUT), started).await;
        Answer { begun, event }
    }

    /// False when the other side is known to be gone.
    fn is_open(&mut self) -> bool {
        let mut nothing = [0];
        let read = self.events.get_ref().get_ref().try_read(&mut nothing);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        if line.len() >= MESSAGE_BYTES_MAX {
            return Err(io::Error::other("the task's environment is too large"));
        }
        line.push(b'\n');
        self.requests.write_all(&line).await
    }

    async fn next(&mut self) -> io::Result<Option<Event>> {
        match self.events.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => Ok(None),
        }
    }
}
