use super::{OUTPUT_BYTES_MAX, critical, is_no_verdict};
use crate::client::drivers::{Driver, Exec};
use jobs::model::{ServiceCheck, Span};
use mesh::{health::Outcome, model::Status};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe, time::timeout};

/// Reads of 4 KiB that empty a pipe, which holds 64 KiB unless somebody made it larger.
const PIPE_READS_MAX: usize = 256;

/// The task that a script runs in.
#[derive(Clone, Debug)]
pub(in crate::client) struct ScriptContext {
    /// The task's driver.
    pub(in crate::client) driver: Arc<dyn Driver>,
    /// Working directory: the task's.
    pub(in crate::client) dir: PathBuf,
    /// The task's environment.
    pub(in crate::client) env: BTreeMap<String, String>,
    /// The task's user; empty for the agent's own.
    pub(in crate::client) user: String,
}

/// Exit code 0 is passing, 1 warning, everything else critical. The script and all that it started
/// are killed when it ends, when it takes too long, and when nobody waits for it any more. None
/// when this process could not try.
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
    let script = task.driver.exec(Exec {
        command: spec.command.clone(),
        args: spec.args.clone(),
        dir: task.dir.clone(),
        env: task.env.clone(),
        user: task.user.clone(),
        output: writer,
    })?;
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
        let seconds = Span::from(limit);
        return Ok(critical(&format!(
            "Timed out ({seconds}) running check\n\n{}",
            output.text()
        )));
    }
    output.read_rest(&reader);
    Ok(Outcome {
        status: match status.code() {
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
            self.take(chunk.get(..read).unwrap_or_default());
        }
    }

    /// What is still in the pipe, without waiting for more.
    fn read_rest(&mut self, reader: &pipe::Receiver) {
        let mut chunk = [0; 4096];
        // Whoever escaped the group and still writes gets no more than this read.
        for _ in 0..PIPE_READS_MAX {
            match reader.try_read(&mut chunk) {
                Ok(read @ 1..) => self.take(chunk.get(..read).unwrap_or_default()),
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.bytes = self.bytes.saturating_add(data.len());
        self.kept.extend(data);
        let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.kept.drain(..surplus);
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
