//! Where an agent listens. Everything is bound before anything starts, so that a taken port is one
//! clear error and not half an agent.

use super::{
    ingress::{self, OpenIngress, Sources},
    runtimes::{Planes, join},
};
use config::{Config, Connections, Dns, Ingress, Part, PerAddress};
use rpc::{security::Security, transport};
use std::{net::SocketAddr, path::Path, sync::Arc};
use sys::callers::{Callers, Cap};
use tokio::net::{TcpListener, UdpSocket};

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}; choose another with `ports.{name}` or `addresses.{name}`", self.reason())]
pub struct BindError {
    address: SocketAddr,
    what: &'static str,
    name: &'static str,
    reason: String,
}

impl BindError {
    /// One of a listener that is named by `name` where it is configured.
    pub(super) fn new(
        address: SocketAddr,
        (what, name): (&'static str, &'static str),
        reason: String,
    ) -> Self {
        Self {
            address,
            what,
            name,
            reason,
        }
    }

    /// What is wrong, without what to do.
    pub(super) fn reason(&self) -> String {
        let Self {
            address,
            what,
            reason,
            ..
        } = self;
        format!("cannot listen on {address} for {what}: {reason}")
    }
}

/// The addresses of a running agent, with real ports.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// Jobs API.
    pub http: Option<SocketAddr>,
    /// RPC, when this agent runs a server.
    pub rpc: Option<SocketAddr>,
    /// Gossip of servers, UDP.
    pub serf: Option<SocketAddr>,
    /// Catalog API.
    pub catalog: Option<SocketAddr>,
    /// Catalog API over TLS.
    pub https: Option<SocketAddr>,
    /// DNS, UDP and TCP.
    pub dns: Option<SocketAddr>,
    /// Ingress.
    pub ingress: Option<SocketAddr>,
    /// Ingress admin.
    pub ingress_admin: Option<SocketAddr>,
}

impl Listeners {
    /// Names as in `ports`, with their addresses.
    pub fn all(&self) -> Vec<(&'static str, SocketAddr)> {
        let optional = [
            ("http", self.http),
            ("rpc", self.rpc),
            ("serf", self.serf),
            ("catalog", self.catalog),
            ("https", self.https),
            ("dns", self.dns),
            ("ingress", self.ingress),
            ("ingress_admin", self.ingress_admin),
        ];
        let bound = optional.into_iter();
        bound
            .filter_map(|(name, address)| Some((name, address?)))
            .collect()
    }
}

/// Sockets that are open and not served yet.
#[derive(Debug)]
pub(super) struct Bound {
    pub addresses: Listeners,
    pub http: Option<Arc<TcpListener>>,
    pub rpc: Option<transport::Listener>,
    pub serf: Option<UdpSocket>,
    pub catalog: Option<Arc<TcpListener>>,
    pub https: Option<Arc<TcpListener>>,
    pub dns: Option<dns::Dns>,
    pub ingress: Option<OpenIngress>,
    pub ingress_admin: Option<Arc<TcpListener>>,
}

impl Bound {
    /// Opens every listener on the runtime that serves it.
    pub(super) async fn open(
        config: &Config,
        limits: Connections,
        security: &Security,
        planes: &Planes,
    ) -> Result<Self, BindError> {
        let apis = Apis::open(config.clone(), limits, security.clone());
        let apis = join(planes.control().spawn(apis)).await?;
        let traffic = Traffic::open(config.clone(), limits);
        let traffic = join(planes.data().spawn(traffic)).await?;
        let addresses = Listeners {
            http: apis.http.as_ref().map(|(_, address)| *address),
            rpc: apis.rpc.as_ref().map(transport::Listener::local_addr),
            serf: apis.serf.as_ref().map(|(_, address)| *address),
            catalog: apis.catalog.as_ref().map(|(_, address)| *address),
            https: apis.https.as_ref().map(|(_, address)| *address),
            dns: traffic.dns.as_ref().map(dns::Dns::local_addr),
            ingress: traffic
                .ingress
                .as_ref()
                .and_then(|open| open.proxy.local_addrs().first().copied()),
            ingress_admin: apis.ingress_admin.as_ref().map(|(_, address)| *address),
        };
        Ok(Self {
            addresses,
            http: apis.http.map(|listener| listener.0),
            rpc: apis.rpc,
            serf: apis.serf.map(|socket| socket.0),
            catalog: apis.catalog.map(|listener| listener.0),
            https: apis.https.map(|listener| listener.0),
            dns: traffic.dns,
            ingress: traffic.ingress,
            ingress_admin: apis.ingress_admin.map(|listener| listener.0),
        })
    }
}

type Tcp = (Arc<TcpListener>, SocketAddr);

/// The listeners of the control runtime.
struct Apis {
    http: Option<Tcp>,
    rpc: Option<transport::Listener>,
    serf: Option<(UdpSocket, SocketAddr)>,
    catalog: Option<Tcp>,
    https: Option<Tcp>,
    ingress_admin: Option<Tcp>,
}

