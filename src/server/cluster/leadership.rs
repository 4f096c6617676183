//! Leads while the log says so: what only a leader does is started after everything acknowledged
//! before is in the state here, and ends before another server can be asked.

use jobs::model::{NodeId, NodeStatus};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{leader, voters};
use crate::{
    Config, Core, STOP_TIMEOUT,
    data_planes::Agent,
    log::{begin_term, raft::Raft},
    sessions::follow,
    supervise::Supervisor,
};

/// Pause before a leader that could not make sure of it tries again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a leader makes sure that it is one.
const SURE_INTERVAL: Duration = Duration::from_secs(1);

/// What this server does at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) enum Role {
    /// Nobody leads, as far as it knows.
    #[default]
    Waits,
    /// Another one leads.
    Follows {
        /// RPC address of the leader.
        leader: String,
        /// Canceled when that changes.
        until: CancellationToken,
    },
    /// It leads.
    Leads {
        /// Canceled when that changes.
        until: CancellationToken,
    },
}

/// Leads and follows until `stop`, or until a part of the leader does not get well: then with the
/// reason.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) -> Option<String> {
    let Ok(raft) = core.raft.raft() else {
        return None;
    };
    loop {
        let now = raft.leadership();
        let until = stop.child_token();
        let reason = if now.is_own {
            if let Err(error) = raft.read_barrier().await {
                tracing::debug!(%error, "not sure of the leadership yet");
                tokio::select! {
                    () = sleep(PAUSE) => continue,
                    () = stop.cancelled() => return None,
                }
            }
            let lost = async {
                tokio::select! {
                    _ = raft.leadership_after(&now) => {}
                    () = unsure(&raft) => tracing::warn!("the other servers do not answer; this one stops leading"),
                }
            };
            lead(&core, lost, until).await
        } else {
            let role = match now.leader.clone() {
                Some(leader) => {
                    tracing::info!(leader, term = now.term, "another server leads");
                    Role::Follows {
                        leader,
                        until: until.clone(),
                    }
                }
                None => Role::Waits,
            };
            core.role.send_replace(role);
            tokio::select! {
                _ = raft.leadership_after(&now) => {}
                () = stop.cancelled() => {}
            }
            core.role.send_replace(Role::Waits);
            until.cancel();
            None
        };
        if reason.is_some() || stop.is_cancelled() {
            return reason;
        }
    }
}

/// Resolves when a quorum does not answer: another server may lead by then, and agents have to
/// find it.
async fn unsure(raft: &Raft) {
    loop {
        sleep(SURE_INTERVAL).await;
        if raft.configuration().len() > 1 && raft.read_barrier().await.is_err() {
            return;
        }
    }
}

/// Leads until `lost` resolves or `until` is canceled; answers with the reason when a part does
/// not get well.
async fn lead(
    core: &Arc<Core>,
    lost: impl Future<Output = ()>,
    until: CancellationToken,
) -> Option<String> {
    begin_term(core.published.current().now);
    tokio::pin!(lost);
    // Before the first stream, which would end with the rules that it began by.
    tokio::select! {
        _ = voters::raise_rules(core) => {}
        () = &mut lost => return None,
        () = until.cancelled() => return None,
    }
    begin(core);
    tracing::info!("this server leads");
    let parts = TaskTracker::new();
    let supervisor = Supervisor::new(parts.clone(), until.clone());
    let followed = Arc::clone(core);
    supervisor.keep("streams", move |stop| {
        follow::run(Arc::clone(&followed), stop)
    });
    leader::start(core, &supervisor);
    core.role.send_replace(Role::Leads {
        until: until.clone(),
    });
    let reason = tokio::select! {
        () = &mut lost => None,
        reason = supervisor.gave_up() => Some(reason),
        () = until.cancelled() => None,
    };
    core.role.send_replace(Role::Waits);
    tracing::info!("this server does not lead any more");
    until.cancel();
    core.tunnels.clear();
    parts.close();
    if timeout(STOP_TIMEOUT, parts.wait()).await.is_err() {
        tracing::warn!("some parts of the leader did not end in time");
    }
    reason
}

/// No stream may begin before the state that it begins with is there, and no drain may be answered
/// before those who served traffic are back.
fn begin(core: &Core) {
    let snapshot = core.published.current();
    let nodes = snapshot.jobs.nodes("");
    let ready: BTreeSet<NodeId> = nodes
        .filter(|node| node.status == NodeStatus::Ready)
        .map(|node| node.id)
        .collect();
    let Config { lease, tuning, .. } = &core.config;
    let lease = tuning.rhythm.lease(*lease, ready.len());
    let mut awaited: BTreeSet<Agent> = ready.iter().copied().map(Agent::Node).collect();
    core.traffic.begin(ready);
    let servers = core.raft.configuration();
    if servers.len() > 1 {
        let names = servers.into_iter().map(|server| server.name);
        awaited.extend(names.filter(|name| !name.is_empty()).map(Agent::Server));
    }
    core.data_planes.begin(awaited, lease);
    if let Ok(raft) = core.raft.raft() {
        core.history.is_of(&raft.cluster());
    }
    follow::begin(core);
}
