use super::{
    Event, Exit, LOCK_FILE, Launch, MESSAGE_BYTES_MAX, Request, Started,
    address::{Addresses, lock_number, stem},
};
use crate::drivers::rotation::Rotation;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{Pid, geteuid},
};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, PipeReader, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};
use sys::{
    cgroups::Cgroup,
    clock::{self, Monotonic},
    descriptors, faults,
    files::{Durability, write_atomic},
    limits::Controllers,
    locks::Locks,
    processes::{self, Identity, Tree},
};

/// Agents that may be connected at a time; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 8;
/// Bytes read from a pipe in one go.
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// How long the end of killed processes is waited for. Only a process that hangs in the kernel
/// takes longer.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at processes that were killed.
const KILL_LOOK_MS: u16 = 5;
/// How long an agent may take to note the end before it is written to a file.
const NOTE_WAIT_MS: u16 = 10_000;
/// What is said of a task that used more memory than it may.
const OUT_OF_MEMORY: &str = "OOM Killed";
/// Pause between two attempts to write the end to a file.
const WRITE_AGAIN_MS: u16 = 1_000;

/// Reads a launch from `agent` and stays until the task has ended, again and again as long as the
/// agent wishes.
pub(super) fn run(mut agent: UnixStream) -> io::Result<()> {
    while let Some(launch) = read_launch(&agent)? {
        faults::point("supervisor.read");
        let supervisor = match Supervisor::start(launch, &agent) {
            Ok(supervisor) => supervisor,
            Err(NotStarted::Unwanted) => return Ok(()),
            Err(NotStarted::Taken) => return send(&mut agent, &Event::Taken),
            Err(NotStarted::Failed(error)) => {
                let reason = error.to_string();
                return send(&mut agent, &Event::Failed { reason });
            }
        };
        match supervisor.run()? {
            Some(idle) => agent = idle,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Why a supervisor starts nothing.
enum NotStarted {
    /// The agent gave the launch up.
    Unwanted,
    /// Another one holds the task's lock.
    Taken,
    /// It cannot be started.
    Failed(io::Error),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The next message, which is a launch; none when the agent wants no more of them, or is gone.
fn read_launch(agent: &UnixStream) -> io::Result<Option<Launch>> {
    let mut line = Vec::new();
    BufReader::new(agent.take(MESSAGE_BYTES_MAX as u64)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(&line)? {
        Request::Start(launch) => Ok(Some(*launch)),
        Request::Signal { .. } | Request::Stop { .. } | Request::Noted | Request::Next => {
            Err(io::Error::other("the first message is no launch"))
        }
    }
}

struct Output {
    pipe: PipeReader,
    log: Rotation,
}

struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    /// Its agent wants to launch another task here.
    wants_next: bool,
}

struct Supervisor {
    run_id: String,
    stem: String,
    /// What is said to every agent that connects.
    started: Event,
    tree: Tree,
    listener: UnixListener,
    connections: Vec<Connection>,
    outputs: Vec<Output>,
    child_signals: OwnedFd,
    /// When to kill the task, by the monotonic clock.
    kill_at: Option<Monotonic>,
    /// The agent knows how the run ended.
    is_noted: bool,
    /// Used again for each chunk of output.
    chunk: Vec<u8>,
    /// Held until this process ends.
    locks: Locks,
}

impl Supervisor {
    fn start(launch: Launch, agent: &UnixStream) -> Result<Self, NotStarted> {
        env::set_current_dir(&launch.run_dir)?;
        let stem = stem(&launch.owner);
        let locks = lock_file(&launch.run_dir)?;
        if !locks.take(lock_number(&stem))? {
            return Err(NotStarted::Taken);
        }
        faults::point("supervisor.locked");
        let myself = own_identity()?;
        let begun = Event::Begun { supervisor: myself };
        if send(&mut agent.try_clone()?, &begun).is_err() {
            return Err(NotStarted::Unwanted);
        }
        let address = Addresses::of(Path::new("."))?.of_run(&stem, &launch.run_id)?;
        let listener = UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        faults::point("supervisor.bound");
        let child_signals = processes::child_signals()?;
        let group = launch
            .cgroup
            .as_deref()
            .map(|base| Cgroup::at(base).child(&stem));
        // Without a group of its own the task is found by its session.
        let group = group.and_then(|group| group.create().ok().map(|joins| (group, joins)));
        if !locks.is_in_place() {
            return Err(lost_lock_file(&launch.run_dir).into());
        }
        // After the lock, so that whoever closed the connection and finds the lock free knows that
        // nothing starts.
        if is_closed(agent) {
            return Err(NotStarted::Unwanted);
        }
        let (path, joins) = group.map_or((None, None), |(group, joins)| {
            (Some(group.path().to_owned()), Some(joins))
        });
        let mut joins: Vec<fs::File> = joins.into_iter().collect();
        let mut controllers = Controllers::default();
        if let Some(limits) = &launch.limits {
            let (made, more) = launch.controllers.limit(&stem, limits)?;
            controllers = made;
            joins.extend(more);
        }
        let started = spawn(&launch, joins);
        if started.is_err() {
            if let Some(path) = &path {
                Cgroup::at(path).remove().ok();
            }
            controllers.remove();
        }
        let (task, outputs) = started?;
        faults::point("supervisor.spawned");
        let tree = Tree {
            supervisor: myself,
            task,
            cgroup: path,
            controllers,
        };
        let mut supervisor = Self {
            started: Event::Started(Box::new(Started {
                run_id: launch.run_id.clone(),
                owner: launch.owner,
                tree: tree.clone(),
            })),
            run_id: launch.run_id,
            stem,
            tree,
            listener,
            connections: Vec::new(),
            outputs,
            child_signals,
            kill_at: None,
            is_noted: false,
            chunk: Vec::new(),
            locks,
        };
        supervisor.adopt(agent.try_clone()?);
        faults::point("supervisor.greeted");
        Ok(supervisor)
    }

    fn adopt(&mut self, mut stream: UnixStream) -> bool {
        let told = stream.set_nonblocking(true).is_ok() && send(&mut stream, &self.started).is_ok();
        if told {
            self.connections.push(Connection {
                stream,
                received: Vec::new(),
                wants_next: false,
            });
        }
        told
    }

    /// Answers with the connection on which the next launch comes; none when this was the last one.
    fn run(mut self) -> io::Result<Option<UnixStream>> {
        loop {
            self.wait()?;
            self.move_output();
            self.hear_agents(None);
            if self.kill_at.is_some_and(|at| clock::monotonic() >= at) {
                self.kill_at = None;
                processes::signal_group(self.tree.task.pid, nix::libc::SIGKILL).ok();
            }
            drain(&self.child_signals);
            let ended = processes::reap();
            if let Some((_, ended)) = ended
                .into_iter()
                .find(|(pid, _)| *pid == self.tree.task.pid)
            {
                return self.finish(ended);
            }
        }
    }

    /// Waits until something happens. Only what is worth waiting for is in the set, so an idle task
    /// costs nothing.
    fn wait(&self) -> io::Result<()> {
        let timeout = match self.kill_at {
            None => PollTimeout::NONE,
            Some(at) => {
                let left_ms = (at - clock::monotonic()).as_millis() + 1;
                PollTimeout::from(u16::try_from(left_ms).unwrap_or(u16::MAX))
            }
        };
        let mut watched: Vec<BorrowedFd<'_>> = vec![self.child_signals.as_fd()];
        watched.extend(self.outputs.iter().map(|output| output.pipe.as_fd()));
        watched.extend(self.connections.iter().map(|agent| agent.stream.as_fd()));
        if self.connections.len() < CONNECTIONS_MAX {
            watched.push(self.listener.as_fd());
        }
        let mut watched: Vec<PollFd<'_>> = watched
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves what the task wrote so far into the log files. One chunk per stream and round, so that
    /// a task that writes without end cannot keep signals from being heard.
    fn move_output(&mut self) {
        self.chunk.resize(CHUNK_BYTES, 0);
        let chunk = &mut self.chunk;
        self.outputs.retain_mut(|output| {
            loop {
                match output.pipe.read(chunk) {
                    Ok(0) => return false,
                    // A full disk loses output; it must not stop the task.
                    Ok(bytes) => drop(output.log.write(chunk.get(..bytes).unwrap_or_default())),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                }
                return true;
            }
        });
    }

    /// Takes new connections, each of which hears of `ended` at once, and what the others ask for.
    fn hear_agents(&mut self, ended: Option<&Event>) {
        while self.connections.len() < CONNECTIONS_MAX
            && let Ok((stream, _)) = self.listener.accept()
        {
            if is_own(&stream)
                && self.adopt(stream)
                && let (Some(ended), Some(agent)) = (ended, self.connections.last_mut())
            {
                send(&mut agent.stream, ended).ok();
            }
        }
        let mut requests = Vec::new();
        self.connections
            .retain_mut(|agent| agent.receive(&mut requests).is_ok());
        for request in requests {
            self.on_request(&request);
        }
    }

    fn on_request(&mut self, request: &Request) {
        match request {
            Request::Start(_) => {}
            Request::Noted | Request::Next => self.is_noted = true,
            Request::Signal { number } => {
                processes::signal(self.tree.task.pid, *number).ok();
            }
            Request::Stop { number, timeout_ms } => {
                processes::signal_group(self.tree.task.pid, *number).ok();
                let at = clock::monotonic() + Duration::from_millis(*timeout_ms);
                self.kill_at = Some(self.kill_at.map_or(at, |sooner| sooner.min(at)));
            }
        }
    }

    /// Ends what the task left behind, takes its last output and tells how it ended. Answers as
    /// [`Supervisor::run`].
    fn finish(mut self, ended: processes::Ended) -> io::Result<Option<UnixStream>> {
        let at = clock::now();
        let give_up = clock::monotonic() + KILL_WAIT;
        let group = self.tree.cgroup.as_deref().map(Cgroup::at);
        let controllers = self.tree.controllers.clone();
        // Before the groups are removed, which know it.
        let is_out_of_memory = ended.signal != 0 && controllers.out_of_memory_kills() > 0;
        let is_empty = || {
            !processes::has_children()
                && group.as_ref().is_none_or(|group| group.remove().is_ok())
                && controllers.remove()
        };
        let mut is_clean = is_empty();
        while !is_clean && clock::monotonic() < give_up {
            processes::kill_all_children(self.tree.task.pid);
            if let Some(group) = &group {
                group.kill();
            }
            let mut watched = [PollFd::new(self.child_signals.as_fd(), PollFlags::POLLIN)];
            poll(&mut watched, PollTimeout::from(KILL_LOOK_MS)).ok();
            drain(&self.child_signals);
            processes::reap();
            is_clean = is_empty();
        }
        self.take_last_output(give_up);
        faults::point("supervisor.ended");
        let exit = Exit {
            run_id: self.run_id.clone(),
            ended,
            at,
            message: if is_out_of_memory {
                OUT_OF_MEMORY.into()
            } else {
                String::new()
            },
            is_out_of_memory,
        };
        let event = Event::Ended(exit.clone());
        self.connections
            .retain_mut(|agent| send(&mut agent.stream, &event).is_ok());
        faults::point("supervisor.told");
        self.until_noted(&exit, &event)?;
        let next = self.connections.iter().position(|agent| agent.wants_next);
        // What was left of one task must not be taken for something of another.
        let next = next.filter(|_| is_clean && self.outputs.is_empty());
        let mut next = next.map(|at| self.connections.swap_remove(at).stream);
        // In this order: an agent that sees its connection end, or idle, finds the lock free.
        drop(self.listener);
        drop(self.locks);
        drop(self.connections);
        if let Some(agent) = &mut next {
            env::set_current_dir("/")?;
            agent.set_nonblocking(false)?;
            send(agent, &Event::Idle)?;
        }
        Ok(next)
    }

    /// Waits until an agent has noted the end, or it stands in a file for the next one.
    fn until_noted(&mut self, exit: &Exit, event: &Event) -> io::Result<()> {
        let file = format!("{}.exit", self.stem);
        let content = serde_json::to_vec(exit)?;
        let mut patience_ms = NOTE_WAIT_MS;
        loop {
            if !self.connections.is_empty() {
                self.wait_for_agents(patience_ms)?;
                self.hear_agents(Some(event));
                if self.is_noted {
                    return Ok(());
                }
                if !self.connections.is_empty() && patience_ms == NOTE_WAIT_MS {
                    patience_ms = WRITE_AGAIN_MS;
                    continue;
                }
            }
            match write_atomic(file.as_ref(), &content, Durability::Process) {
                Ok(()) => return Ok(()),
                // The run directory is gone, and with it whoever might ask.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                // A full disk: stays to be asked, and tries again.
                Err(_) => {
                    patience_ms = WRITE_AGAIN_MS;
                    self.wait_for_agents(patience_ms)?;
                    self.hear_agents(Some(event));
                }
            }
        }
    }

    fn wait_for_agents(&self, timeout_ms: u16) -> io::Result<()> {
        let connections = self.connections.iter().map(|agent| agent.stream.as_fd());
        let mut watched: Vec<PollFd<'_>> = connections
            .chain([self.listener.as_fd()])
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut watched, PollTimeout::from(timeout_ms)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Every writer is dead, so each pipe holds a bounded rest and then its end.
    fn take_last_output(&mut self, give_up: Monotonic) {
        while !self.outputs.is_empty() && clock::monotonic() < give_up {
            self.move_output();
            let mut watched: Vec<PollFd<'_>> = self
                .outputs
                .iter()
                .map(|output| PollFd::new(output.pipe.as_fd(), PollFlags::POLLIN))
                .collect();
            poll(&mut watched, PollTimeout::from(KILL_LOOK_MS)).ok();
        }
    }
}

impl Connection {
    /// Reads what has arrived; an error when the agent is gone.
    fn receive(&mut self, requests: &mut Vec<Request>) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    self.received
                        .extend_from_slice(chunk.get(..bytes).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.received.len() > REQUEST_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            let request = serde_json::from_slice(&line)?;
            self.wants_next |= matches!(request, Request::Next);
            requests.push(request);
        }
        Ok(())
    }
}

/// Starts the task with its output connected to the log files.
fn spawn(launch: &Launch, joins: Vec<fs::File>) -> io::Result<(Identity, Vec<Output>)> {
    let mut outputs = Vec::new();
    let (stdout, stderr) = match &launch.logs {
        None => (nothing()?, nothing()?),
        Some(logs) => {
            let [stdout, stderr] = Rotation::open(logs, ["stdout", "stderr"])?;
            let mut stream = |log| -> io::Result<OwnedFd> {
                let (pipe, writer) = io::pipe()?;
                nonblocking(&pipe)?;
                outputs.push(Output { pipe, log });
                Ok(writer.into())
            };
            (stream(stdout)?, stream(stderr)?)
        }
    };
    if let Some(descriptors_max) = launch.descriptors_max {
        descriptors::lower(descriptors_max);
    }
    let pid = processes::spawn_task(&launch.process, stdout, stderr, joins)?;
    // It is not collected before `reap`, so it has an identity even if it ended already.
    let task = Identity::of(pid).ok_or_else(|| io::Error::other("the task has no process"))?;
    Ok((task, outputs))
}

/// Takes output and drops it.
fn nothing() -> io::Result<OwnedFd> {
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(null.into())
}

fn nonblocking(pipe: &PipeReader) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Empties a signal descriptor.
fn drain(descriptor: &OwnedFd) {
    let mut bytes = [0; 1024];
    while nix::unistd::read(descriptor, &mut bytes).is_ok_and(|read| read > 0) {}
}

fn send(stream: &mut UnixStream, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn lock_file(run_dir: &Path) -> io::Result<Locks> {
    Locks::open(Path::new(LOCK_FILE)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => lost_lock_file(run_dir),
        _ => error,
    })
}

fn lost_lock_file(run_dir: &Path) -> io::Error {
    io::Error::other(format!(
        "the lock file `{}` was removed or replaced while the agent runs; restart the agent, which makes it anew",
        run_dir.join(LOCK_FILE).display()
    ))
}

fn own_identity() -> io::Result<Identity> {
    Identity::of(Pid::this().as_raw()).ok_or_else(|| io::Error::other("no process table"))
}

/// True when the other side of the connection was closed.
fn is_closed(stream: &UnixStream) -> bool {
    let mut watched = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let ended = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut watched, PollTimeout::ZERO).is_ok()
        && watched
            .iter()
            .any(|one| one.revents().is_some_and(|found| found.intersects(ended)))
}

/// True when the other side belongs to this user or to root.
fn is_own(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
