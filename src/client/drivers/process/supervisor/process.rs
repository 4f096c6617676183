use super::{Event, Exit, Launch, MESSAGE_BYTES_MAX, Request, rotation::Rotation};
use crate::sys::{
    clock, descriptors,
    files::{Durability, write_atomic},
    processes::{self, Identity},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, PipeReader, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    process::{ExitCode, Stdio},
};

/// Agents that may be connected at a time; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 8;
/// Bytes read from a pipe or a connection in one go.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long the end of killed processes is waited for, nanoseconds. Only a process that hangs in the kernel
/// takes longer.
const KILL_WAIT_NS: i64 = 5_000_000_000;
/// Pause between two looks at processes that were killed.
const KILL_LOOK_MS: u16 = 5;

/// Runs the supervisor: reads a launch from standard input and stays until the task has ended.
pub fn main() -> ExitCode {
    processes::detach();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads what a supervisor prints; the agent sees the connection end.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> io::Result<()> {
    let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let mut agent = UnixStream::from(input);
    let launch = read_launch(&agent)?;
    match Supervisor::start(launch, &agent) {
        Ok(supervisor) => supervisor.run(),
        Err(error) => send(
            &mut agent,
            &Event::Failed {
                reason: error.to_string(),
            },
        ),
    }
}

fn read_launch(agent: &UnixStream) -> io::Result<Launch> {
    let mut line = Vec::new();
    BufReader::new(agent.take(MESSAGE_BYTES_MAX as u64)).read_until(b'\n', &mut line)?;
    match serde_json::from_slice(&line)? {
        Request::Start(launch) => Ok(*launch),
        Request::Signal { .. } | Request::Stop { .. } => {
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
}

struct Supervisor {
    launch: Launch,
    listener: UnixListener,
    connections: Vec<Connection>,
    outputs: Vec<Output>,
    child_signals: OwnedFd,
    task: Identity,
    /// When to kill the task, by the monotonic clock.
    kill_at_ns: Option<i64>,
}

impl Supervisor {
    fn start(launch: Launch, agent: &UnixStream) -> io::Result<Self> {
        // A socket's path is limited to 108 bytes; from inside the directory the name alone is enough.
        env::set_current_dir(&launch.run_dir)?;
        let socket = format!("{}.sock", launch.stem);
        fs::remove_file(&socket).or_else(if_missing)?;
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let child_signals = processes::child_signals()?;
        let started = spawn(&launch);
        if started.is_err() {
            fs::remove_file(&socket).ok();
        }
        let (task, outputs) = started?;
        let mut supervisor = Self {
            launch,
            listener,
            connections: Vec::new(),
            outputs,
            child_signals,
            task,
            kill_at_ns: None,
        };
        supervisor.adopt(agent.try_clone()?);
        Ok(supervisor)
    }

    fn adopt(&mut self, mut stream: UnixStream) {
        let started = Event::Started {
            run_id: self.launch.run_id.clone(),
            process: self.task,
        };
        if stream.set_nonblocking(true).is_ok() && send(&mut stream, &started).is_ok() {
            self.connections.push(Connection {
                stream,
                received: Vec::new(),
            });
        }
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.move_output();
            self.hear_agents();
            if self
                .kill_at_ns
                .is_some_and(|at| clock::monotonic_ns() >= at)
            {
                self.kill_at_ns = None;
                processes::signal_group(self.task.pid, nix::libc::SIGKILL).ok();
            }
            drain(&self.child_signals);
            let ended = processes::reap();
            if let Some((_, ended)) = ended.into_iter().find(|(pid, _)| *pid == self.task.pid) {
                return self.finish(ended);
            }
        }
    }

    /// Waits until something happens. Only what is worth waiting for is in the set, so an idle task costs nothing.
    fn wait(&self) -> io::Result<()> {
        let timeout = match self.kill_at_ns {
            None => PollTimeout::NONE,
            Some(at) => {
                let left_ms = (at - clock::monotonic_ns()).max(0) / 1_000_000 + 1;
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

    /// Moves what the task wrote so far into the log files. One chunk per stream and round, so that a task
    /// that writes without end cannot keep signals from being heard.
    fn move_output(&mut self) {
        let mut chunk = vec![0; CHUNK_BYTES];
        self.outputs.retain_mut(|output| {
            loop {
                match output.pipe.read(&mut chunk) {
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

    fn hear_agents(&mut self) {
        while self.connections.len() < CONNECTIONS_MAX
            && let Ok((stream, _)) = self.listener.accept()
        {
            self.adopt(stream);
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
            Request::Signal { number } => {
                processes::signal(self.task.pid, *number).ok();
            }
            Request::Stop { number, timeout_ms } => {
                processes::signal_group(self.task.pid, *number).ok();
                let timeout_ns = i64::try_from(*timeout_ms)
                    .unwrap_or(i64::MAX)
                    .saturating_mul(1_000_000);
                let at = clock::monotonic_ns().saturating_add(timeout_ns);
                self.kill_at_ns = Some(self.kill_at_ns.map_or(at, |sooner| sooner.min(at)));
            }
        }
    }

    /// Ends what the task left behind, takes its last output and writes down how it ended.
    fn finish(mut self, ended: processes::Ended) -> io::Result<()> {
        let at_ns = clock::now_ns();
        let give_up = clock::monotonic_ns() + KILL_WAIT_NS;
        while processes::has_children() && clock::monotonic_ns() < give_up {
            processes::kill_all_children(self.task.pid);
            let mut watched = [PollFd::new(self.child_signals.as_fd(), PollFlags::POLLIN)];
            poll(&mut watched, PollTimeout::from(KILL_LOOK_MS)).ok();
            drain(&self.child_signals);
            processes::reap();
        }
        self.take_last_output(give_up);
        let exit = Exit {
            run_id: self.launch.run_id.clone(),
            ended,
            at_ns,
            message: String::new(),
        };
        let file = format!("{}.exit", self.launch.stem);
        let content = serde_json::to_vec(&exit)?;
        let written = write_atomic(file.as_ref(), &content, Durability::Process);
        let event = Event::Ended(exit);
        for agent in &mut self.connections {
            send(&mut agent.stream, &event).ok();
        }
        fs::remove_file(format!("{}.sock", self.launch.stem)).ok();
        written
    }

    /// Every writer is dead, so each pipe holds a bounded rest and then its end.
    fn take_last_output(&mut self, give_up_ns: i64) {
        while !self.outputs.is_empty() && clock::monotonic_ns() < give_up_ns {
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
            if self.received.len() > CHUNK_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            requests.push(serde_json::from_slice(&line)?);
        }
        Ok(())
    }
}

/// Starts the task with its output connected to the log files.
fn spawn(launch: &Launch) -> io::Result<(Identity, Vec<Output>)> {
    let mut outputs = Vec::new();
    let (stdout, stderr) = match &launch.logs {
        None => (Stdio::null(), Stdio::null()),
        Some(logs) => {
            let mut stream = |name| -> io::Result<Stdio> {
                let log = Rotation::open(logs, name)?;
                let (pipe, writer) = io::pipe()?;
                nonblocking(&pipe)?;
                outputs.push(Output { pipe, log });
                Ok(writer.into())
            };
            (stream("stdout")?, stream("stderr")?)
        }
    };
    if let Some(descriptors_max) = launch.descriptors_max {
        descriptors::lower(descriptors_max);
    }
    let child = processes::spawn_task(&launch.process, stdout, stderr)?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // It is not collected before `reap`, so it has an identity even if it ended already.
    let task = Identity::of(pid).ok_or_else(|| io::Error::other("the task has no process"))?;
    Ok((task, outputs))
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

fn if_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}
