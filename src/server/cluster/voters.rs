//! Keeps the group as the servers are: takes in those that came, follows those that moved, and
//! takes out those that left. Only the leader does.
//!
//! A server that came gets the log, and votes once it has been healthy for a while; one that stays
//! silent is taken out where the others can do without it (`autopilot`).

use jobs::{
    model::{AutopilotConfig, NodeStatus, SchedulerConfig},
    state::Command,
};
use rpc::members::Member;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    autopilot::{self, GroupHealth},
    directory::{self, KnownServer, Status},
};
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
    /// A change of who votes stopped half way.
    Finish,
    /// The server is called or reached otherwise than the group says.
    Describe(Member),
    /// The server lost what it was told of the cluster.
    Admit(Member),
    /// The server came.
    Add(Member),
    /// The server has been healthy for long enough to vote.
    Promote(u64),
    /// The server left, or another one is in its place.
    Remove(u64),
    /// The server is dead.
    CleanUp(u64),
}

/// The next change of a group whose servers are so.
fn due(
    config: &AutopilotConfig,
    health: &GroupHealth,
    own: &Member,
    others: &[KnownServer],
) -> Option<Change> {
    let servers = &health.servers;
    let follows = || {
        let group: Vec<Voter> = servers.iter().map(|one| one.server.clone()).collect();
        next(own, &group, others)
    };
    autopilot::dead(config, servers)
        .map(Change::CleanUp)
        .or_else(follows)
        .or_else(|| autopilot::stable(config, servers).map(Change::Promote))
}

/// What has to change for the group, with `servers`, led by `own`, to be as the servers are.
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

/// Writes how the servers schedule as this agent is told it, where nobody said it yet.
async fn store_scheduling(core: &Core) {
    let found = core
        .published
        .current()
        .jobs
        .scheduler_config()
        .modify_index;
    let Some(config) = core.config.tuning.scheduler else {
        return;
    };
    if found != SchedulerConfig::UNCHANGED {
        return;
    }
    let command = Command::SetSchedulerConfig {
        config,
        expected: Some(found),
    };
    match core.raft.propose(command.into()).await {
        // An operator may have been faster.
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the settings of scheduling are not written yet"),
    }
}

/// Writes how the servers look after their group as this agent is told it, where nobody said it
/// yet. Where that is the default, nothing has to be written.
async fn store_settings(core: &Core) {
    let config = core.config.cluster.autopilot;
    let snapshot = core.published.current();
    let found = *snapshot.jobs.autopilot_config();
    if found != AutopilotConfig::default() || config == found || snapshot.version < Version::THIRD {
        return;
    }
    let command = Command::SetAutopilotConfig {
        config,
        expected: Some(found.modify_index),
    };
    match core.raft.propose(command.into()).await {
        // An operator may have been faster.
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the settings of autopilot are not written yet"),
    }
}

/// Keeps the group until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    core.autopilot.lock().begin();
    let mut news = core.directory.changed();
    let mut warned = BTreeSet::new();
    let mut said_older = false;
    loop {
        news.borrow_and_update();
        let Ok(is_changing) = core.raft.raft().map(|raft| raft.is_changing()) else {
            return;
        };
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
        store_settings(&core).await;
        store_scheduling(&core).await;
        let config = *core.published.current().jobs.autopilot_config();
        let health = autopilot::look(&core);
        let change = match is_changing {
            true => Some(Change::Finish),
            false => due(&config, &health, &own, &others),
        };
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
        Change::Finish => raft.finish_change().await.map_err(text),
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
        Change::Promote(id) => {
            tracing::info!(id = format!("{id:x}"), "a new server votes from now on");
            raft.promote(id).await.map_err(text)
        }
        Change::Remove(id) => raft.remove(id).await.map_err(text),
        Change::CleanUp(id) => {
            tracing::warn!(
                id = format!("{id:x}"),
                "a server that has been silent for long is taken out"
            );
            raft.remove(id).await.map_err(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerHealth;
    use jobs::model::Timestamp;

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
            // It votes when it was healthy for long enough.
            (vec![voter(1), learner], known(member(2, "x"), Alive), None),
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
    fn the_dead_go_before_others_come_and_who_is_stable_votes_at_last() {
        use Status::{Alive, Failed};
        let health = |id: u64, votes, status| ServerHealth {
            server: Voter {
                votes,
                is_leader: id == 1,
                ..voter(id)
            },
            status,
            version: String::new(),
            last_contact: Duration::ZERO,
            is_healthy: status == Alive,
            stable_since: Timestamp::default(),
            stable_for: Duration::from_secs(60),
            silent_for: Duration::from_secs(60),
        };
        let others = |ids: &[(u64, Status)]| -> Vec<KnownServer> {
            let members = ids.iter();
            members
                .map(|(id, status)| known(member(*id, "x"), *status))
                .collect()
        };
        for (second, there, expected) in [
            (
                Failed,
                vec![(2, Failed), (3, Alive), (4, Alive), (5, Alive)],
                Some(Change::CleanUp(2)),
            ),
            (
                Alive,
                vec![(3, Alive), (4, Alive), (5, Alive)],
                Some(Change::Add(member(5, "x"))),
            ),
            (
                Alive,
                vec![(3, Alive), (4, Alive)],
                Some(Change::Promote(4)),
            ),
        ] {
            let group = GroupHealth {
                servers: vec![
                    health(1, true, Alive),
                    health(2, true, second),
                    health(3, true, Alive),
                    health(4, false, Alive),
                ],
            };
            let config = AutopilotConfig::default();
            let found = due(&config, &group, &member(1, "x"), &others(&there));
            assert_eq!(found, expected);
        }
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
