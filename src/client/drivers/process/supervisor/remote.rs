//! The agent's side of a supervisor.

use super::{Event, Exit, Launch, MESSAGE_BYTES_MAX, Request, SUBCOMMAND};
use crate::sys::{
    clock,
    processes::{Ended, Identity},
};
use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// How long a supervisor may take to say that its task runs, or to greet an agent that comes back.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a task does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be executed; trying again gives the same.
    #[error("{reason}")]
    Program {
        /// Why.
        reason: String,
    },
    /// The supervisor could not be started.
    #[error("could not start the task's supervisor: {0}")]
    Supervisor(#[from] io::Error),
}

/// What an agent finds of a run that it knows of.
#[derive(Debug)]
pub enum Found {
    /// It still runs.
    Running(Box<Connection>),
    /// It ended meanwhile.
    Ended(Exit),
    /// There is no trace of it.
    Gone,
}

/// A connection to the supervisor of a running task.
#[derive(Debug)]
pub struct Connection {
    events: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
    run_id: String,
    process: Identity,
}

/// Starts `launch` below a new supervisor, which is `executable` with its hidden subcommand.
///
/// # Errors
/// [`StartError`].
pub async fn start(executable: &Path, launch: Launch) -> Result<Connection, StartError> {
    forget(&launch.run_dir, &launch.stem);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = tokio::process::Command::new(executable)
        .arg(SUBCOMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // The runtime collects it when it ends.
    drop(child);
    let (read, mut requests) = UnixStream::from_std(ours)?.into_split();
    let mut events = BufReader::new(read).lines();
    let started = async {
        send(&mut requests, &Request::Start(Box::new(launch))).await?;
        next(&mut events).await
    };
    match timeout(GREETING_TIMEOUT, started).await {
        Ok(Ok(Some(Event::Started { run_id, process }))) => Ok(Connection {
            events,
            requests,
            run_id,
            process,
        }),
        Ok(Ok(Some(Event::Failed { reason }))) => Err(StartError::Program { reason }),
        Ok(Ok(Some(Event::Ended(_)) | None)) => {
            Err(io::Error::other("it ended before it had started the task").into())
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// Looks for the run of the task that has `stem` in `run_dir`, after a restart of the agent.
pub async fn find(run_dir: &Path, stem: &str) -> Found {
    if let Ok(connection) = attach(run_dir, stem).await {
        return Found::Running(Box::new(connection));
    }
    // The file is complete before the socket goes.
    read_exit(run_dir, stem).map_or(Found::Gone, Found::Ended)
}

async fn attach(run_dir: &Path, stem: &str) -> io::Result<Connection> {
    // The path through the descriptor is short, whatever the length of the directory's own.
    let directory = fs::File::open(run_dir)?;
    let path = format!("/proc/self/fd/{}/{stem}.sock", directory.as_raw_fd());
    let stream = UnixStream::connect(path).await?;
    drop(directory);
    let (read, requests) = stream.into_split();
    let mut events = BufReader::new(read).lines();
    match timeout(GREETING_TIMEOUT, next(&mut events)).await?? {
        Some(Event::Started { run_id, process }) => Ok(Connection {
            events,
            requests,
            run_id,
            process,
        }),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Removes the exit file of a run that the agent has taken note of.
pub fn forget(run_dir: &Path, stem: &str) {
    fs::remove_file(run_dir.join(format!("{stem}.exit"))).ok();
}

fn read_exit(run_dir: &Path, stem: &str) -> Option<Exit> {
    let content = fs::read(run_dir.join(format!("{stem}.exit"))).ok()?;
    serde_json::from_slice(&content).ok()
}

impl Connection {
    /// The run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The task's process.
    pub fn process(&self) -> Identity {
        self.process
    }

    /// Sends a signal to the task's process.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn signal(&mut self, number: i32) -> io::Result<()> {
        send(&mut self.requests, &Request::Signal { number }).await
    }

    /// Asks the supervisor to end the task: `number` first, SIGKILL after `kill_timeout`.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn stop(&mut self, number: i32, kill_timeout: Duration) -> io::Result<()> {
        let timeout_ms = u64::try_from(kill_timeout.as_millis()).unwrap_or(u64::MAX);
        send(&mut self.requests, &Request::Stop { number, timeout_ms }).await
    }

    /// Waits for the end of the task. Safe to cancel and to call again.
    pub async fn ended(&mut self, run_dir: &Path, stem: &str) -> Exit {
        loop {
            match next(&mut self.events).await {
                Ok(Some(Event::Ended(exit))) => return exit,
                Ok(Some(Event::Started { .. } | Event::Failed { .. })) => {}
                Ok(None) | Err(_) => return self.lost(run_dir, stem),
            }
        }
    }

    /// The supervisor is gone without a word: somebody killed it, and the task went down with it.
    fn lost(&self, run_dir: &Path, stem: &str) -> Exit {
        if let Some(exit) = read_exit(run_dir, stem).filter(|exit| exit.run_id == self.run_id) {
            return exit;
        }
        self.process
            .signal_group(nix::sys::signal::Signal::SIGKILL)
            .ok();
        Exit {
            run_id: self.run_id.clone(),
            ended: Ended {
                code: 137,
                signal: 9,
            },
            at_ns: clock::now_ns(),
            message: "the task's supervisor was killed".into(),
        }
    }
}

async fn send(requests: &mut OwnedWriteHalf, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    if line.len() >= MESSAGE_BYTES_MAX {
        return Err(io::Error::other("the task's environment is too large"));
    }
    line.push(b'\n');
    requests.write_all(&line).await
}

async fn next(events: &mut Lines<BufReader<OwnedReadHalf>>) -> io::Result<Option<Event>> {
    match events.next_line().await? {
        Some(line) => Ok(Some(serde_json::from_str(&line)?)),
        None => Ok(None),
    }
}
