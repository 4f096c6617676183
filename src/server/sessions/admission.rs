//! Who may open a stream, and what its registration writes.

use jobs::model::{Node, NodeStatus};

use super::{Core, streams::Fenced};
use crate::{
    log::propose::{ids, now},
    state::Command,
};
use registration::Version;

/// Why an agent cannot be registered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The agent's program and this one do not understand each other.
    #[error("the agent's version `{agent}` does not go with the server's {server}: {advice}")]
    Version {
        /// What the agent said.
        agent: String,
        /// This program's.
        server: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The agent would derive other instances than the servers.
    #[error(
        "the agent knows version {agent} of the cluster's rules and version {needed} is in force: upgrade \
         the agent to a version of trivet that knows {needed}"
    )]
    Rules {
        /// The newest that the agent knows.
        agent: Version,
        /// In force.
        needed: Version,
    },
    /// The agent belongs to other servers.
    #[error(
        "the agent is of region `{agent}` and this is a server of region `{server}`: let `client.servers` name servers \
         of its own region, or set `region`"
    )]
    Region {
        /// The agent's.
        agent: String,
        /// Of this server.
        server: String,
    },
    /// The registration is under way for longer than a newer one.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The node was refused, or could not be written.
    #[error(transparent)]
    Node(#[from] crate::Error),
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Agents may be of another minor version, so that machines can be upgraded one after the other.
pub(super) fn check_version(agent: &str) -> Result<(), Error> {
    let refused = |advice| Error::Version {
        agent: agent.chars().take(64).collect(),
        server: VERSION,
        advice,
    };
    let own = major(VERSION);
    match major(agent) {
        None => Err(refused("it is no version; start the agent from a release")),
        Some(theirs) if Some(theirs) > own => Err(refused("upgrade the servers first")),
        Some(theirs) if Some(theirs) < own => Err(refused("upgrade the agent")),
        Some(_) => Ok(()),
    }
}

/// Jobs of a region run on its nodes only. An agent that does not say its region is of an earlier
/// version.
pub(super) fn check_region(agent: &str, server: &str) -> Result<(), Error> {
    if agent.is_empty() || agent == server {
        return Ok(());
    }
    Err(Error::Region {
        agent: agent.chars().take(64).collect(),
        server: server.to_owned(),
    })
}

/// An agent has to know the rules that are in force; it may know newer ones, since the rules are
/// raised after all servers and the agents of all ready nodes were upgraded.
pub(super) fn check_rules(agent: Version, needed: Version) -> Result<(), Error> {
    if agent < needed {
        return Err(Error::Rules { agent, needed });
    }
    Ok(())
}

/// The first of the three numbers of a version; a label behind them is ignored.
fn major(version: &str) -> Option<u64> {
    let numbers = version.split(['-', '+']).next()?;
    let mut numbers = numbers.split('.').map(str::parse::<u64>);
    match (
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) {
        (Some(Ok(major)), Some(Ok(_)), Some(Ok(_)), None) => Some(major),
        _ => None,
    }
}

/// Writes what an agent says of its node, with the evaluations that follow, unless it is known
/// already.
pub(super) async fn register_node(core: &Core, node: Node) -> Result<(), crate::Error> {
    let is_known = {
        let snapshot = core.published.current();
        let node = by_rules(snapshot.version, node.clone());
        let known = snapshot.jobs.node(node.id);
        known.is_some_and(|known| is_registered(known, &node))
    };
    if !is_known {
        let (_, outcome) = core.raft.propose(node_command(core, node)).await?;
        outcome?;
    }
    Ok(())
}

/// Whether registering `node` would change nothing but what servers and operators own.
fn is_registered(known: &Node, node: &Node) -> bool {
    let registered = Node {
        status: NodeStatus::Ready,
        status_updated_at: known.status_updated_at,
        scheduling_eligibility: known.scheduling_eligibility,
        drain: known.drain,
        computed_class: known.computed_class.clone(),
        events: known.events.clone(),
        create_index: known.create_index,
        modify_index: known.modify_index,
        ..node.clone()
    };
    registered == *known
}

/// The node as rules of that version have it: servers that know no newer ones would not keep the
/// rest, and their state would differ. Agents say all of it again when the rules are raised,
/// because their streams end then.
fn by_rules(version: Version, mut node: Node) -> Node {
    if version < Version::FOURTH {
        node.forget_host_networks();
    }
    #[cfg(feature = "next")]
    if version < Version::FIFTH {
        node.note.clear();
    }
    node
}

/// What writes a node and the evaluations that follow: it is ready from now on.
pub(super) fn node_command(core: &Core, mut node: Node) -> Command {
    node.status = NodeStatus::Ready;
    let snapshot = core.published.current();
    let node = by_rules(snapshot.version, node);
    let evals = jobs::control::triggers::for_node_upsert(&snapshot.jobs, &node, now(), &mut ids());
    let upsert = jobs::state::Command::UpsertNode(Box::new(node)).into();
    if evals.is_empty() {
        return upsert;
    }
    Command::Sequence(vec![
        upsert,
        jobs::state::Command::UpsertEvals(evals).into(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::{HostNetwork, NodeId, NodeNetwork};

    #[test]
    fn networks_of_nodes_are_told_by_rules_that_have_them() {
        let mut node = Node {
            host_networks: [("public".to_owned(), HostNetwork::default())].into(),
            ..Node::default()
        };
        node.node_resources.node_networks = vec![NodeNetwork::default()];
        let write = |node| Command::from(jobs::state::Command::UpsertNode(Box::new(node)));
        assert_eq!(write(node.clone()).version(), Version::FOURTH);
        let before = by_rules(Version::THIRD, node.clone());
        assert_eq!(before, Node::default());
        assert_eq!(write(before).version(), Version::FIRST);
        assert_eq!(by_rules(Version::FOURTH, node.clone()), node);
    }

    #[test]
    fn versions_that_do_not_go_together_are_named() {
        for (agent, refused) in [
            (VERSION, None),
            ("0.999.7", None),
            ("0.1.0-dev+abc", None),
            ("", Some("no version")),
            ("0.1", Some("no version")),
            ("0.1.x", Some("no version")),
            ("0.1.0.0", Some("no version")),
            ("99.0.0", Some("upgrade the servers first")),
        ] {
            let checked = check_version(agent).map_err(|error| error.to_string());
            match (checked, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{error}"),
                (checked, _) => panic!("{agent}: {checked:?}"),
            }
        }
    }

    #[test]
    fn only_what_the_agent_owns_makes_a_registration_new() {
        let known = Node {
            id: NodeId::named("node"),
            status: NodeStatus::Ready,
            create_index: 3,
            modify_index: 9,
            ..Node::default()
        };
        let said = Node {
            id: NodeId::named("node"),
            ..Node::default()
        };
        assert!(is_registered(&known, &said));
        let down = Node {
            status: NodeStatus::Down,
            ..known.clone()
        };
        assert!(!is_registered(&down, &said));
        let moved = Node {
            http_addr: "10.0.0.1:4646".into(),
            ..said
        };
        assert!(!is_registered(&known, &moved));
    }
}
