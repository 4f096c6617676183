//! Collects what waits while an entry is written, and writes it as the next entry.

use openraft::error::{ClientWriteError, Fatal, RaftError};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::super::{
    super::state::{Command, Outcome},
    propose::{ProposeError, now_ns},
    published::Published,
};
use super::types::{Batch, Proposal, Types};
use jobs::model::Index;

/// Commands of one entry.
const BATCH_MAX: usize = 512;
/// Bytes of one entry, unless a single command is longer.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Bytes of one command.
pub(super) const COMMAND_BYTES_MAX: usize = 64 << 20;
/// Commands that may wait; further callers wait for room.
const QUEUE_MAX: usize = 8192;
/// How long a caller waits for room before it is told to come again.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// A snapshot is taken when the log grew by this many bytes, even when it has few entries.
const SNAPSHOT_BYTES: u64 = 64 << 20;

type Answer = Result<(Index, Outcome), ProposeError>;

struct Request {
    proposal: Proposal,
    reply: oneshot::Sender<Answer>,
}

/// Where callers hand in their commands.
#[derive(Clone, Debug)]
pub(super) struct Queue(mpsc::Sender<Request>);

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.proposal.fmt(f)
    }
}

impl Queue {
    /// Writes a command and answers when it is durable and applied.
    pub(super) async fn propose(&self, command: Command) -> Answer {
        let proposal = Proposal::new(command).map_err(|_| ProposeError::Encoding)?;
        if proposal.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLong {
                bytes: proposal.len(),
            });
        }
        let (reply, answer) = oneshot::channel();
        match timeout(ROOM_TIMEOUT, self.0.send(Request { proposal, reply })).await {
            Ok(Ok(())) => answer.await.map_err(|_| ProposeError::Stopped)?,
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_) => Err(ProposeError::Busy),
        }
    }
}

/// Starts the one loop that writes entries; `log_bytes` counts what was appended. It ends when every queue handle is gone.
pub(super) fn start(
    raft: openraft::Raft<Types>,
    log_bytes: Arc<AtomicU64>,
    published: Arc<Published>,
) -> Queue {
    let (sender, requests) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(run(raft, log_bytes, published, requests));
    Queue(sender)
}

async fn run(
    raft: openraft::Raft<Types>,
    log_bytes: Arc<AtomicU64>,
    published: Arc<Published>,
    mut requests: mpsc::Receiver<Request>,
) {
    let mut waiting = VecDeque::new();
    let mut arrived = Vec::with_capacity(BATCH_MAX);
    let mut last_now = published.current().now_ns;
    let mut snapshot_at = 0;
    loop {
        if waiting.is_empty() && requests.recv_many(&mut arrived, BATCH_MAX).await == 0 {
            return;
        }
        while arrived.len() + waiting.len() < BATCH_MAX
            && let Ok(request) = requests.try_recv()
        {
            arrived.push(request);
        }
        waiting.extend(arrived.drain(..));
        let batch = next_batch(&mut waiting);
        last_now = now_ns().max(last_now);
        let (proposals, replies) = batch
            .into_iter()
            .map(|request| (request.proposal, request.reply))
            .unzip();
        let entry = Batch {
            now: last_now,
            proposals,
        };
        write(&raft, entry, replies).await;
        let appended = log_bytes.load(Ordering::Relaxed);
        if appended - snapshot_at > SNAPSHOT_BYTES {
            snapshot_at = appended;
            if let Err(error) = raft.trigger().snapshot().await {
                tracing::warn!(%error, "cannot start a snapshot");
            }
        }
    }
}

/// As many requests as fit one entry, at least one.
fn next_batch(waiting: &mut VecDeque<Request>) -> Vec<Request> {
    let mut bytes = 0;
    let mut batch = Vec::new();
    while let Some(request) = waiting.front() {
        bytes += request.proposal.len();
        if !batch.is_empty() && (bytes > BATCH_BYTES_MAX || batch.len() >= BATCH_MAX) {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

async fn write(raft: &openraft::Raft<Types>, entry: Batch, replies: Vec<oneshot::Sender<Answer>>) {
    match raft.client_write(entry).await {
        Ok(response) => {
            let index = response.log_id.index;
            for (reply, outcome) in replies.into_iter().zip(response.data.0) {
                // A caller that gave up is not told.
                drop(reply.send(Ok((index, outcome))));
            }
        }
        Err(error) => {
            let error = match error {
                RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
                    ProposeError::NotLeader
                }
                RaftError::Fatal(Fatal::Stopped) => ProposeError::Stopped,
                error => {
                    tracing::error!(%error, "cannot write to the log");
                    ProposeError::Storage
                }
            };
            for reply in replies {
                drop(reply.send(Err(error)));
            }
        }
    }
}
