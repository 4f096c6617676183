//! Keeps the group as the servers are: takes in those that came, follows those that moved, and
//! takes out those that left. Only the leader does.
//!
//! A server that only does not answer stays in the group: whether it will come back, an operator
//! knows.

use jobs::model::NodeStatus;
use rpc::members::Member;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::directory::{self, KnownServer, Status};
use crate::{
    Core,
    log::raft::{GroupError, Voter},
};
use registration::Version;

/// Pause between two looks, when nothing is new.
const PAUSE: Duration = Duration::from_secs(2);

/// What is to be done for the group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// The server is called or reached otherwise than the group says.
    Describe(Member),
    /// The server lost what it was told of the cluster.
    Admit(Member),
    /// The server came.
    Add(Member),
    /// The server left, or another one is in its place.
    Remove(u64),
}

/// The next change of a group with `servers`, led by `own`.
fn next(own: &Member, servers: &[Voter], others: &[KnownServer]) -> Option<Change> {
    let of = |id: u64| servers.iter().find(|server| server.id == id);
    let is_new = |server: &Voter, member: &Member| {
        server.name != member.name || server.address != member.address
    };
    if of(own.id).is_some_and(|server| is_new(server, own)) || own.cluster.is_empty() {
        return Some(Change::Describe(own.clone()));
    }
    for known in others {
        let member = &known.member;
        match (known.status, of(member.id)) {
            (Status::Left, Some(server)) => return Some(Change::Remove(server.id)),
            (Status::Alive, Some(server)) => {
                if member.cluster.is_empty() {
                    return Some(Change::Admit(member.clone()));
                }
                if is_new(server, member) {
                    return Some(Change::Describe(member.clone()));
                }
                if !server.votes {
                    return Some(Change::Add(member.clone()));
                }
            }
            (Status::Alive, None) if member.cluster.is_empty() || member.cluster == own.cluster => {
                let is_before = |server: &&Voter| server.address == member.address;
                return Some(match servers.iter().find(is_before) {
                    Some(before) => Change::Remove(before.id),
                    None => Change::Add(member.clone()),
                });
            }
            _ => {}
        }
    }
    None
}

/// Servers of other clusters that answer here.
fn foreign<'a>(own: &Member, others: &'a [KnownServer]) -> impl Iterator<Item = &'a Member> {
    let cluster = own.cluster.clone();
    let there = others.iter().filter(|known| known.status == Status::Alive);
    let members = there.map(|known| &known.member);
    members.filter(move |member| !member.cluster.is_empty() && member.cluster != cluster)
}

/// The newest rules that every server of the group knows; none as long as one was not heard of.
fn common_rules(own: &Member, servers: &[Voter], others: &[KnownServer]) -> Option<Version> {
    let rules = servers.iter().map(|server| {
        if server.id == own.id {
            return Some(own.rules);
        }
        let known = others.iter().find(|known| known.member.id == server.id)?;
        known.silent_for.map(|_| known.member.rules)
    });
    let rules: Option<Vec<_>> = rules.collect();
    rules?
        .into_iter()
        .min_by_key(|rules| rules.0)
        .map(|rules| Version::new(rules.0))
}

/// Goes over to the newest rules that every server of the group and every agent knows. Agents whose
/// nodes are ready are waited for: one that has to agree to rules that it does not know is out.
/// Tells whether the newest that this build knows are in force.
pub(super) async fn raise_rules(core: &Core) -> bool {
    let snapshot = core.published.current();
    if snapshot.version >= Version::SUPPORTED {
        return true;
    }
    let Ok(raft) = core.raft.raft() else {
        return false;
    };
    let (own, others) = (directory::own(core), core.directory.others());
    let of_servers = common_rules(&own, &raft.configuration(), &others);
    let nodes = snapshot.jobs.nodes("");
    let ready = nodes.filter(|node| node.status == NodeStatus::Ready);
    let of_agents = core.streams.common_rules(ready.map(|node| node.id));
    if let Some((of_servers, of_agents)) = of_servers.zip(of_agents)
        && let Err(error) = core.raft.raise_version(of_servers.min(of_agents)).await
    {
        tracing::warn!(%error, "the rules of the cluster stay as they are");
    }
    core.published.current().version >= Version::SUPPORTED
}

