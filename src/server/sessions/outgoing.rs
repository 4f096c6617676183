//! What a stream carries to its agent.

use jobs::model::{Allocation, Index, NodeId};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

use super::{Agent, Core, history::Missing};
use crate::Snapshot;
use rpc::{
    frame::Frame,
    message::{Assignment, Position, RulesVersion, ToClient},
    traffic,
};

/// How long a full stream may stay full before it is given up.
const SLOW_TIMEOUT: Duration = Duration::from_secs(5);
/// Terminal allocations that a fresh stream mentions, the newest; the node may forget the others.
const TERMINAL_MAX: usize = 1000;

/// The agent reads nothing, or is gone.
struct Gone;

struct Outgoing<'a> {
    core: &'a Arc<Core>,
    agent: &'a Agent,
    stream: mpsc::Sender<Frame>,
    /// The catalog was sent up to here.
    catalog: Index,
    /// The node's allocations were sent up to here.
    allocs: Index,
}

/// Pushes until the stream ends or is too slow. `drained` are numbers of answered questions.
pub(super) async fn run(
    core: &Arc<Core>,
    agent: &Agent,
    stream: mpsc::Sender<Frame>,
    answers: mpsc::Receiver<ToClient>,
    drained: mpsc::Receiver<u64>,
) {
    let outgoing = Outgoing {
        core,
        agent,
        stream,
        catalog: 0,
        allocs: 0,
    };
    if outgoing.push_all(answers, drained).await.is_err() {
        tracing::debug!(agent_id = %agent.agent_id, "a stream ended or was too slow");
    }
}

impl Outgoing<'_> {
    async fn push_all(
        mut self,
        mut answers: mpsc::Receiver<ToClient>,
        mut drained: mpsc::Receiver<u64>,
    ) -> Result<(), Gone> {
        let mut newest = self.core.history.newest();
        self.begin().await?;
        let mut interval = self.core.traffic.interval();
        if *interval.borrow() != traffic::INTERVAL {
            interval.mark_changed();
        }
        loop {
            tokio::select! {
                changed = newest.changed() => {
                    changed.map_err(|_| Gone)?;
                    self.send_catalog().await?;
                }
                () = self.agent.stream.changed() => self.send_allocs().await?,
                Some(answer) = answers.recv() => self.send(answer).await?,
                Ok(()) = interval.changed(), if self.agent.counts => {
                    let interval = *interval.borrow_and_update();
                    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
                    self.send(ToClient::Count { interval_ms }).await?;
                }
                Some(number) = drained.recv() => self.send(ToClient::Drained { number }).await?,
            }
        }
    }

    /// Welcomes the agent and sends what it does not hold.
    async fn begin(&mut self) -> Result<(), Gone> {
        let lease_ms = u64::try_from(self.agent.lease.as_millis()).unwrap_or(u64::MAX);
        let history = self.core.history.id();
        self.send(ToClient::Welcome {
            lease_ms,
            history,
            rules: RulesVersion(self.agent.rules.number()),
            takes_traffic: true,
            servers: self.core.addresses(),
        })
        .await?;
        let snapshot = self.core.history.snapshot();
        let held = self.agent.held;
        let goes_on = held.history == history && held.catalog > 0;
        if goes_on {
            self.catalog = held.catalog;
            self.send_catalog().await?;
        } else {
            self.send_whole().await?;
        }
        self.send_list(&snapshot, if goes_on { held.allocs } else { 0 })
            .await
    }

    async fn send(&self, message: impl Into<Frame>) -> Result<(), Gone> {
        match timeout(SLOW_TIMEOUT, self.stream.send(message.into())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    fn position(&self, index: Index) -> Position {
        let term = self.core.raft.metrics().term;
        Position { term, index }
    }

    async fn send_whole(&mut self) -> Result<(), Gone> {
        let term = self.core.raft.metrics().term;
        let (frame, place) = self.core.history.whole(term).await;
        self.catalog = place;
        self.send(frame).await?;
        match self.core.history.after(place) {
            Missing::Messages(frames, place) => self.send_messages(frames, place).await,
            // It was outrun while it was made; the next change brings another one.
            Missing::Whole => Ok(()),
        }
    }

    async fn send_messages(&mut self, frames: Vec<Frame>, place: Index) -> Result<(), Gone> {
        for frame in frames {
            self.send(frame).await?;
        }
        self.catalog = place;
        Ok(())
    }

    /// Sends what the catalog went through since the last time.
    async fn send_catalog(&mut self) -> Result<(), Gone> {
        match self.core.history.after(self.catalog) {
            Missing::Messages(frames, place) => self.send_messages(frames, place).await,
            Missing::Whole => self.send_whole().await,
        }
    }

    /// Everything that the node should know, without the rows that did not change after `held`.
    async fn send_list(&mut self, snapshot: &Snapshot, held: Index) -> Result<(), Gone> {
        let Some(node_id) = self.agent.node_id else {
            return Ok(());
        };
        let known = known_allocs(snapshot, node_id);
        let ids = known.iter().map(|alloc| alloc.id).collect();
        let changed = known.into_iter().filter(|alloc| alloc.modify_index > held);
        self.allocs = snapshot.index;
        self.send(ToClient::Allocs {
            at: self.position(snapshot.index),
            known: Some(ids),
            assignments: changed.map(|alloc| assignment(alloc)).collect(),
            removed: Vec::new(),
        })
        .await
    }

    /// Sends what changed for the node since the last time, in the state that it has now. What the
    /// node itself reported is not sent back to it.
    async fn send_allocs(&mut self) -> Result<(), Gone> {
        // An agent should not act on an entry whose catalog changes it has not seen.
        self.send_catalog().await?;
        let unsent = self.agent.stream.take();
        let snapshot = self.core.history.snapshot();
        if unsent.complete {
            self.send_whole().await?;
            return self.send_list(&snapshot, 0).await;
        }
        let mut assignments = Vec::new();
        let mut removed = Vec::new();
        for id in unsent.allocs {
            match snapshot.jobs.alloc(id) {
                Some(alloc) if alloc.alloc_modify_index > self.allocs => {
                    assignments.push(assignment(alloc));
                }
                Some(_) => {}
                None => removed.push(id),
            }
        }
        if assignments.is_empty() && removed.is_empty() {
            return Ok(());
        }
        self.allocs = unsent.index;
        self.send(ToClient::Allocs {
            at: self.position(unsent.index),
            known: None,
            assignments,
            removed,
        })
        .await
    }
}

fn assignment(alloc: &Allocation) -> Assignment {
    Assignment {
        alloc: alloc.clone(),
        job: Arc::clone(&alloc.job),
    }
}

/// What a node should know when its stream begins.
fn known_allocs(snapshot: &Snapshot, node_id: NodeId) -> Vec<&Arc<Allocation>> {
    let (mut terminal, live): (Vec<_>, Vec<_>) = snapshot
        .jobs
        .allocs_of_node(node_id)
        .partition(|alloc| alloc.client_terminal());
    terminal.sort_by_key(|alloc| std::cmp::Reverse(alloc.modify_index));
    terminal.truncate(TERMINAL_MAX);
    live.into_iter().chain(terminal).collect()
}
