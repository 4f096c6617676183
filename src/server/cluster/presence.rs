//! The rows of servers in the catalog: the service `consul`, by which clients find servers.
//!
//! Each stands on the node that the server's agent registers, so a server without a client part
//! has none. The leader writes all of them.

use mesh::model::{Service, ServiceKey};
use mesh::state::{Command, Register};
use mesh::view::View;
use mesh::wire::API_VERSION;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{Core, Voter, log::watch::Topic};

/// Name and id of the service.
const NAME: &str = "consul";
/// Pause after a row that could not be written.
const PAUSE: Duration = Duration::from_secs(1);

/// Puts the rows where they are missing until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut group = core.directory.changed();
    loop {
        group.borrow_and_update();
        let servers = core.raft.configuration();
        let topics = servers
            .iter()
            .map(|server| Topic::MeshNode(server.name.as_str().into()));
        // First the subscription, then the look: no change is missed.
        let subscription = core.published.watch().subscribe(topics);
        let snapshot = core.published.current();
        let mut commands = servers
            .iter()
            .filter_map(|server| missing(server, snapshot.mesh.view()));
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

/// What puts the row there; nothing when it is there, or the node is not.
fn missing(server: &Voter, catalog: &View) -> Option<Command> {
    let node = catalog.node(&server.name)?;
    let key = ServiceKey {
        node: node.name.clone(),
        id: NAME.into(),
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
        id: NAME.into(),
        name: NAME.into(),
        port,
        meta: meta
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Service::default()
    }
}