/// Keeps the group until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut news = core.directory.changed();
    let mut warned = BTreeSet::new();
    let mut said_older = false;
    loop {
        news.borrow_and_update();
        let Ok(raft) = core.raft.raft() else { return };
        let (own, others) = (directory::own(&core), core.directory.others());
        for member in foreign(&own, &others) {
            if warned.insert(member.id) {
                tracing::warn!(
                    name = member.name,
                    address = member.address,
                    "a server of another cluster answers here; empty its data directory to let it \
                     join this one"
                );
            }
        }
        let servers = raft.configuration();
        let change = next(&own, &servers, &others);
        let done = match &change {
            None => {
                if !raise_rules(&core).await && !said_older {
                    said_older = true;
                    tracing::info!(
                        in_force = %core.published.current().version,
                        newest = %Version::SUPPORTED,
                        "the cluster goes by older rules until every server and agent knows the newest"
                    );
                }
                Ok(())
            }
            Some(change) => carry_out(&core, change).await,
        };
        match &done {
            Err(reason) => tracing::warn!(reason, ?change, "the group was not changed"),
            // Others look at the group too.
            Ok(()) if change.is_some() => core.directory.tell(),
            Ok(()) => {}
        }
        let waits = async {
            if change.is_none() || done.is_err() {
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    _ = news.changed(), if done.is_ok() => {}
                }
            }
        };
        tokio::select! {
            () = waits => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn carry_out(core: &Core, change: &Change) -> Result<(), String> {
    let text = |error: GroupError| error.to_string();
    let raft = core.raft.raft().map_err(|error| error.to_string())?;
    match change.clone() {
        Change::Describe(member) => raft
            .describe(member.id, member.name, member.address)
            .await
            .map_err(text),
        Change::Admit(member) => directory::admit(core, &raft.cluster(), &member.address).await,
        Change::Add(member) => {
            directory::admit(core, &raft.cluster(), &member.address).await?;
            tracing::info!(
                name = member.name,
                address = member.address,
                "a server joins"
            );
            raft.add(member.id, member.name, member.address)
                .await
                .map_err(text)
        }
        Change::Remove(id) => raft.remove(id).await.map_err(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, cluster: &str) -> Member {
        Member {
            id,
            name: format!("s{id}"),
            address: format!("10.0.0.{id}:4647"),
            cluster: cluster.into(),
            ..Member::default()
        }
    }

    fn voter(id: u64) -> Voter {
        let member = member(id, "x");
        Voter {
            id,
            name: member.name,
            address: member.address,
            votes: true,
            ..Voter::default()
        }
    }

    fn known(member: Member, status: Status) -> KnownServer {
        KnownServer {
            member,
            status,
            silent_for: Some(Duration::ZERO),
        }
    }

    #[test]
    fn the_group_follows_the_servers() {
        use Status::{Alive, Failed, Left};
        let moved = Member {
            address: "10.0.0.9:4647".into(),
            ..member(2, "x")
        };
        let learner = Voter {
            votes: false,
            ..voter(2)
        };
        let in_its_place = Member {
            id: 7,
            ..member(2, "")
        };
        let two = || vec![voter(1), voter(2)];
        for (servers, other, expected) in [
            (two(), known(member(2, "x"), Alive), None),
            (two(), known(member(2, "x"), Failed), None),
            (two(), known(member(2, "x"), Left), Some(Change::Remove(2))),
            (
                two(),
                known(moved.clone(), Alive),
                Some(Change::Describe(moved.clone())),
            ),
            (two(), known(moved, Failed), None),
            (
                two(),
                known(member(2, ""), Alive),
                Some(Change::Admit(member(2, ""))),
            ),
            (
                two(),
                known(member(3, ""), Alive),
                Some(Change::Add(member(3, ""))),
            ),
            (
                two(),
                known(member(3, "x"), Alive),
                Some(Change::Add(member(3, "x"))),
            ),
            (two(), known(member(3, "y"), Alive), None),
            (two(), known(member(3, ""), Failed), None),
            (two(), known(in_its_place, Alive), Some(Change::Remove(2))),
            (
                vec![voter(1), learner],
                known(member(2, "x"), Alive),
                Some(Change::Add(member(2, "x"))),
            ),
        ] {
            assert_eq!(
                next(&member(1, "x"), &servers, std::slice::from_ref(&other)),
                expected,
                "{other:?}"
            );
        }
        let unnamed = member(1, "");
        assert_eq!(
            next(&unnamed, &[voter(1)], &[]),
            Some(Change::Describe(unnamed.clone()))
        );
    }

    #[test]
    fn the_rules_are_those_that_every_server_knows() {
        let with = |id: u64, rules: u32| Member {
            rules: rpc::message::RulesVersion(rules),
            ..member(id, "x")
        };
        let servers = [voter(1), voter(2)];
        let own = with(1, 3);
        assert_eq!(common_rules(&own, &servers, &[]), None);
        let other = known(with(2, 2), Status::Failed);
        assert_eq!(
            common_rules(&own, &servers, &[other]),
            Some(Version::new(2))
        );
        assert_eq!(
            common_rules(&own, &servers[..1], &[]),
            Some(Version::new(3))
        );
    }
}
