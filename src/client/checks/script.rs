use super::{OUTPUT_BYTES_MAX, critical, is_no_verdict};
use crate::drivers::{Driver, Exec, Execution, execute};
use jobs::model::{ServiceCheck, Span, TaskConfig};
use mesh::{health::Outcome, model::Status};
use nix::unistd;
use std::{
    collections::{BTreeMap, VecDeque},
    env, io,
    io::PipeWriter,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use sys::processes;
use tokio::{io::AsyncReadExt, net::unix::pipe, time::timeout};

/// Reads of 4 KiB that empty a pipe, which holds 64 KiB unless somebody made it larger.
const PIPE_READS_MAX: usize = 256;

/// The task that a script runs in.
#[derive(Clone, Debug)]
pub(crate) struct ScriptContext {
    /// The task's driver.
    pub(crate) driver: Arc<dyn Driver>,
    /// Its run, as the driver finds it.
    pub(crate) handle: Option<String>,
    /// Its configuration.
    pub(crate) config: TaskConfig,
    /// The file of its network namespace; none for that of the host.
    pub(crate) network: Option<PathBuf>,
    /// Working directory: the task's.
    pub(crate) dir: PathBuf,
    /// The task's environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The task's user; empty for the agent's own.
    pub(crate) user: String,
}

/// Exit code 0 is passing, 1 warning, everything else critical. The script and all that it started
/// are killed when it ends, when it takes too long, and when nobody waits for it any more. None
/// when this process could not try.
pub(super) async fn check(
    spec: &ServiceCheck,
    task: &ScriptContext,
    limit: Duration,
) -> Option<Outcome> {
    let ran = run_in(task, &spec.command, &spec.args, limit).await;
    told(&spec.command, ran.map(Ran::outcome))
}

/// Runs a command in a task to its end. It, and all that it started, is killed then, and when it
/// takes too long.
///
/// # Errors
/// Why it did not end with code 0, with the end of its output.
pub(crate) async fn run_script(
    task: &ScriptContext,
    command: &str,
    args: &[String],
    limit: Duration,
) -> Result<(), String> {
    match run_in(task, command, args, limit).await {
        Ok(Ran::Ended { code: Some(0), .. }) => Ok(()),
        Ok(Ran::Ended { code, output }) => {
            let ended = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
            Err(format!("it ended by {ended}: {}", output.trim()))
        }
        Ok(Ran::TimedOut { limit, .. }) => Err(format!("it took more than {}", Span::from(limit))),
        Err(error) => Err(error.to_string()),
    }
}

async fn run_in(
    task: &ScriptContext,
    command: &str,
    args: &[String],
    limit: Duration,
) -> io::Result<Ran> {
    let start = async |output: PipeWriter| {
        let exec = Exec {
            handle: task.handle.clone(),
            config: task.config.clone(),
            network: task.network.clone(),
            command: command.to_owned(),
            args: args.to_vec(),
            dir: task.dir.clone(),
            env: task.env.clone(),
            user: task.user.clone(),
            input: None,
            errors: output.try_clone()?,
            output,
            terminal: None,
        };
        task.driver.exec(exec).await
    };
    run(start, limit).await
}

/// As [`check`], for a program of the machine, with the agent's own environment.
pub(super) async fn check_local(args: &[String], limit: Duration) -> Option<Outcome> {
    let (command, _) = args.split_first()?;
    told(command, run_local(args, limit).await.map(Ran::outcome))
}

/// The program that speaks for the machine's service manager.
pub(super) const SERVICE_MANAGER: &[&str] = &["systemctl"];

/// What `manager` says of a service of the machine: passing when it is active, warning when it is
/// about to be.
pub(super) async fn check_os_service(
    manager: &[&str],
    name: &str,
    limit: Duration,
) -> Option<Outcome> {
    let args = manager.iter().copied().chain(["is-active", "--", name]);
    let args: Vec<String> = args.map(str::to_owned).collect();
    let ran = run_local(&args, limit).await;
    let ran = match ran {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let reason = "this machine has no `systemctl`, so nothing says how its services are";
            return Some(critical(reason));
        }
        Err(error) => return told("systemctl", Err(error)),
        Ok(ran) => ran,
    };
    let Ran::Ended { output, .. } = &ran else {
        return Some(ran.outcome());
    };
    let said = output.trim();
    let status = match said {
        "active" | "reloading" => Status::Passing,
        "activating" => Status::Warning,
        _ => Status::Critical,
    };
    let is_state = !said.is_empty() && said.chars().all(char::is_alphabetic);
    let verb = if is_state { " is" } else { ":" };
    Some(Outcome {
        status,
        output: format!("Service {name}{verb} {said}"),
    })
}

