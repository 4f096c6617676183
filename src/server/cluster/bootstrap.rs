//! The beginning of a group of several servers.
//!
//! Every server with an empty log waits until as many as it expects are there, none of which has
//! a group. Then the one with the lowest id asks each of the others to be of the new group, and
//! begins it when all agreed: nobody else does, and a server agrees to one group at a time. So
//! there are never two groups with a quorum.

use rpc::members::Member;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::directory::{self, Status};
use crate::Core;

/// Pause after a try that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Begins a group, or waits until another server does, or until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let begun = async {
        let mut news = core.directory.changed();
        loop {
            news.borrow_and_update();
            let Ok(raft) = core.raft.raft() else { return };
            if raft.has_group() {
                return;
            }
            let own = directory::own(&core);
            let there = core.directory.others().into_iter();
            let there = there.filter(|known| known.status == Status::Alive);
            let others: Vec<Member> = there.map(|known| known.member).collect();
            if let Some(servers) = group(&own, &others) {
                match begin(&core, &own, &servers).await {
                    Ok(()) => return,
                    Err(reason) => tracing::info!(reason, "the group cannot begin yet"),
                }
                sleep(PAUSE).await;
            } else if news.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = begun => {}
        () = stop.cancelled() => {}
    }
}

/// The other servers of the group that `own` is to begin; none when it is not, or not yet.
fn group(own: &Member, others: &[Member]) -> Option<Vec<Member>> {
    let expect = usize::try_from(own.expect).ok()?;
    let has_group = others.iter().any(|other| !other.cluster.is_empty());
    if expect < 2
        || has_group
        || others
            .iter()
            .any(|other| other.id < own.id && waits(own, other))
    {
        return None;
    }
    let mut waiting: Vec<Member> = others
        .iter()
        .filter(|other| waits(own, other))
        .cloned()
        .collect();
    waiting.sort_by_key(|other| other.id);
    waiting.truncate(expect - 1);
    (waiting.len() == expect - 1).then_some(waiting)
}

fn waits(own: &Member, other: &Member) -> bool {
    other.expect == own.expect && other.region == own.region
}

async fn begin(core: &Core, own: &Member, others: &[Member]) -> Result<(), String> {
    let cluster = uuid::Uuid::new_v4().to_string();
    for other in others {
        let admitted = directory::admit(core, &cluster, &other.address).await;
        admitted.map_err(|reason| format!("`{}`: {reason}", other.name))?;
    }
    let raft = core.raft.raft().map_err(|error| error.to_string())?;
    raft.join(&cluster);
    let servers = others.iter().chain([own]);
    let servers = servers.map(|server| (server.id, server.name.clone(), server.address.clone()));
    let begun = raft.initialize(&cluster, servers).await;
    begun.map_err(|error| error.to_string())?;
    tracing::info!(cluster, servers = others.len() + 1, "the group begins");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, expect: u32, cluster: &str) -> Member {
        Member {
            id,
            expect,
            cluster: cluster.into(),
            ..Member::default()
        }
    }

    #[test]
    fn one_server_begins_when_enough_are_there() {
        let of = |own: Member, others: &[Member]| {
            let group = group(&own, others);
            group.map(|servers| servers.iter().map(|server| server.id).collect::<Vec<_>>())
        };
        let waits = |id| member(id, 3, "");
        for (own, others, expected) in [
            (waits(1), vec![], None),
            (waits(1), vec![waits(2)], None),
            (waits(1), vec![waits(3), waits(2)], Some(vec![2, 3])),
            // Another one has the lowest id.
            (waits(2), vec![waits(3), waits(1)], None),
            // It is taken in later.
            (
                waits(1),
                vec![waits(4), waits(3), waits(2)],
                Some(vec![2, 3]),
            ),
            // They wait for something else.
            (waits(1), vec![member(2, 5, ""), waits(3)], None),
            (
                waits(2),
                vec![member(1, 0, ""), waits(3), waits(4)],
                Some(vec![3, 4]),
            ),
            // There is a group: it takes this server in.
            (waits(1), vec![waits(2), member(3, 3, "x")], None),
            (member(1, 0, ""), vec![waits(2), waits(3)], None),
        ] {
            assert_eq!(of(own.clone(), &others), expected, "{own:?} {others:?}");
        }
    }
}
