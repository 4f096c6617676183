//! Configuration to running parts, in order, and back.

use super::{
    feeds::Feeds,
    listeners::{Bound, Listeners, Taken},
};
use crate::{
    api,
    client::{self, Client},
    config::Config,
    rpc::{message::Hello, session::Session},
    server::{self, Server, StartError},
};
use jobs::model::NodeId;
use mesh::wire::AgentIdentity;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long the parts may take to stop before the agent leaves anyway. Tasks of a dev agent have their
/// own bounds (`kill_timeout`), which lie below.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener is not to be had.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The data directory cannot be used.
    #[error("cannot use the data directory `{}`: {source}", .path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Server(#[from] StartError),
    /// The client's state cannot be used.
    #[error(transparent)]
    Client(#[from] client::OpenError),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    listeners: Listeners,
    client: Option<JoinHandle<()>>,
    stop_client: CancellationToken,
    edge: TaskTracker,
    stop_edge: CancellationToken,
    server: JoinHandle<()>,
    stop_server: CancellationToken,
    server_ended: CancellationToken,
    /// Removed when the agent is dropped.
    _temporary: Option<TempDir>,
}

impl Agent {
    /// Starts every part; ready when this returns.
    ///
    /// # Errors
    /// Any [`Error`]; nothing runs then.
    pub async fn start(mut config: Config) -> Result<Self, Error> {
        let temporary = prepare_data_dir(&mut config)?;
        let bound = Bound::open(&config).await?;
        let listeners = bound.addresses.clone();
        let server = Server::start(server_config(&config, &listeners), bound.rpc).await?;
        let server_handle = server.handle();
        let stop_server = CancellationToken::new();
        let server_ended = CancellationToken::new();
        let server = tokio::spawn({
            let ended = server_ended.clone().drop_guard();
            let running = server.run(stop_server.clone().cancelled_owned());
            async move {
                running.await;
                drop(ended);
            }
        });

        let stop_client = CancellationToken::new();
        let stop_edge = CancellationToken::new();
        let edge = TaskTracker::new();
        let prepared = match client_config(&config, &listeners) {
            Some(client) => Some(Client::new(client)?),
            None => None,
        };
        let node = prepared.as_ref().map(Client::node);
        let node_id = node.as_ref().map(|node| node.id);
        let hello = Hello {
            agent_id: uuid::Uuid::new_v4().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            node: node.map(|node| (*node).clone()),
            data_plane: config.dns.is_some() || config.ingress.is_some(),
        };
        let (session, handle, allocs) = Session::new(listeners.rpc, hello);
        edge.spawn(session.run(stop_edge.clone().cancelled_owned()));

        let (catalog, catalog_reader) = watch::channel(Arc::default());
        let proxy = bound.ingress.as_ref().map(proxy::Proxy::handle);
        let feeds = Feeds {
            session: handle.clone(),
            catalog,
            dns: bound.dns.as_ref().map(dns::Dns::handle),
            proxy: proxy.clone(),
            domain: config
                .dns
                .as_ref()
                .map(|dns| dns.domain.clone())
                .unwrap_or_default(),
            datacenter: config.datacenter.clone(),
        };
        edge.spawn(feeds.run(stop_edge.clone().cancelled_owned()));
        if let Some(dns) = bound.dns {
            let stopped = stop_edge.clone().cancelled_owned();
            edge.spawn(async move { log_end("DNS", dns.run(stopped).await) });
        }
        if let Some(proxy) = bound.ingress {
            let stopped = stop_edge.clone().cancelled_owned();
            edge.spawn(async move { log_end("ingress", proxy.run(stopped).await) });
        }

        let client_handle = prepared.as_ref().map(Client::handle);
        let client =
            prepared.map(|client| tokio::spawn(client.run(handle, allocs, stop_client.clone())));

        let api = api::Api::new(
            server_handle,
            client_handle,
            proxy,
            facts(&config, &listeners, node_id),
        );
        let serve = |listener, router| {
            edge.spawn(api::serve(
                listener,
                router,
                stop_edge.clone().cancelled_owned(),
            ));
        };
        serve(bound.http, api::nomad::router(api.clone()));
        if let Some(listener) = bound.ingress_admin {
            serve(listener, api::fabio::router(api));
        }
        if let Some(listener) = bound.catalog {
            let catalog = catalog_of(&config, &listeners, node_id, catalog_reader);
            serve(listener, api::consul::router(catalog));
        }
        edge.close();
        Ok(Self {
            listeners,
            client,
            stop_client,
            edge,
            stop_edge,
            server,
            stop_server,
            server_ended,
            _temporary: temporary,
        })
    }

