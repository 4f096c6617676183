//! Configuration to running parts, in order, and back.

use super::{
    cluster, counting,
    data_plane::{DataPlane, Zone},
    definitions,
    external::{Advertise, External, Feed, Itself, Place, Search, Seeker, Wanted, WantedServers},
    https,
    ingress::{OpenIngress, Reloads, aliases},
    listeners::{BindError, Bound, Listeners, callers},
    names::OwnNames,
    own_drain::OwnDrain,
    parts::{Parts, log_end},
    pushing,
    readiness::Readiness,
    requests::{Request, Requests},
    runtimes::{Planes, join},
    shown,
    signal::Ending,
};
use client::{self, Client};
use config::{Config, Connections, Leaves, RpcSecurity};
use jobs::{control::GcLimits, model::NodeId};
use mesh::wire::AgentIdentity;
use rpc::{
    message::Hello, security::Security, servers::Servers, session::Session, tunnel::Introduction,
};
use server::{self, Server, StartError};
use std::{
    collections::BTreeSet,
    future::{Future, pending, ready},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use sys::{callers::Callers, descriptors, disk};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

/// Bytes that must be free on the disk of the data directory at the start.
const ROOM_BYTES_MIN: u64 = 1 << 20;
/// Between two looks for room.
const ROOM_LOOK: Duration = Duration::from_millis(250);
/// Between two words about a full disk.
const ROOM_REMINDER_INTERVAL: Duration = Duration::from_secs(10);
/// Descriptors that an agent should have.
const DESCRIPTORS_WANTED: u64 = 1024;

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener is not to be had.
    #[error(transparent)]
    Bind(#[from] BindError),
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
    /// What files define cannot be registered.
    #[error("{}", .0.join("\n"))]
    Definitions(Vec<String>),
    /// Other machines cannot be reached as configured.
    #[error("`tls`: {0}")]
    Security(String),
    /// The catalog API cannot be offered over TLS.
    #[error("the catalog API cannot be offered over TLS: {0}")]
    Tls(String),
    /// The client's state cannot be used.
    #[error(transparent)]
    Client(#[from] client::OpenError),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    listeners: Listeners,
    readiness: Readiness,
    parts: Parts,
    requests: Requests,
    reloads: Option<Reloads>,
    /// Rules of TLS of the catalog's listener.
    tls: Option<https::Rules>,
    /// The client part, if there is one.
    client: Option<client::Handle>,
    server: server::Handle,
    leaves: Leaves,
    /// How its node is emptied when it leaves; none when it is not.
    drain: Option<OwnDrain>,
    /// Removed when the agent is dropped.
    _temporary: Option<TempDir>,
}

impl Agent {
    /// Starts every part, each on its runtime; they take work once [`Agent::ready`] resolves. As
    /// long as the disk of the data directory is full, nothing could be acknowledged: until there
    /// is room, DNS and ingress answer as without servers, and the APIs say why nothing else does.
    ///
    /// # Errors
    /// Any [`Error`]; nothing runs then, and nothing is held.
    pub async fn start(mut config: Config, planes: &Planes) -> Result<Self, Error> {
        for note in &config.notes {
            tracing::warn!("{note}");
        }
        let defined = definitions::read(&config).map_err(Error::Definitions)?;
        let tls = config.https.as_ref().map(https::rules).transpose();
        let tls = tls.map_err(Error::Tls)?;
        let security = cluster::security(&config).map_err(Error::Security)?;
        let temporary = prepare_data_dir(&mut config)?;
        let limits = Connections::within(descriptors());
        let bound = Bound::open(&config, limits, &security, planes).await?;
        let listeners = bound.addresses.clone();
        let common = api::Common {
            access: api::Access::new(
                config.api.allowed_hosts.clone(),
                config.api.allowed_origins.clone(),
            ),
            bodies: api::Bodies::default(),
        };
        let shutdown = config.ingress.as_ref().map(|ingress| ingress.shutdown);
        let mut parts = Parts::new(shutdown.unwrap_or_default());
        let Traffic {
            dns,
            proxy,
            reloads,
            admin_tls,
        } = serve_traffic(&parts, planes, bound.dns, bound.ingress);
        let asked = dns.clone();
        let (tls, tls_reader) = match tls.map(watch::channel) {
            Some((rules, reader)) => (Some(rules), Some(reader)),
            None => (None, None),
        };
        let of_jobs = callers(config.callers.http);
        let of_catalog = callers(config.callers.catalog);
        let of_ingress = Callers::default();
        let handshake_max = config.callers.https_handshake;
        let listen =
            |socket: &Arc<TcpListener>, tls, connections_max, callers: &Callers| api::Listener {
                socket: Arc::clone(socket),
                tls,
                connections_max,
                callers: callers.clone(),
                handshake_max,
            };
        let secured = tls_reader.clone();
        let apis = [
            (&bound.http, None, limits.http, &of_jobs),
            (
                &bound.ingress_admin,
                admin_tls.clone(),
                limits.ingress_admin,
                &of_ingress,
            ),
            (&bound.catalog, None, limits.catalog, &of_catalog),
            (&bound.https, secured, limits.catalog, &of_catalog),
        ];
        let apis = apis.into_iter().filter_map(|(socket, tls, most, callers)| {
            Some(listen(socket.as_ref()?, tls, most, callers))
        });
        wait_for_room(&server_dir(&config), &listeners, apis, &common, planes).await;
        // Everything else that can fail comes before anything else runs.
        let servers = cluster::servers(&config, &listeners);
        let server_config = server_config(&config, &listeners, &security);
        let opened = open(
            &config,
            &listeners,
            server_config,
            (bound.rpc, bound.serf),
            &servers,
            planes,
        );
        let (mut client, server) = match Box::pin(opened).await {
            Ok(opened) => opened,
            Err(error) => {
                parts.stop(ready(())).await;
                return Err(error);
            }
        };

        let (carry, carried) = cluster::requests();
        let server_handle = match server {
            Control::Here(mut server) => {
                let handle = server.handle();
                if let Some(requested) = server.take_requested() {
                    let carry = carry.clone();
                    parts.edge(planes.control(), |stopped| {
                        cluster::hand_on(requested, carry, stopped)
                    });
                }
                parts.server(planes.control(), |stopped| server.run(stopped));
                handle
            }
            Control::Elsewhere(handle) => handle,
        };

        let node = client.as_ref().map(Client::node);
        let node_id = node.as_ref().map(|node| node.id);
        let hello = Hello {
            agent_id: uuid::Uuid::new_v4().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            rules: client::RULES,
            node: node.map(|node| (*node).clone()),
            data_plane: config.dns.is_some() || config.ingress.is_some(),
            counts: config.ingress.is_some(),
            server: config.server.as_ref().map(|_| config.name.clone()),
            region: config.region.clone(),
            ..Hello::default()
        };
        let introduction = hello.node.as_ref().map(|node| Introduction {
            node_id: node.id,
            secret_id: node.secret_id.clone(),
        });
        let (session, handle, allocs) = Session::with(servers.clone(), security.clone(), hello);
        let seeker = match config.server {
            Some(_) => Seeker::Server(server_handle.clone()),
            None => Seeker::Client(servers.clone()),
        };
        discover(
            &config,
            &listeners,
            &parts,
            planes,
            (seeker, handle.connected()),
        );
        let (known, cluster_reader) = watch::channel(api::consul::Cluster::default());
        {
            let (server, servers, connected) =
                (server_handle.clone(), servers.clone(), handle.connected());
            parts.edge(planes.control(), |stopped| {
                cluster::follow(server, servers, connected, known, stopped)
            });
        }
        if let Some(introduction) = introduction {
            let connected = handle.connected();
            parts.edge(planes.control(), |stopped| {
                cluster::tunnel(security, servers, introduction, connected, carry, stopped)
            });
        }
        parts.edge(planes.data(), |stopped| session.run(stopped));

        let (requests, incoming) = api::consul::agent_requests();
        let (catalog, catalog_reader) = watch::channel(Arc::default());
        let readiness = Readiness {
            connected: handle.connected(),
            catalog: catalog_reader.clone(),
            restored: client.as_ref().map(|client| client.handle().restored()),
        };
        let feeding = config.external.as_ref().filter(|other| other.feeds_ingress);
        let elsewhere = feeding.map(|other| {
            let (feed, found) = Feed::new(other.clone(), Wanted::default());
            parts.edge(planes.data(), |stopped| feed.run(stopped));
            found
        });
        let (aliases, names) = watch::channel(BTreeSet::new());
        let routed = CancellationToken::new();
        let data_plane = DataPlane {
            aliases,
            routed: routed.clone(),
            session: handle.clone(),
            catalog,
            elsewhere,
            dns,
            proxy: proxy.clone(),
            matching: config
                .ingress
                .as_ref()
                .map(|ingress| ingress.matching)
                .unwrap_or_default(),
            zone: zone(&config),
            hold: config
                .ingress
                .as_ref()
                .map_or(Duration::ZERO, |ingress| ingress.resilience.hold),
        };
        parts.edge(planes.data(), |stopped| data_plane.run(stopped));
        if let Some(proxy) = proxy.clone() {
            let session = handle.clone();
            parts.edge(planes.data(), |stopped| async move {
                tokio::select! {
                    () = counting::run(proxy, session) => {}
                    () = stopped => {}
                }
            });
        }
        if let (Some(settings), Some(owner)) = (&config.external, node_id) {
            let external = External::new(
                settings.clone(),
                handle.clone(),
                config.name.as_str().into(),
                owner.to_string().into(),
            );
            parts.edge(planes.control(), |stopped| external.run(stopped));
        }
        let opened = client.as_mut().and_then(Client::take_opened);
        let asked_here = client.as_mut().and_then(Client::take_asked);
        let client_handle = client.as_ref().map(Client::handle);
        if let Some(client) = &client_handle
            && let Err(error) = definitions::load(client.registered(), defined).await
        {
            tracing::error!(error, "what files define is not registered");
        }
        if let (Some(client), Some(address)) = (client_handle.clone(), listeners.ingress) {
            parts.inviting(planes.control(), |leaving| async move {
                aliases::follow(client.registered(), address, names, leaving).await;
            });
        }
        if let Some(proxy) = proxy.clone() {
            parts.inviting(planes.control(), |leaving| async move {
                leaving.await;
                proxy.leave();
            });
        }
        if let Some(client) = client {
            parts.client(planes.client(), |stop| client.run(handle, allocs, stop));
        }

        let client_of_reload = client_handle.clone();
        let server_of_agent = server_handle.clone();
        let api = api::Api::new(
            server_handle.clone(),
            client_handle.clone(),
            proxy,
            api::Facts {
                routed,
                ..facts(&config, &listeners, node_id, asked, parts.stopping())
            },
        );
        if !config.telemetry.receivers.is_empty() {
            let (api, settings) = (api.clone(), config.telemetry.clone());
            parts.edge(planes.control(), |stopped| {
                pushing::run(api, settings, stopped)
            });
        }
        let serve = |listener, router| {
            let common = common.clone();
            parts.edge(planes.control(), |stopped| {
                api::serve(listener, router, common, stopped)
            });
        };
        let admin = api::fabio::router(api.clone());
        if let Some(socket) = &bound.ingress_admin {
            let listener = listen(socket, admin_tls, limits.ingress_admin, &of_ingress);
            serve(listener, admin.clone());
        }
        // Others carry requests for the catalog here whether or not this agent listens for them.
        let has_pages = config.ui.is_enabled && bound.catalog.is_some();
        let catalog = {
            let catalog = catalog_of(
                &config,
                &listeners,
                node_id,
                (server_handle, client_handle),
                (catalog_reader, cluster_reader),
            )
            .with_requests(requests);
            let catalog = if config.registration.remote_scripts {
                catalog.with_scripts()
            } else {
                catalog
            };
            let catalog = match listeners.http {
                Some(http) if config.ui.is_enabled => catalog.with_ui(http.port()),
                _ => catalog,
            };
            let router = api::consul::router(catalog);
            // Both listeners have the connections of one.
            let mut plain_max = limits.catalog;
            if let Some(socket) = &bound.https {
                let secured_max = limits.catalog / 2;
                plain_max -= secured_max;
                let listener = listen(socket, tls_reader, secured_max, &of_catalog);
                serve(listener, router.clone());
            }
            if let Some(socket) = &bound.catalog {
                let listener = listen(socket, None, plain_max, &of_catalog);
                serve(listener, router.clone());
            }
            router
        };
        let jobs = api::jobs_router(api, has_pages.then(|| catalog.clone()));
        if let Some(socket) = &bound.http {
            let listener = listen(socket, None, limits.http, &of_jobs);
            serve(listener, jobs.clone());
        }
        if let Some(opened) = opened {
            let (jobs, common) = (jobs.clone(), common.clone());
            parts.edge(planes.control(), |stopped| {
                api::tasks(opened, jobs, common, stopped)
            });
        }
        if let Some(asked) = asked_here {
            let (jobs, common) = (jobs.clone(), common.clone());
            parts.edge(planes.control(), |stopped| {
                api::own(asked, jobs, common, stopped)
            });
        }
        let drain = config.client.as_ref().and_then(|client| client.drain);
        let drain = drain.zip(node_id).map(|(drain, id)| {
            let node = api::OwnNode::new(jobs.clone(), id);
            OwnDrain::new(node, drain)
        });
        let routers = Routers {
            jobs,
            catalog,
            ingress: admin,
        };
        {
            let common = common.clone();
            parts.edge(planes.control(), |stopped| {
                api::carried(carried, move |dialect| routers.of(dialect), common, stopped)
            });
        }
        Ok(Self {
            listeners,
            readiness,
            parts,
            client: client_of_reload,
            server: server_of_agent,
            leaves: config.leaves,
            drain,
            requests: Requests::new(incoming),
            reloads,
            tls,
            _temporary: temporary,
        })
    }

    /// Resolves when the agent as a whole is asked to do something.
    pub async fn requested(&self) -> Request {
        self.requests.next().await
    }

    /// Takes over what may change while it runs: how much is logged, what files define, listeners
    /// and certificates of the ingress, and the certificate of the catalog API.
    ///
    /// # Errors
    /// What is wrong, in a line each; nothing is taken over then.
    pub async fn reload(&self, config: &Config) -> Result<(), String> {
        let defined = definitions::read(config).map_err(|problems| problems.join("\n"))?;
        let rules = match (&self.tls, &config.https) {
            (Some(tls), Some(settings)) => Some((tls, https::rules(settings)?)),
            (None, None) => None,
            _ => {
                tracing::warn!("`ports.https` is taken over when the agent starts again");
                None
            }
        };
        telemetry::set_level(&config.log_level)
            .map_err(|_| "`log_level` is neither a level nor a filter".to_owned())?;
        if let Some(client) = &self.client {
            definitions::load(client.registered(), defined).await?;
        }
        if let Some((tls, rules)) = rules {
            tls.send_replace(rules);
        }
        if let Some(reloads) = &self.reloads {
            reloads.reload(config).await;
        }
        tracing::info!("the configuration was read again");
        Ok(())
    }

    /// Where it listens.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Resolves when the agent takes work: a leader is known and has registered the node, DNS and
    /// ingress answer from the catalog, and allocations of an earlier agent are known. Until then
    /// the log says every few seconds what is missing.
    pub async fn ready(&self) {
        self.readiness.clone().wait().await;
    }

    /// Resolves when a part that the others cannot do without has ended by itself; the log says
    /// why. Then the agent is to be stopped.
    pub async fn broke(&self) {
        self.parts.server_ended().await;
    }

    /// Empties the node of this agent if that is asked for, then lets its server leave the others;
    /// bounded in time, unless the drain has no deadline.
    pub async fn leave(&self) {
        // The servers that empty the node may be this one alone.
        if let Some(drain) = &self.drain {
            drain.run().await;
        }
        self.server.leave().await;
    }

    /// Whether it is to leave the others before it ends so.
    pub fn leaves_at(&self, ending: Ending) -> bool {
        match ending {
            Ending::Interrupt => self.leaves.on_interrupt,
            Ending::Terminate => self.leaves.on_terminate,
        }
    }

    /// Stops every part; bounded in time, whatever hangs.
    pub async fn stop(self) {
        self.stop_early(pending()).await;
    }

    /// The same, without the rest of the ingress's grace from the moment at which `hurry` resolves.
    pub async fn stop_early(self, hurry: impl Future<Output = ()>) {
        self.parts.stop(hurry).await;
    }
}

/// What answers traffic, as others reach it.
struct Traffic {
    dns: Option<dns::Handle>,
    proxy: Option<proxy::Handle>,
    reloads: Option<Reloads>,
    /// Rules of TLS of the ingress's admin address, if it has any.
    admin_tls: Option<https::RulesReader>,
}

/// Lets DNS and ingress answer. They know nothing until the data plane tells them.
fn serve_traffic(
    parts: &Parts,
    planes: &Planes,
    dns: Option<dns::Dns>,
    ingress: Option<OpenIngress>,
) -> Traffic {
    let mut traffic = Traffic {
        dns: dns.as_ref().map(dns::Dns::handle),
        proxy: ingress.as_ref().map(|open| open.proxy.handle()),
        reloads: None,
        admin_tls: ingress.as_ref().and_then(OpenIngress::admin_reader),
    };
    if let Some(dns) = dns {
        parts.edge(planes.data(), |stopped| async move {
            log_end("DNS", dns.run(stopped).await);
        });
    }
    if let Some(OpenIngress {
        proxy,
        sources,
        admin,
    }) = ingress
    {
        let _guard = planes.data().enter();
        traffic.reloads = Some(Reloads::new(proxy.handle(), sources, admin));
        parts.edge(planes.data(), |stopped| async move {
            log_end("ingress", proxy.run(stopped).await);
        });
    }
    traffic
}

/// Lets a catalog elsewhere know of this agent, and looks for servers there.
fn discover(
    config: &Config,
    listeners: &Listeners,
    parts: &Parts,
    planes: &Planes,
    (seeker, connected): (Seeker, watch::Receiver<bool>),
) {
    let (Some(settings), Some(discovery)) = (&config.external, &config.discovery) else {
        return;
    };
    let rpc_address = cluster::rpc_address(config, listeners);
    if discovery.is_advertised {
        let gossip = cluster::gossip(config, listeners);
        let place = |advertised, bound: Option<SocketAddr>| {
            let (advertised, bound) = (advertised?, bound?);
            Some(Place { advertised, bound })
        };
        let http = listeners.http;
        let advertised = cluster::http_address(config, listeners);
        let agent = Itself {
            name: config.name.clone(),
            region: config.region.clone(),
            http: place(advertised, http),
            rpc: place(rpc_address.parse().ok(), listeners.rpc),
            serf: place(gossip.map(|gossip| gossip.address), listeners.serf),
            has_client: config.client.is_some(),
        };
        let advertise = Advertise::new(settings.clone(), discovery, &agent);
        parts.inviting(planes.control(), |leaving| advertise.run(leaving));
    }
    if discovery.asks_for_servers {
        let wanted = WantedServers {
            service: discovery.servers.clone(),
            region: config.region.clone(),
            own: rpc_address,
            may_be_far: config.rpc_security != RpcSecurity::Loopback,
        };
        let search = Search::new(settings.clone(), wanted);
        parts.edge(planes.control(), |stopped| {
            search.run(seeker, connected, stopped)
        });
    }
}

/// The server of this agent, or the way to those elsewhere.
enum Control {
    Here(Server),
    Elsewhere(server::Handle),
}

/// The routers that other agents ask through this one.
struct Routers {
    jobs: api::Router,
    catalog: api::Router,
    ingress: api::Router,
}

impl Routers {
    fn of(&self, dialect: server::Dialect) -> api::Router {
        match dialect {
            server::Dialect::Jobs => self.jobs.clone(),
            server::Dialect::Catalog => self.catalog.clone(),
            server::Dialect::Ingress => self.ingress.clone(),
        }
    }
}

/// Opens what is on disk: the state of the client, if there is one, and the log of the server, if
/// there is one.
async fn open(
    config: &Config,
    listeners: &Listeners,
    server_config: server::Config,
    (rpc, serf): (Option<rpc::transport::Listener>, Option<UdpSocket>),
    servers: &Servers,
    planes: &Planes,
) -> Result<(Option<Client>, Control), Error> {
    let client = client_config(config, listeners);
    let client = planes
        .client()
        .spawn_blocking(|| client.map(Client::new).transpose());
    let servers = servers.clone();
    let server = planes.control().spawn(async move {
        match rpc {
            Some(rpc) => {
                let mut server = Server::start(server_config, rpc).await?;
                if let Some(socket) = serf {
                    server.hear(socket)?;
                }
                Ok(Control::Here(server))
            }
            None => {
                server::Handle::absent(server_config, servers, NO_SERVER).map(Control::Elsewhere)
            }
        }
    });
    match tokio::join!(join(client), join(server)) {
        (Ok(client), Ok(server)) => Ok((client, server)),
        (Err(error), server) => {
            if let Ok(Control::Here(server)) = server {
                // It leads already.
                join(planes.control().spawn(server.run(ready(())))).await;
            }
            Err(error.into())
        }
        (Ok(_), Err(error)) => Err(error.into()),
    }
}

/// Why an agent without a server writes nothing itself.
const NO_SERVER: &str = "this agent runs no server";

/// Waits until something can be written. Meanwhile the log and the APIs say why nothing else
/// happens.
async fn wait_for_room(
    data_dir: &Path,
    listeners: &Listeners,
    apis: impl Iterator<Item = api::Listener>,
    common: &api::Common,
    planes: &Planes,
) {
    if free_bytes(data_dir) >= ROOM_BYTES_MIN {
        return;
    }
    let reason = format!(
        "the disk of the data directory {} is full",
        data_dir.display()
    );
    let refusing = Parts::default();
    for listener in apis {
        let (router, common) = (api::refusing(&reason), common.clone());
        refusing.edge(planes.control(), |stopped| {
            api::serve(listener, router, common, stopped)
        });
    }
    let listening = listeners.all().into_iter();
    let listening: Vec<String> = listening
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    let mut reminder = interval(ROOM_REMINDER_INTERVAL);
    loop {
        let free = free_bytes(data_dir);
        if free >= ROOM_BYTES_MIN {
            break;
        }
        tokio::select! {
            biased;
            _ = reminder.tick() => tracing::error!(
                data_dir = %data_dir.display(),
                free_bytes = free,
                listening = listening.join(", "),
                "the disk of the data directory is full; until there is room, DNS and ingress \
                 answer as without servers and nothing else works"
            ),
            () = sleep(ROOM_LOOK) => {}
        }
    }
    refusing.stop(ready(())).await;
}

/// How much is free; a system that does not say is tried.
fn free_bytes(data_dir: &Path) -> u64 {
    disk::free_bytes(data_dir).unwrap_or(u64::MAX)
}

/// How many descriptors there are, after taking all that the system allows.
pub(super) fn descriptors() -> u64 {
    match descriptors::raise() {
        Ok(descriptors) => {
            if descriptors < DESCRIPTORS_WANTED {
                tracing::warn!(
                    descriptors,
                    "this process may open few files, so each listener takes few connections; allow more with \
                     `ulimit -n` or `LimitNOFILE`"
                );
            }
            descriptors
        }
        Err(error) => {
            tracing::warn!(%error, "the system does not say how many files this process may open");
            DESCRIPTORS_WANTED
        }
    }
}

/// Makes the data directory, a temporary one for a dev agent that names none.
fn prepare_data_dir(config: &mut Config) -> Result<Option<TempDir>, Error> {
    let failed = |path: PathBuf| move |source| Error::DataDir { path, source };
    let mut temporary = None;
    if config.dev && config.data_dir.as_os_str().is_empty() {
        let parent = std::env::temp_dir();
        let made = tempfile::Builder::new()
            .prefix("trivet-dev-")
            .tempdir_in(&parent);
        let made = made.map_err(failed(parent))?;
        config.data_dir = made.path().to_path_buf();
        temporary = Some(made);
    }
    for dir in [config.data_dir.clone(), server_dir(config)] {
        std::fs::create_dir_all(&dir).map_err(failed(dir))?;
    }
    Ok(temporary)
}

fn server_config(config: &Config, listeners: &Listeners, security: &Security) -> server::Config {
    let cluster = config.server.as_ref();
    server::Config {
        data_dir: server_dir(config),
        name: config.name.clone(),
        datacenter: config.datacenter.clone(),
        region: config.region.clone(),
        rpc_address: cluster::rpc_address(config, listeners),
        lease: cluster.map_or(server::Config::LEASE, |server| server.lease),
        gc: cluster.map_or_else(GcLimits::default, |server| server.gc.clone()),
        oidc_issuer: cluster.and_then(|server| server.oidc_issuer.clone()),
        cluster: server::ClusterConfig {
            expect: cluster.map_or(0, |server| server.bootstrap_expect),
            join: cluster.map_or_else(Vec::new, |server| server.join.clone()),
            security: security.clone(),
            joining: cluster::joining(config),
            gossip: cluster::gossip(config, listeners),
            autopilot: cluster.map_or_else(Default::default, |server| server.autopilot),
        },
        serves_alone: config.client.is_none(),
        tuning: cluster.map_or_else(server::Tuning::default, |server| server::Tuning {
            rhythm: server.scheduling.rhythm,
            event_buffer: server.scheduling.event_buffer,
            raft_multiplier: server.scheduling.raft_multiplier,
            scheduler: server.scheduling.first,
        }),
    }
}

/// Where the files of the server are.
fn server_dir(config: &Config) -> PathBuf {
    let server = config.server.as_ref();
    let own = server.and_then(|server| server.data_dir.clone());
    own.unwrap_or_else(|| config.data_dir.clone())
}

fn client_config(config: &Config, listeners: &Listeners) -> Option<client::Config> {
    let client = config.client.as_ref()?;
    Some(client::Config {
        data_dir: client
            .state_dir
            .clone()
            .unwrap_or_else(|| config.data_dir.join("client")),
        alloc_dir: client.alloc_dir(&config.data_dir),
        name: config.name.clone(),
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        takes_jobs: client.takes_jobs,
        node_id: client.node_id,
        has_host_id: client.has_host_id,
        kill_timeout_max: client.kill_timeout_max,
        takes_commands: client.takes_commands,
        options: client.options.clone(),
        artifact: client.artifact,
        template: client.template.clone(),
        node_class: client.node_class.clone(),
        node_pool: "default".into(),
        meta: client.meta.clone(),
        address: (client.networks.usual.as_ref()).map_or(config.advertise, |usual| usual.address),
        networks: client.networks.clone(),
        http_addr: cluster::http_address(config, listeners)
            .map_or_else(String::new, |address| address.to_string()),
        version: env!("CARGO_PKG_VERSION").into(),
        raw_exec: client.raw_exec,
        executable: std::env::current_exe().unwrap_or_else(|_| "trivet".into()),
        dynamic_ports: client.dynamic_ports,
        reserved: client.reserved.clone(),
        cpu_mhz: client.cpu_mhz,
        memory_mib: client.memory_mib,
        artifact_dirs: client.artifact_dirs.clone(),
        plugins: client.plugins.clone(),
        host_volumes: client.host_volumes.clone(),
        chroot_env: client.chroot_env.clone(),
        bridge: client.bridge.clone(),
        collection: client.collection,
        cni: client.cni.clone(),
        dev: config.dev,
    })
}

/// What names are made of; the datacenter counts for routes too.
fn zone(config: &Config) -> Zone {
    let (datacenter, node) = (config.datacenter.clone(), config.name.clone());
    let named = config.dns.as_ref().map(|dns| Zone {
        domain: dns.domain.clone(),
        alt_domain: dns.alt_domain.clone(),
        only_passing: dns.only_passing,
        ..Zone::default()
    });
    Zone {
        datacenter,
        node,
        ..named.unwrap_or_default()
    }
}

fn facts(
    config: &Config,
    listeners: &Listeners,
    node_id: Option<NodeId>,
    dns: Option<dns::Handle>,
    stopping: CancellationToken,
) -> api::Facts {
    api::Facts {
        name: config.name.clone(),
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        rpc_address: cluster::rpc_address(config, listeners),
        node_id,
        config: shown::configuration(config, listeners),
        ingress: shown::ingress(config.ingress.as_ref()),
        admin_is_read_only: config
            .ingress
            .as_ref()
            .is_some_and(|ingress| ingress.admin_is_read_only),
        names: dns.map(|dns| Arc::new(OwnNames(dns)) as Arc<dyn api::Names>),
        told: api::ToldFigures {
            hides_prometheus: config.telemetry.hides_prometheus,
            has_allocations: config.telemetry.tells_allocations,
            has_node: config.telemetry.tells_node,
        },
        stopping,
        ..api::Facts::default()
    }
}

fn catalog_of(
    config: &Config,
    listeners: &Listeners,
    node_id: Option<NodeId>,
    (server, client): (server::Handle, Option<client::Handle>),
    (catalog, cluster): (
        watch::Receiver<Arc<mesh::view::View>>,
        watch::Receiver<api::consul::Cluster>,
    ),
) -> api::consul::Catalog {
    let node_id = match node_id {
        Some(id) => id.to_string(),
        None if config.server.is_some() => server::node_id(&config.name).to_string(),
        None => String::new(),
    };
    let identity = AgentIdentity {
        node_id,
        node_name: config.name.clone(),
        datacenter: config.datacenter.clone(),
        advertise_address: config.advertise.to_string(),
        member_port: listeners.rpc.map_or(0, |rpc| rpc.port()),
        is_server: config.server.is_some(),
        version: env!("CARGO_PKG_VERSION").into(),
        revision: String::new(),
    };
    api::consul::Catalog::new(identity, server, client, catalog, cluster)
}
