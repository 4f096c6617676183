//! What a stream carries to its agent.

use jobs::model::{Allocation, Index, NodeId};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::timeout,
};

use super::{Agent, Core};
use crate::{
    rpc::message::{Assignment, ToClient},
    server::{Snapshot, log::published::Commit, state::Stamp},
};

/// How long a full stream may stay full before it is given up.
const SLOW_TIMEOUT: Duration = Duration::from_secs(5);
/// Finished allocations that a fresh stream mentions, the newest; the node may forget the others.
const FINISHED_MAX: usize = 1000;

/// The agent reads too slowly, or is gone.
struct Gone;

struct Outgoing {
    stream: mpsc::Sender<ToClient>,
    /// An entry that changed nothing in the catalog and that the agent was not told of yet.
    untold: Option<Stamp>,
}

/// Pushes until the stream ends or is too slow.
pub(super) async fn run(
    core: &Arc<Core>,
    agent: &Agent,
    stream: mpsc::Sender<ToClient>,
    answers: mpsc::Receiver<ToClient>,
) {
    let outgoing = Outgoing {
        stream,
        untold: None,
    };
    if outgoing.push_all(core, agent, answers).await.is_err() {
        tracing::debug!(agent_id = %agent.agent_id, "a stream ended or was too slow");
    }
}

impl Outgoing {
    async fn push_all(
        mut self,
        core: &Arc<Core>,
        agent: &Agent,
        mut answers: mpsc::Receiver<ToClient>,
    ) -> Result<(), Gone> {
        let (mut commits, snapshot) = core.published.follow();
        let mut drained = core.data_planes.drained();
        drained.mark_changed();
        let lease_ms = u64::try_from(core.config.lease.as_millis()).unwrap_or(u64::MAX);
        self.send(ToClient::Welcome { lease_ms }).await?;
        self.send_snapshot(&snapshot, agent).await?;
        loop {
            tokio::select! {
                commit = commits.recv() => match commit {
                    Ok(commit) if commit.at.index <= snapshot.index => {}
                    Ok(commit) => {
                        self.send_commit(&commit, agent).await?;
                        if commits.is_empty() {
                            self.tell().await?;
                        }
                    }
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Gone),
                },
                Some(answer) = answers.recv() => self.send(answer).await?,
                changed = drained.changed() => {
                    let confirmation = drained.borrow_and_update().clone();
                    if changed.is_err() {
                        return Err(Gone);
                    }
                    self.send(ToClient::Drained(confirmation)).await?;
                }
            }
        }
    }

    async fn send(&self, message: ToClient) -> Result<(), Gone> {
        match timeout(SLOW_TIMEOUT, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    async fn send_snapshot(&self, snapshot: &Snapshot, agent: &Agent) -> Result<(), Gone> {
        let index = snapshot.index;
        let state = Box::new(snapshot.mesh.clone());
        self.send(ToClient::Catalog { index, state }).await?;
        let Some(node_id) = agent.node_id else {
            return Ok(());
        };
        self.send(ToClient::Allocs {
            index,
            complete: true,
            assignments: known_allocs(snapshot, node_id),
            removed: Vec::new(),
        })
        .await
    }

    async fn send_commit(&mut self, commit: &Commit, agent: &Agent) -> Result<(), Gone> {
        if commit.changes.mesh_commands.is_empty() {
            self.untold = Some(commit.at);
        } else {
            self.untold = None;
            self.send(ToClient::CatalogDelta {
                at: catalog_stamp(commit.at),
                commands: commit.changes.mesh_commands.clone(),
            })
            .await?;
        }
        let Some(node_id) = agent.node_id else {
            return Ok(());
        };
        if let Some(message) = alloc_delta(commit, node_id) {
            // An agent must not act on an entry whose catalog changes it has not seen.
            self.tell().await?;
            self.send(message).await?;
        }
        Ok(())
    }

    /// Says how far the log is, when entries without catalog changes were the last.
    async fn tell(&mut self) -> Result<(), Gone> {
        match self.untold.take() {
            Some(at) => {
                self.send(ToClient::CatalogDelta {
                    at: catalog_stamp(at),
                    commands: Vec::new(),
                })
                .await
            }
            None => Ok(()),
        }
    }
}

fn catalog_stamp(at: Stamp) -> mesh::state::Stamp {
    mesh::state::Stamp {
        index: at.index,
        now_ns: at.now_ns,
    }
}

fn assignment(alloc: &Allocation) -> Assignment {
    Assignment {
        alloc: alloc.clone(),
        job: Arc::clone(&alloc.job),
    }
}

/// What a node should know when its stream begins.
fn known_allocs(snapshot: &Snapshot, node_id: NodeId) -> Vec<Assignment> {
    let (mut finished, live): (Vec<_>, Vec<_>) = snapshot
        .jobs
        .allocs_of_node(node_id)
        .partition(|alloc| alloc.client_terminal());
    finished.sort_by_key(|alloc| std::cmp::Reverse(alloc.modify_index));
    finished.truncate(FINISHED_MAX);
    live.into_iter()
        .chain(finished)
        .map(|alloc| assignment(alloc))
        .collect()
}

/// What an entry changed for a node; none when nothing did. What the node itself reported is not sent
/// back to it.
fn alloc_delta(commit: &Commit, node_id: NodeId) -> Option<ToClient> {
    let index: Index = commit.at.index;
    let changes = commit.changes.of_node.get(&node_id)?;
    let mut assignments = Vec::new();
    let mut removed = Vec::new();
    for &id in changes {
        match commit.snapshot.jobs.alloc(id) {
            Some(alloc) if alloc.alloc_modify_index == index => assignments.push(assignment(alloc)),
            Some(_) => {}
            None => removed.push(id),
        }
    }
    (!assignments.is_empty() || !removed.is_empty()).then_some(ToClient::Allocs {
        index,
        complete: false,
        assignments,
        removed,
    })
}
