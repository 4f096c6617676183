use super::{OUTPUT_BYTES_MAX, critical, is_no_verdict};
use crate::sys::processes;
use jobs::model::ServiceCheck;
use mesh::{health::Outcome, model::Status};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe, process::Command, time::timeout};

/// The task that a script runs in.
#[derive(Clone, Debug)]
pub(in crate::client) struct ScriptContext {
    /// Working directory: the task's.
    pub(in crate::client) dir: PathBuf,
    /// The task's environment.
    pub(in crate::client) env: BTreeMap<String, String>,
    /// The task's user; empty for the agent's own.
    pub(in crate::client) user: String,
}

/// Exit code 0 is passing, 1 warning, everything else critical. The script and all that it started are
/// killed when it takes too long. None when this process could not try.
pub(super) async fn check(
    spec: &ServiceCheck,
    task: &ScriptContext,
    limit: Duration,
) -> Option<Outcome> {
    match run(spec, task, limit).await {
        Ok(outcome) => Some(outcome),
        Err(error) if is_no_verdict(&error) => None,
        Err(error) => Some(critical(&format!(
            "could not run `{}`: {error}",
            spec.command
        ))),
    }
}

async fn run(spec: &ServiceCheck, task: &ScriptContext, limit: Duration) -> io::Result<Outcome> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&spec.command);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&task.env)
        .current_dir(&task.dir)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    if !task.user.is_empty() {
        let (uid, gid) = processes::user_ids(&task.user)?;
        command.uid(uid).gid(gid);
    }
    let mut child = command.spawn()?;
    // The command holds the writing end; without it the reader sees the end.
    drop(command);
    let group = child.id().and_then(|pid| i32::try_from(pid).ok());
    let mut output = Tail::default();
    let mut reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let ended = timeout(limit, async {
        output.read_from(&mut reader).await;
        child.wait().await
    })
    .await;
    if ended.is_err()
        && let Some(group) = group
    {
        // The child is not collected before the wait below, so the number is still its own.
        processes::signal_group(group, nix::libc::SIGKILL).ok();
        child.wait().await?;
    }
    let Ok(status) = ended else {
        let seconds =
            super::super::task::go_duration(i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX));
        return Ok(critical(&format!(
            "Timed out ({seconds}) running check\n\n{}",
            output.text()
        )));
    };
    Ok(Outcome {
        status: match status?.code() {
            Some(0) => Status::Passing,
            Some(1) => Status::Warning,
            _ => Status::Critical,
        },
        output: output.text(),
    })
}

/// The last bytes of an output, and how many there were.
#[derive(Default)]
struct Tail {
    kept: VecDeque<u8>,
    bytes: usize,
}

impl Tail {
    async fn read_from(&mut self, reader: &mut pipe::Receiver) {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut chunk).await {
            self.bytes = self.bytes.saturating_add(read);
            self.kept.extend(chunk.iter().take(read));
            let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
            self.kept.drain(..surplus);
        }
    }

    fn text(&self) -> String {
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
