//! The rows of servers in the catalog: the service `consul`, by which clients find servers.
//!
//! Each stands on the node that the server's agent registers. Where that agent runs no tasks, so
//! that nobody registers its node, the node's row is written here too, with the check that says
//! whether the server answers. The leader writes all of them.

use mesh::model::{Check, Node, NodeId, SERVERS, Service, ServiceKey};
use mesh::state::{Command, Deregister, Register, UpsertNode};
use mesh::view::View;
use mesh::wire::API_VERSION;
use rpc::members::Member;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::directory::{self, Status};
use crate::{Core, Voter, log::watch::Topic};

/// Pause after a row that could not be written.
const PAUSE: Duration = Duration::from_secs(1);

/// Puts the rows where they are missing until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut group = core.directory.changed();
    loop {
        group.borrow_and_update();
        let servers = core.raft.configuration();
        let known = known(&core);
        let topics = servers
            .iter()
            .map(|server| Topic::MeshNode(server.name.as_str().into()));
        // First the subscription, then the look: no change is missed.
        let subscription = core.published.watch().subscribe(topics);
        let snapshot = core.published.current();
        let catalog = snapshot.mesh.view();
        let mut commands = servers
            .iter()
            .filter_map(|server| missing(server, known.get(&server.id), catalog))
            .chain(gone(&servers, catalog));
        if let Some(command) = commands.next()
            && let Err(error) = core.raft.propose(command.into()).await
        {
            tracing::debug!(%error, "the server is not in the catalog yet");
            tokio::select! {
                () = sleep(PAUSE) => continue,
                () = stop.cancelled() => return,
            }
        }
        if commands.next().is_some() {
            continue;
        }
        let changed = async {
            match &subscription {
                Some(subscription) => subscription.changed().await,
                None => sleep(PAUSE).await,
            }
        };
        tokio::select! {
            () = changed => {}
            Ok(()) = group.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What is known of a server besides its place in the group.
struct Known {
    datacenter: String,
    /// Its agent runs no tasks, so nobody registers its node.
    serves_alone: bool,
    is_alive: bool,
}

impl Known {
    fn new(member: Member, status: Status) -> (u64, Self) {
        let known = Self {
            datacenter: member.datacenter,
            serves_alone: member.serves_alone,
            is_alive: status == Status::Alive,
        };
        (member.id, known)
    }
}

/// The servers by the ids of their logs.
fn known(core: &Core) -> BTreeMap<u64, Known> {
    let others = core.directory.others().into_iter();
    let own = Known::new(directory::own(core), Status::Alive);
    others
        .map(|other| Known::new(other.member, other.status))
        .chain([own])
        .collect()
}

/// Whether the servers registered the node.
fn is_of_server(node: &Node) -> bool {
    node.id == node_id(&node.name).to_string()
}

/// The id of the node of a server whose agent runs no tasks: always the same for a name.
#[must_use]
pub fn node_id(name: &str) -> Uuid {
    let digest = Sha256::digest(format!("server node {name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What puts the rows of a server there; nothing when they are, or its agent is still to register
/// its node.
fn missing(server: &Voter, known: Option<&Known>, catalog: &View) -> Option<Command> {
    if let Some(known) = known.filter(|known| known.serves_alone)
        && let Some(command) = missing_node(server, known, catalog)
    {
        return Some(command);
    }
    let node = catalog.node(&server.name)?;
    if known.is_some_and(|known| !known.serves_alone) && is_of_server(node) {
        // Its agent runs tasks now and registers the node itself.
        return Some(Command::Deregister(Deregister {
            node: node.name.clone(),
            ..Deregister::default()
        }));
    }
    let key = ServiceKey {
        node: node.name.clone(),
        id: SERVERS.into(),
    };
    let service = service(server);
    let is_there = catalog
        .service(&key)
        .is_some_and(|row| row.port == service.port && row.meta == service.meta);
    if is_there {
        return None;
    }
    Some(Command::Register(Box::new(Register {
        node: node.as_ref().clone(),
        keep_node: true,
        service: Some(service),
        checks: Vec::new(),
    })))
}

/// What makes the node of a server that serves alone as it is. A node of that name that somebody
/// else registered stays as it is.
fn missing_node(server: &Voter, known: &Known, catalog: &View) -> Option<Command> {
    let host = server.address.rsplit_once(':')?.0;
    let address = host.trim_matches(['[', ']']);
    let id: NodeId = node_id(&server.name).to_string().into();
    let node = Node {
        id: id.clone(),
        name: server.name.as_str().into(),
        address: address.to_owned(),
        datacenter: known.datacenter.clone(),
        tagged_addresses: ["lan", "wan"]
            .map(|tag| (tag.to_owned(), address.to_owned()))
            .into(),
        // Like the rows of agents that run tasks.
        meta: [
            ("consul-network-segment", ""),
            ("consul-version", API_VERSION),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        ..Node::default()
    };
    let health = Check::serf_health(server.name.as_str(), known.is_alive);
    if let Some(row) = catalog.node(&server.name) {
        let is_health_there = catalog
            .check(&health.key())
            .is_some_and(|row| row.status == health.status);
        let is_there = is_health_there
            && row.address == node.address
            && row.datacenter == node.datacenter
            && row.meta == node.meta;
        if row.id != id || is_there {
            return None;
        }
    }
    Some(Command::UpsertNode(UpsertNode {
        node,
        checks: vec![health],
    }))
}

/// What takes away the rows of servers that are no longer of the group.
fn gone(servers: &[Voter], catalog: &View) -> Option<Command> {
    let is_of_group = |name: &str| servers.iter().any(|server| server.name == name);
    // Who is not named yet may be any of them.
    if servers.is_empty() || is_of_group("") {
        return None;
    }
    let rows = catalog.instances(SERVERS).into_iter();
    let mut gone = rows.filter(|row| {
        let node = &row.node.name;
        row.service.id == SERVERS && !is_of_group(node) && catalog.has_agent(node)
    });
    let row = gone.next()?;
    Some(Command::Deregister(Deregister {
        service_id: (!is_of_server(&row.node)).then(|| SERVERS.into()),
        node: row.node.name.clone(),
        ..Deregister::default()
    }))
}

fn service(server: &Voter) -> Service {
    let port = server.address.rsplit_once(':');
    let port = port.and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    let meta = [
        ("raft_version", "3"),
        ("read_replica", "false"),
        ("trivet_version", env!("CARGO_PKG_VERSION")),
        ("version", API_VERSION),
    ];
    Service {
        id: SERVERS.into(),
        name: SERVERS.into(),
        port,
        meta: meta
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Service::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::model::Timestamp;
    use mesh::state::{Stamp, State};

    fn voter(id: u64, name: &str) -> Voter {
        Voter {
            id,
            name: name.into(),
            address: format!("10.0.0.{id}:4647"),
            ..Voter::default()
        }
    }

    /// What the leader writes, one command after the other, until it has nothing more to write.
    fn settle(state: &mut State, servers: &[Voter], known: &BTreeMap<u64, Known>) {
        for index in 1..20 {
            let catalog = state.current().view();
            let mut commands = servers
                .iter()
                .filter_map(|server| missing(server, known.get(&server.id), catalog))
                .chain(gone(servers, catalog));
            let Some(command) = commands.next() else {
                return;
            };
            drop(commands);
            let at = Stamp {
                index: state.current().view().index() + index,
                now: Timestamp::default(),
            };
            state.apply(at, command).expect("it is taken");
        }
        panic!("it never settles");
    }

    fn rows(state: &State) -> Vec<String> {
        let rows = state.current().view().instances(SERVERS).into_iter();
        rows.map(|row| {
            let id = if row.node.id.is_empty() { "-" } else { "id" };
            let (node, address, port) = (&row.node.name, row.address(), row.service.port);
            format!("{node} {id} {address}:{port} {:?}", row.status)
        })
        .collect()
    }

    #[test]
    fn a_server_that_serves_alone_has_a_node_and_goes_with_the_group() {
        let member = |id: u64, serves_alone| Member {
            id,
            datacenter: "dc1".into(),
            serves_alone,
            ..Member::default()
        };
        let known = |alive: &[u64]| {
            let members = [member(1, true), member(2, true), member(3, false)];
            let known = members.map(|member| {
                let status = match alive.contains(&member.id) {
                    true => Status::Alive,
                    false => Status::Failed,
                };
                Known::new(member, status)
            });
            BTreeMap::from(known)
        };
        let servers = [voter(1, "one"), voter(2, "two"), voter(3, "three")];
        let mut state = State::default();
        settle(&mut state, &servers, &known(&[1, 2, 3]));
        let level = |name: &str| {
            let row = state.current().view().node(name).cloned();
            row.and_then(|row| row.meta.get("consul-version").cloned())
        };
        assert_eq!(level("one").as_deref(), Some(API_VERSION));
        let one = "one id 10.0.0.1:4647 Passing";
        assert_eq!(rows(&state), [one, "two id 10.0.0.2:4647 Passing"]);
        assert!(
            state.current().view().node("three").is_none(),
            "its own agent registers it"
        );
        settle(&mut state, &servers, &known(&[1, 3]));
        assert_eq!(rows(&state), [one, "two id 10.0.0.2:4647 Critical"]);
        settle(&mut state, &servers[..1], &known(&[1]));
        assert_eq!(rows(&state), [one]);
        assert!(state.current().view().node("two").is_none());
        // Somebody else says something of it.
        let row = state.current().view().node("one").cloned();
        let mut row = row.expect("it is there").as_ref().clone();
        row.meta.insert("consul-version".into(), "9".into());
        let checks = Vec::new();
        let foreign = UpsertNode { node: row, checks };
        let at = Stamp {
            index: 900,
            now: Timestamp::default(),
        };
        let written = state.apply(at, Command::UpsertNode(foreign));
        written.expect("it is taken");
        settle(&mut state, &servers[..1], &known(&[1]));
        let row = state.current().view().node("one").cloned();
        assert_eq!(
            row.expect("it is there").meta["consul-version"],
            API_VERSION
        );
        // It runs tasks from now on: its agent registers the node.
        let now = BTreeMap::from([Known::new(member(1, false), Status::Alive)]);
        settle(&mut state, &servers[..1], &now);
        assert!(state.current().view().node("one").is_none());
    }
}