async fn run_local(args: &[String], limit: Duration) -> io::Result<Ran> {
    let Some((command, args)) = args.split_first() else {
        return Err(io::Error::other("no program is named"));
    };
    let dir = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let start = async |output: PipeWriter| {
        execute(Exec {
            handle: None,
            config: TaskConfig::default(),
            network: None,
            command: command.clone(),
            args: args.to_vec(),
            dir,
            env: processes::environment(),
            user: String::new(),
            input: None,
            errors: output.try_clone()?,
            output,
            terminal: None,
        })
    };
    run(start, limit).await
}

fn told(command: &str, ran: io::Result<Outcome>) -> Option<Outcome> {
    match ran {
        Ok(outcome) => Some(outcome),
        Err(error) if is_no_verdict(&error) => None,
        Err(error) => Some(critical(&format!("could not run `{command}`: {error}"))),
    }
}

/// How a script ended.
enum Ran {
    /// By itself, with a code unless a signal ended it.
    Ended { code: Option<i32>, output: String },
    /// It took too long.
    TimedOut { limit: Duration, output: String },
}

impl Ran {
    fn outcome(self) -> Outcome {
        match self {
            Self::TimedOut { limit, output } => {
                let seconds = Span::from(limit);
                critical(&format!("Timed out ({seconds}) running check\n\n{output}"))
            }
            Self::Ended { code, output } => Outcome {
                status: by_code(code),
                output,
            },
        }
    }
}

/// What the code of a program says.
pub(super) fn by_code(code: Option<i32>) -> Status {
    match code {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        _ => Status::Critical,
    }
}

async fn run(
    start: impl AsyncFnOnce(PipeWriter) -> io::Result<Box<dyn Execution>>,
    limit: Duration,
) -> io::Result<Ran> {
    let (reader, writer) = io::pipe()?;
    let script = match timeout(limit, start(writer)).await {
        Ok(script) => script?,
        Err(_) => {
            let output = String::new();
            return Ok(Ran::TimedOut { limit, output });
        }
    };
    let mut output = Tail::default();
    let mut reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let ended = timeout(limit, async {
        tokio::select! {
            // What the script has left behind may hold the pipe; the script's own end is what
            // counts.
            () = script.ended() => {}
            () = output.read_from(&mut reader) => script.ended().await,
        }
    })
    .await;
    let status = script.kill_and_collect().await?;
    if ended.is_err() {
        let output = output.text();
        return Ok(Ran::TimedOut { limit, output });
    }
    output.read_rest(&reader);
    Ok(Ran::Ended {
        code: status.code(),
        output: output.text(),
    })
}

/// The last bytes of an output, and how many there were.
#[derive(Default)]
pub(super) struct Tail {
    kept: VecDeque<u8>,
    bytes: usize,
}

impl Tail {
    async fn read_from(&mut self, reader: &mut pipe::Receiver) {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut chunk).await {
            self.take(chunk.get(..read).unwrap_or_default());
        }
    }

    /// What is still in the pipe, without waiting for more.
    fn read_rest(&mut self, reader: &pipe::Receiver) {
        let mut chunk = [0; 4096];
        // Whoever escaped the group and still writes gets no more than this read. The pipe itself
        // is asked: the runtime may not have heard yet that there is something to read.
        for _ in 0..PIPE_READS_MAX {
            match unistd::read(reader, &mut chunk) {
                Ok(read @ 1..) => self.take(chunk.get(..read).unwrap_or_default()),
                Ok(0) | Err(_) => return,
            }
        }
    }

    pub(super) fn take(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len());
        self.kept.extend(data);
        let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.kept.drain(..surplus);
    }

    pub(super) fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        let text = String::from_utf8_lossy(&[front, back].concat()).into_owned();
        if self.bytes > self.kept.len() {
            let kept = self.kept.len();
            format!("Captured {kept} of {} bytes\n...\n{text}", self.bytes)
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn what_the_runtime_has_not_heard_of_yet_is_read_all_the_same() {
        let (reader, mut writer) = io::pipe().unwrap();
        let reader = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        writer.write_all(b"well\n").unwrap();
        let mut output = Tail::default();
        output.read_rest(&reader);
        assert_eq!(output.text(), "well\n");
    }
}
