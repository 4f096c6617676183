//! Collects what waits while an entry is written, and writes it as the next entry.

use futures_util::{FutureExt as _, future::join_all};
use openraft::error::{ClientWriteError, Fatal, RaftError};
use std::{
    collections::{BTreeSet, VecDeque},
    panic::AssertUnwindSafe,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::super::{
    super::state::{Command, Outcome},
    propose::{ProposeError, now},
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
/// How long a caller waits for its answer. Without a quorum there is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

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
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(ProposeError::Stopped),
            Err(_) => return Err(ProposeError::Busy),
        }
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|_| ProposeError::Stopped)?,
            Err(_) => Err(ProposeError::Timeout {
                waited: ANSWER_TIMEOUT,
            }),
        }
    }

    /// Writes commands in order, in as few entries as they fit.
    pub(super) async fn propose_all(&self, commands: Vec<Command>) -> Vec<Answer> {
        join_all(commands.into_iter().map(|command| self.propose(command))).await
    }
}

/// What the proposer works with.
pub(super) struct Proposer {
    pub(super) raft: openraft::Raft<Types>,
}

/// Starts the one loop that writes entries. It ends when every queue handle is gone.
pub(super) fn start(proposer: Proposer) -> Queue {
    let (sender, mut requests) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(async move {
        // A panic loses the entry at hand, whose callers are told, and nothing else.
        while AssertUnwindSafe(proposer.run(&mut requests))
            .catch_unwind()
            .await
            .is_err()
        {
            tracing::error!("the proposer panicked and is started again");
        }
    });
    Queue(sender)
}

impl Proposer {
    async fn run(&self, requests: &mut mpsc::Receiver<Request>) {
        let mut waiting = VecDeque::new();
        let mut arrived = Vec::with_capacity(BATCH_MAX);
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
            let (proposals, replies) = batch
                .into_iter()
                .map(|request| (request.proposal, request.reply))
                .unzip();
            let entry = Batch {
                now: now(),
                proposals,
            };
            write(&self.raft, entry, replies).await;
        }
    }
}

/// As many requests as fit one entry, at least one. Two commands that make a version of the same
/// row are not in one entry: its index tells one version of a row.
fn next_batch(waiting: &mut VecDeque<Request>) -> Vec<Request> {
    let mut bytes = 0;
    let mut batch = Vec::new();
    let mut rows = BTreeSet::new();
    while let Some(request) = waiting.front() {
        bytes += request.proposal.len();
        let is_full = bytes > BATCH_BYTES_MAX || batch.len() >= BATCH_MAX;
        let own = request.proposal.rows();
        if !batch.is_empty() && (is_full || own.iter().any(|row| rows.contains(row))) {
            break;
        }
        rows.extend(own.iter().cloned());
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
                error => ProposeError::Storage {
                    reason: error.to_string().into(),
                },
            };
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registration::Version;

    #[tokio::test(start_paused = true)]
    async fn without_a_quorum_each_proposal_gets_its_error_in_time() {
        let (sender, _nobody) = mpsc::channel(1);
        let queue = Queue(sender);
        let command = || Command::RaiseVersion { to: Version::FIRST };
        let started = tokio::time::Instant::now();
        let answers = queue.propose_all(vec![command(), command()]).await;
        assert!(started.elapsed() <= ROOM_TIMEOUT + ANSWER_TIMEOUT);
        let [written, waiting] = &answers[..] else {
            panic!("{answers:?}");
        };
        let waited = ANSWER_TIMEOUT;
        assert_eq!(*written, Err(ProposeError::Timeout { waited }));
        assert_eq!(*waiting, Err(ProposeError::Busy));
    }
}
