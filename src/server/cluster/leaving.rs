//! A server that leaves on purpose: it lets another one lead, says that it leaves, and goes on
//! until the group is to be without it, so that nobody waits for it.

use futures_util::future::join_all;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{sleep, timeout};

use super::directory;
use crate::{Core, log::raft::Raft};

/// How long the others may take to go on without this server.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two times of saying so.
const PAUSE: Duration = Duration::from_millis(200);

/// Leaves the other servers, as long as that takes at most.
pub(crate) async fn leave(core: &Core) {
    let Ok(raft) = core.raft.raft() else { return };
    if raft.configuration().len() > 1 {
        let left = timeout(LEAVE_TIMEOUT, async {
            if raft.leadership().is_own
                && let Err(error) = hand_over(&raft).await
            {
                tracing::warn!(%error, "no other server took over the leadership before this one left");
            }
            core.is_leaving.store(true, Ordering::Relaxed);
            core.directory.tell();
            while raft.stays() {
                let others = core.directory.others();
                let told = others
                    .iter()
                    .map(|other| directory::ask(core, &other.member.address));
                join_all(told).await;
                sleep(PAUSE).await;
            }
        });
        match left.await {
            Ok(()) => tracing::info!("this server has left the others"),
            Err(_) => tracing::warn!("the others still wait for this server"),
        }
    }
    if let Some(gossip) = core.gossip.get() {
        gossip.leave().await;
    }
}

/// Lets the server lead that has most of the log.
async fn hand_over(raft: &Raft) -> Result<(), String> {
    let next = raft.successor().ok_or("there is no other")?;
    raft.transfer(next).await.map_err(|error| error.to_string())
}
