//! This agent among the others: how it reaches them, what it knows of the servers, and the
//! requests that they carry here.

use api::consul::{Cluster, ServerPeer};
use config::{Config, RpcSecurity};
use rpc::{
    pool::Pool,
    security::{Security, Strangers},
    servers::Servers,
    transport::{Asked, Kind},
    tunnel::{self, Introduction},
};
use std::{future::Future, net::SocketAddr};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::listeners::Listeners;

/// Requests that wait to be taken.
const CARRIED_MAX: usize = 64;

/// How machines reach each other, with the certificates read.
pub(super) fn security(config: &Config) -> Result<Security, String> {
    match &config.rpc_security {
        RpcSecurity::Loopback | RpcSecurity::Plain => Ok(Security::Plain),
        RpcSecurity::Mutual {
            servers,
            authority,
            certificate,
            key,
            joining,
        } => {
            let strangers = match joining {
                Some(_) => Strangers::MayEnroll,
                None => Strangers::Refused,
            };
            Security::mutual(authority, certificate, key, servers, strangers)
        }
    }
}

/// What signs the keys of machines that join, if this one does.
pub(super) fn joining(config: &Config) -> Option<server::Joining> {
    let RpcSecurity::Mutual {
        authority, joining, ..
    } = &config.rpc_security
    else {
        return None;
    };
    joining.as_ref().map(|joining| server::Joining {
        authority: authority.clone(),
        key: joining.key.clone(),
        secrets: joining.secrets.clone(),
    })
}

/// Where others reach the server of this agent; empty when it runs none.
pub(super) fn rpc_address(config: &Config, listeners: &Listeners) -> String {
    let Some(bound) = listeners.rpc else {
        return String::new();
    };
    let usual = || {
        let mut address = bound;
        if address.ip().is_unspecified() {
            address.set_ip(config.advertise);
        }
        address
    };
    config.rpc_advertised.unwrap_or_else(usual).to_string()
}

/// Where others reach the jobs API of this agent; none when it has none.
pub(super) fn http_address(config: &Config, listeners: &Listeners) -> Option<SocketAddr> {
    let bound = listeners.http?;
    let port = config.http_port_advertised.unwrap_or_else(|| bound.port());
    Some(SocketAddr::new(config.advertise, port))
}

/// How the server of this agent hears of others.
pub(super) fn gossip(config: &Config, listeners: &Listeners) -> Option<server::GossipConfig> {
    let settings = config.server.as_ref()?.gossip.as_ref()?;
    let mut usual = listeners.serf?;
    if usual.ip().is_unspecified() {
        usual.set_ip(config.advertise);
    }
    Some(server::GossipConfig {
        address: settings.advertised.unwrap_or(usual),
        key: settings.key.clone(),
    })
}

/// The servers that this agent may go to: its own first.
pub(super) fn servers(config: &Config, listeners: &Listeners) -> Servers {
    let own = listeners.rpc.map(|address| address.to_string());
    Servers::new(own.into_iter().chain(config.servers.iter().cloned()))
}

/// Keeps what the catalog API knows of the servers, until `shutdown`.
pub(super) async fn follow(
    server: server::Handle,
    servers: Servers,
    mut connected: watch::Receiver<bool>,
    known: watch::Sender<Cluster>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let following = async {
        loop {
            let is_connected = *connected.borrow_and_update();
            let leader = server.leader();
            let peers = server.voters().into_iter();
            let mut cluster = Cluster {
                leader: leader.clone(),
                servers: peers
                    .map(|voter| ServerPeer {
                        name: voter.name,
                        address: voter.address,
                    })
                    .collect(),
                last_contact: (!is_connected).then(Instant::now),
            };
            if !server.has_copy() {
                // Whoever holds the stream knows the leader.
                cluster.leader = is_connected.then(|| servers.current());
                cluster.servers = servers
                    .all()
                    .into_iter()
                    .map(|address| ServerPeer {
                        name: String::new(),
                        address,
                    })
                    .collect();
            }
            known.send_modify(|known| {
                // The silence began when it began.
                if let (Some(since), Some(_)) = (known.last_contact, cluster.last_contact) {
                    cluster.last_contact = Some(since);
                }
                *known = cluster;
            });
            tokio::select! {
                changed = connected.changed() => if changed.is_err() { return },
                () = server.servers_after(leader.as_deref()) => {}
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = shutdown => {}
    }
}

/// Holds the tunnel on which the leader asks this agent about its node, and hands the requests on,
/// until `shutdown`.
pub(super) async fn tunnel(
    security: Security,
    servers: Servers,
    introduction: Introduction,
    connected: watch::Receiver<bool>,
    carried: mpsc::Sender<server::Requested>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (asked, mut questions) = mpsc::channel::<Asked>(CARRIED_MAX);
    let handing = async {
        while let Some(asked) = questions.recv().await {
            match asked.kind() {
                Kind::Http(dialect) => {
                    // Without a listener for it the pipe ends.
                    drop(carried.send((dialect, asked.into_pipe())).await);
                }
                Kind::Session | Kind::Tunnel | Kind::Call(_) => {
                    asked.refuse("an agent answers requests of its APIs only");
                }
            }
        }
    };
    let holding = tunnel::hold(
        Pool::new(security),
        servers,
        introduction,
        connected,
        asked,
        shutdown,
    );
    tokio::join!(holding, handing);
}

/// Where requests come together that are carried here.
pub(super) fn requests() -> (
    mpsc::Sender<server::Requested>,
    mpsc::Receiver<server::Requested>,
) {
    mpsc::channel(CARRIED_MAX)
}

/// Hands on what comes through the server.
pub(super) async fn hand_on(
    mut from: mpsc::Receiver<server::Requested>,
    to: mpsc::Sender<server::Requested>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let handing = async {
        while let Some(requested) = from.recv().await {
            if to.send(requested).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = handing => {}
        () = shutdown => {}
    }
}