    /// Where it listens.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Resolves when a part that the others cannot do without has ended by itself; the log says why. Then
    /// the agent is to be stopped.
    pub async fn broke(&self) {
        self.server_ended.cancelled().await;
    }

    /// Stops every part: the client first, which still needs the others, then the listeners, then the
    /// server.
    pub async fn stop(self) {
        self.stop_client.cancel();
        if let Some(client) = self.client {
            finish("client", client).await;
        }
        self.stop_edge.cancel();
        if timeout(STOP_TIMEOUT, self.edge.wait()).await.is_err() {
            tracing::warn!("some listeners did not stop in time");
        }
        self.stop_server.cancel();
        finish("server", self.server).await;
    }
}

async fn finish(part: &'static str, running: JoinHandle<()>) {
    match timeout(STOP_TIMEOUT, running).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(part, %error, "a part ended badly"),
        Err(_) => tracing::warn!(part, "a part did not stop in time"),
    }
}

fn log_end<E: std::fmt::Display>(part: &'static str, ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::error!(part, %error, "a part ended");
    }
}

/// Makes the data directory, a temporary one for a dev agent that names none.
fn prepare_data_dir(config: &mut Config) -> Result<Option<TempDir>, Error> {
    let failed = |path: PathBuf| move |source| Error::DataDir { path, source };
    if config.dev && config.data_dir.as_os_str().is_empty() {
        let parent = std::env::temp_dir();
        let made = tempfile::Builder::new()
            .prefix("trivet-dev-")
            .tempdir_in(&parent);
        let temporary = made.map_err(failed(parent))?;
        config.data_dir = temporary.path().to_path_buf();
        return Ok(Some(temporary));
    }
    std::fs::create_dir_all(&config.data_dir).map_err(failed(config.data_dir.clone()))?;
    Ok(None)
}

fn server_config(config: &Config, listeners: &Listeners) -> server::Config {
    server::Config {
        data_dir: config.data_dir.clone(),
        name: config.name.clone(),
        datacenter: config.datacenter.clone(),
        region: config.region.clone(),
        rpc_address: listeners.rpc.to_string(),
        lease: server::Config::LEASE,
        gc: server::Config::gc_limits(),
    }
}

fn client_config(config: &Config, listeners: &Listeners) -> Option<client::Config> {
    let client = config.client.as_ref()?;
    Some(client::Config {
        data_dir: config.data_dir.join("client"),
        alloc_dir: config.data_dir.join("alloc"),
        name: config.name.clone(),
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        node_class: client.node_class.clone(),
        node_pool: "default".into(),
        meta: client.meta.clone(),
        address: config.advertise,
        http_addr: format!("{}:{}", config.advertise, listeners.http.port()),
        version: env!("CARGO_PKG_VERSION").into(),
        raw_exec: client.raw_exec,
        executable: std::env::current_exe().unwrap_or_else(|_| "trivet".into()),
        dynamic_ports: client.dynamic_ports,
        cpu_mhz: client.cpu_mhz,
        memory_mib: client.memory_mib,
        dev: config.dev,
    })
}

fn facts(config: &Config, listeners: &Listeners, node_id: Option<NodeId>) -> api::Facts {
    api::Facts {
        name: config.name.clone(),
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        rpc_address: listeners.rpc.to_string(),
        node_id,
    }
}

fn catalog_of(
    config: &Config,
    listeners: &Listeners,
    node_id: Option<NodeId>,
    catalog: watch::Receiver<Arc<mesh::state::Snapshot>>,
) -> api::consul::Catalog {
    let node_id = node_id.map_or_else(String::new, |id| id.to_string());
    let identity = AgentIdentity {
        node_id: node_id.clone(),
        node_name: config.name.clone(),
        datacenter: config.datacenter.clone(),
        advertise_address: config.advertise.to_string(),
        member_port: listeners.rpc.port(),
        is_server: true,
        version: env!("CARGO_PKG_VERSION").into(),
        revision: String::new(),
    };
    let peer = api::consul::ServerPeer {
        node_id,
        address: listeners.rpc.to_string(),
    };
    let cluster = api::consul::Cluster {
        leader: Some(listeners.rpc.to_string()),
        servers: vec![peer],
        last_contact: None,
    };
    // The one server of this version leads as long as it runs; the sender may go.
    let (_, cluster) = watch::channel(cluster);
    api::consul::Catalog::new(identity, catalog, cluster)
}