impl Apis {
    async fn open(
        config: Config,
        limits: Connections,
        security: Security,
    ) -> Result<Self, BindError> {
        let http = match config.http {
            Some(address) => Some(tcp(address, "the jobs API", "http").await?),
            None => None,
        };
        // By the name of the catalog alone, its settings have other names.
        let (catalog_name, rpc_name) = match config.part {
            Part::Catalog => ("http", "server"),
            Part::All | Part::Jobs => ("catalog", "rpc"),
        };
        let rpc = match config.server {
            Some(_) => {
                let bound = transport::Listener::bind_limited(
                    config.rpc,
                    transport::Admission {
                        connections_max: limits.rpc,
                        callers: callers(config.callers.rpc),
                        handshake_max: config.callers.rpc_handshake,
                    },
                    security,
                );
                let failed = |error| bind_error(config.rpc, "RPC", rpc_name, &error);
                Some(bound.await.map_err(failed)?)
            }
            None => None,
        };
        let gossip = config
            .server
            .as_ref()
            .and_then(|server| server.gossip.as_ref());
        let serf = match gossip {
            Some(gossip) => Some(udp(gossip.listen, "gossip", "serf").await?),
            None => None,
        };
        let catalog = match config.catalog {
            Some(address) => Some(tcp(address, "the catalog API", catalog_name).await?),
            None => None,
        };
        let https = match &config.https {
            Some(https) => Some(tcp(https.address, "the catalog API over TLS", "https").await?),
            None => None,
        };
        let ingress_admin = match &config.ingress {
            Some(ingress) => {
                Some(tcp(ingress.admin, "the ingress admin API", "ingress_admin").await?)
            }
            None => None,
        };
        Ok(Self {
            http,
            rpc,
            serf,
            catalog,
            https,
            ingress_admin,
        })
    }
}

/// The listeners of the data plane.
struct Traffic {
    dns: Option<dns::Dns>,
    ingress: Option<OpenIngress>,
}

impl Traffic {
    async fn open(config: Config, limits: Connections) -> Result<Self, BindError> {
        let dns = match &config.dns {
            Some(dns) => Some(open_dns(dns, limits).await?),
            None => None,
        };
        let ingress = match &config.ingress {
            Some(ingress) => Some(open_ingress(ingress, &config.data_dir, limits).await?),
            None => None,
        };
        Ok(Self { dns, ingress })
    }
}

/// Counts the connections of each address.
pub(super) fn callers(of: PerAddress) -> Callers {
    Callers::new(Cap {
        most: of.most,
        counts_loopback: of.counts_loopback,
    })
}

pub(super) async fn tcp(
    address: SocketAddr,
    what: &'static str,
    name: &'static str,
) -> Result<Tcp, BindError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok::<_, std::io::Error>((Arc::new(listener), local))
    };
    bound
        .await
        .map_err(|error| bind_error(address, what, name, &error))
}

async fn udp(
    address: SocketAddr,
    what: &'static str,
    name: &'static str,
) -> Result<(UdpSocket, SocketAddr), BindError> {
    let bound = async {
        let socket = UdpSocket::bind(address).await?;
        let local = socket.local_addr()?;
        Ok::<_, std::io::Error>((socket, local))
    };
    bound
        .await
        .map_err(|error| bind_error(address, what, name, &error))
}

async fn open_dns(settings: &Dns, limits: Connections) -> Result<dns::Dns, BindError> {
    let address = settings.address;
    let config = dns::Config {
        listen: vec![address],
        tcp_connections_max: limits.dns,
        rules: dns::Rules {
            node_ttl: settings.node_ttl,
            service_ttl: settings.service_ttl.clone(),
            udp_answer_limit: settings.udp_answer_limit,
            a_record_limit: settings.a_record_limit,
            enable_truncate: settings.enable_truncate,
            soa: dns::Soa {
                min_ttl: settings.min_ttl,
                ..dns::Soa::default()
            },
            ..dns::Rules::default()
        },
        recursors: settings.recursors.clone(),
        recursor_timeout: settings.recursor_timeout,
    };
    let bound = dns::Dns::bind(config).await;
    bound.map_err(|error| bind_error(address, "DNS", "dns", &error))
}

pub(super) async fn open_ingress(
    settings: &Ingress,
    data_dir: &Path,
    limits: Connections,
) -> Result<OpenIngress, BindError> {
    let address = ingress::first_address(settings).unwrap_or(settings.admin);
    let failed = |address, reason| BindError::new(address, ("ingress", "ingress"), reason);
    let sources = Sources::open(settings, data_dir, &Sources::default()).await;
    let sources = sources.map_err(|reason| failed(address, reason))?;
    let config = ingress::proxy_config(settings, &sources, limits);
    let config = config.map_err(|reason| failed(address, reason))?;
    let proxy = proxy::Proxy::bind(config).map_err(|error| {
        let address = match &error {
            proxy::Error::Listen { address, .. }
            | proxy::Error::Tls { address, .. }
            | proxy::Error::Certificates { address } => *address,
            _ => address,
        };
        failed(address, root_cause(&error))
    })?;
    let admin = ("the ingress admin API", "ingress_admin");
    OpenIngress::new(proxy, sources, settings)
        .map_err(|reason| BindError::new(settings.admin, admin, reason))
}

fn bind_error(
    address: SocketAddr,
    what: &'static str,
    name: &'static str,
    error: &dyn std::error::Error,
) -> BindError {
    BindError::new(address, (what, name), root_cause(error))
}

/// The innermost reason: what the system said.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(inner) = next {
        cause = inner.to_string();
        next = inner.source();
    }
    cause
}
