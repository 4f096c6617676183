//! Answers what is asked for over RPC: calls of other servers at once; what needs the leader here
//! when this server leads, and otherwise by passing it on.

use jobs::model::NodeId;
use parking_lot::Mutex;
use rpc::{
    pipe::Pipe,
    transport::{Asked, Call, Dialect, Kind},
    tunnel::Tunnel,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{directory, enrollment, leadership::Role};
use crate::{Core, sessions};

/// Bytes of entries or of a part of a snapshot in one question.
const LOG_BYTES_MAX: usize = 160 << 20;
/// Bytes of any other question.
const CALL_BYTES_MAX: usize = 1 << 20;
/// How long answers may still come from a server that does not lead any more, as far as this one
/// knows.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// How long is waited for a leader; as published.
pub const LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers one question.
pub(crate) async fn answer(core: Arc<Core>, asked: Asked) {
    match asked.kind() {
        Kind::Call(Call::Members) => {
            asked
                .answer(CALL_BYTES_MAX, async |question| {
                    directory::on_question(&core, &question)
                })
                .await;
        }
        Kind::Call(Call::Admit) => {
            asked
                .answer(CALL_BYTES_MAX, async |question| {
                    directory::on_admission(&core, &question)
                })
                .await;
        }
        Kind::Call(Call::Enroll) => {
            asked
                .answer(CALL_BYTES_MAX, async |question| {
                    enrollment::on_question(&core, &question).await
                })
                .await;
        }
        Kind::Call(call) => {
            asked
                .answer(LOG_BYTES_MAX, async |question| {
                    let raft = core.raft.raft().map_err(|error| error.to_string())?;
                    raft.answer(call, &question).await
                })
                .await;
        }
        Kind::Session | Kind::Tunnel | Kind::Http(_) => answer_or_pass_on(core, asked).await,
    }
}

async fn answer_or_pass_on(core: Arc<Core>, asked: Asked) {
    let mut role = core.role.subscribe();
    let known = timeout(
        LEADER_TIMEOUT,
        role.wait_for(|role| !matches!(role, Role::Waits)),
    );
    let role = match known.await {
        Ok(Ok(role)) => role.clone(),
        _ => Role::Waits,
    };
    match (role, asked.kind()) {
        (Role::Leads { until }, Kind::Session) => {
            sessions::serve(core, asked.into_session(), until).await;
        }
        (Role::Leads { until }, Kind::Tunnel) => {
            let taken = core.tunnels.take(&core, asked.into_pipe());
            tokio::select! {
                () = taken => {}
                () = until.cancelled() => {}
            }
        }
        (Role::Leads { .. }, Kind::Http(dialect)) => {
            let pipe = asked.into_pipe();
            // Without an API there is nobody to answer, and the pipe ends.
            drop(core.pipes.send((dialect, pipe)).await);
        }
        (Role::Follows { leader, until }, kind) if !asked.is_relayed() => {
            core.pool.relay(asked, &leader, relayed(kind, until)).await;
        }
        _ => asked.refuse("no cluster leader"),
    }
}

/// Resolves when what is passed on ends, after the leader is another one or none is known. A
/// session is to find the next leader at once. A request may have been carried out, and only the
/// server that it went to can say so: its answer may still come.
async fn relayed(kind: Kind, until: CancellationToken) {
    until.cancelled().await;
    if matches!(kind, Kind::Http(_)) {
        sleep(ANSWER_GRACE).await;
    }
}

/// A pipe on which an API of this agent is asked.
pub type Requested = (Dialect, Pipe);

/// The agents whose tunnel ends here, by node.
#[derive(Debug, Default)]
pub(crate) struct Tunnels(Mutex<BTreeMap<NodeId, Tunnel>>);

impl Tunnels {
    /// Takes an agent's tunnel in, when it has the secret of its node.
    async fn take(&self, core: &Core, pipe: Pipe) {
        let (introduction, tunnel) = match Tunnel::accept(pipe).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a tunnel was not opened");
                return;
            }
        };
        let snapshot = core.published.current();
        let node = snapshot.jobs.node(introduction.node_id);
        let Some(node) = node.filter(|node| node.secret_id == introduction.secret_id) else {
            tracing::warn!(
                node_id = %introduction.node_id,
                "a tunnel was refused: its node is unknown, or has another secret"
            );
            return;
        };
        let mut tunnels = self.0.lock();
        tunnels.retain(|_, tunnel| !tunnel.is_closed());
        tunnels.insert(node.id, tunnel);
    }

    /// The tunnel of a node's agent.
    pub(crate) fn of(&self, node_id: NodeId) -> Option<Tunnel> {
        let tunnels = self.0.lock();
        tunnels
            .get(&node_id)
            .filter(|tunnel| !tunnel.is_closed())
            .cloned()
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_come_after_the_leader_changed_and_a_session_ends_at_once() {
        for (kind, grace) in [
            (Kind::Session, Duration::ZERO),
            (Kind::Tunnel, Duration::ZERO),
            (Kind::Http(Dialect::Jobs), ANSWER_GRACE),
        ] {
            let until = CancellationToken::new();
            let relayed = relayed(kind, until.clone());
            tokio::pin!(relayed);
            let early = timeout(ANSWER_GRACE * 2, &mut relayed).await;
            assert!(
                early.is_err(),
                "{kind:?} ended while the leader was the same"
            );
            let since = Instant::now();
            until.cancel();
            relayed.await;
            assert!(since.elapsed() >= grace, "{kind:?}");
            assert!(
                since.elapsed() <= grace + Duration::from_millis(1),
                "{kind:?}"
            );
        }
    }
}
