//! Copies what a container writes into the log files of its task.

use super::daemon::Daemon;
use crate::drivers::{LogFiles, rotation::Rotation};
use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use sys::{
    files::{Durability, write_atomic},
    threads::Threads,
};
use tokio::time::{Instant, sleep};

/// Pieces that are written together.
const BATCH_MAX: usize = 64;
/// Pause before the output of a daemon that went away is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often it is kept how far the copy is.
const KEEP_EVERY: Duration = Duration::from_millis(100);

/// What is copied, and where to.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) daemon: Arc<Daemon>,
    /// The container.
    pub(super) id: String,
    pub(super) files: LogFiles,
    /// Keeps how far the copy is, for the next agent.
    pub(super) mark: PathBuf,
    pub(super) threads: Threads,
}

/// Streams in the order of their files.
type Streams = [Rotation; 2];

/// A piece for one of the streams.
struct Piece {
    stream: usize,
    bytes: Bytes,
}

impl Copy {
    /// Until the container has ended and everything is written.
    pub(super) async fn run(self) {
        let files = self.files.clone();
        let open = move || Rotation::open(&files, ["stdout", "stderr"]);
        let mut streams: Streams = match self.threads.run(open).await {
            Ok(streams) => streams,
            Err(error) => {
                tracing::error!(container = self.id, %error, "the log files of a task cannot be opened");
                return;
            }
        };
        let mut copied = self.read_mark();
        loop {
            match self.follow(streams, &mut copied).await {
                Ok(back) => streams = back,
                Err(error) => {
                    tracing::error!(container = self.id, %error, "the output of a task cannot be written");
                    return;
                }
            }
            if !self.is_going_on().await {
                break;
            }
            sleep(RETRY_PAUSE).await;
        }
        std::fs::remove_file(&self.mark).ok();
    }

    /// One request for the output, until the daemon ends it. `copied` is the time of the last piece
    /// that was written.
    async fn follow(&self, mut streams: Streams, copied: &mut String) -> io::Result<Streams> {
        let Ok(api) = self.daemon.following().await else {
            return Ok(streams);
        };
        let options = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(second(copied))
            .build();
        let mut output = std::pin::pin!(api.logs(&self.id, Some(options)));
        let mut kept_at = Instant::now();
        while let Some(first) = output.next().await {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(piece) = next {
                let Ok(piece) = piece else { return Ok(streams) };
                batch.extend(new_piece(piece, copied));
                next = if batch.len() < BATCH_MAX {
                    output.next().now_or_never().flatten()
                } else {
                    None
                };
            }
            let write = move || {
                for piece in batch {
                    if let Some(log) = streams.get_mut(piece.stream) {
                        // A full disk loses output; it must not stop the task.
                        log.write(&piece.bytes).ok();
                    }
                }
                Ok(streams)
            };
            streams = self.threads.run(write).await?;
            if kept_at.elapsed() >= KEEP_EVERY {
                kept_at = Instant::now();
                self.keep_mark(copied);
            }
        }
        self.keep_mark(copied);
        Ok(streams)
    }

    /// True unless the container has ended or is gone.
    async fn is_going_on(&self) -> bool {
        let Ok(api) = self.daemon.api().await else {
            return true;
        };
        match api.inspect_container(&self.id, None).await {
            Ok(found) => found.state.and_then(|state| state.running) == Some(true),
            Err(error) => self.daemon.failure(error).is_silent(),
        }
    }

    fn read_mark(&self) -> String {
        std::fs::read_to_string(&self.mark).unwrap_or_default()
    }

    fn keep_mark(&self, copied: &str) {
        write_atomic(&self.mark, copied.as_bytes(), Durability::Process).ok();
    }
}

/// What of a piece was not written yet: its time stands before it.
fn new_piece(piece: LogOutput, copied: &mut String) -> Option<Piece> {
    let (stream, bytes) = match piece {
        LogOutput::StdErr { message } => (1, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => (0, message),
        LogOutput::StdIn { .. } => return None,
    };
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(bytes.get(..end)?).ok()?;
    // Times of the same length and zone are ordered as texts are.
    if normal(time) <= normal(copied) {
        return None;
    }
    time.clone_into(copied);
    Some(Piece {
        stream,
        bytes: bytes.slice(end + 1..),
    })
}

/// A time with all nine digits behind the second, of which the daemon leaves out zeros.
fn normal(time: &str) -> String {
    let time = time.trim_end_matches('Z');
    let (whole, part) = time.split_once('.').unwrap_or((time, ""));
    format!("{whole}.{part:0<9}")
}

/// Seconds since the epoch; 0 for no time.
fn second(time: &str) -> i32 {
    let parsed = time.parse::<jiff::Timestamp>();
    parsed.map_or(0, |time| i32::try_from(time.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_written_once_and_without_its_time() {
        let mut copied = String::new();
        let mut take = |text: &'static str| {
            let message = Bytes::from_static(text.as_bytes());
            let piece = new_piece(LogOutput::StdErr { message }, &mut copied);
            piece.map(|piece| String::from_utf8(piece.bytes.to_vec()).unwrap())
        };
        let first = "2026-11-22T03:00:00.5Z one\n";
        assert_eq!(take(first).unwrap(), "one\n");
        assert_eq!(take(first), None);
        assert_eq!(take("2026-11-22T03:00:00.499999999Z zero\n"), None);
        assert_eq!(
            take("2026-11-22T03:00:00.500000001Z a b\n").unwrap(),
            "a b\n"
        );
        assert_eq!(take("2026-11-22T03:00:01Z \n").unwrap(), "\n");
        assert_eq!(second("2026-11-22T03:00:01.25Z"), 1_795_316_401);
        assert_eq!(second(""), 0);
    }
}
