//! Where an agent listens. Everything is bound before anything starts, so that a taken port is one
//! clear error and not half an agent.

use crate::{
    config::{Config, Strategy},
    rpc::transport,
};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {what}: {reason}; choose another with `ports.{name}` or `addresses.{name}`"
)]
pub struct Taken {
    address: SocketAddr,
    what: &'static str,
    name: &'static str,
    reason: String,
}

/// The addresses of a running agent, with real ports.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// Jobs API.
    pub http: SocketAddr,
    /// RPC.
    pub rpc: SocketAddr,
    /// Catalog API.
    pub catalog: Option<SocketAddr>,
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
            ("catalog", self.catalog),
            ("dns", self.dns),
            ("ingress", self.ingress),
            ("ingress_admin", self.ingress_admin),
        ];
        [("http", self.http), ("rpc", self.rpc)]
            .into_iter()
            .chain(
                optional
                    .into_iter()
                    .filter_map(|(name, address)| Some((name, address?))),
            )
            .collect()
    }
}

/// Sockets that are open and not served yet.
#[derive(Debug)]
pub(super) struct Bound {
    pub addresses: Listeners,
    pub http: TcpListener,
    pub rpc: transport::Listener,
    pub catalog: Option<TcpListener>,
    pub dns: Option<dns::Dns>,
    pub ingress: Option<proxy::Proxy>,
    pub ingress_config: proxy::Config,
    pub ingress_admin: Option<TcpListener>,
}

impl Bound {
    pub(super) async fn open(config: &Config) -> Result<Self, Taken> {
        let http = tcp(config.http, "the jobs API", "http").await?;
        let rpc = transport::Listener::bind(config.rpc)
            .await
            .map_err(|error| taken(config.rpc, "RPC", "rpc", &root_cause(&error)))?;
        let catalog = match config.catalog {
            Some(address) => Some(tcp(address, "the catalog API", "catalog").await?),
            None => None,
        };
        let dns = match &config.dns {
            Some(dns) => Some(open_dns(dns.address).await?),
            None => None,
        };
        let ingress_config = ingress_config(config);
        let (ingress, ingress_admin) = match &config.ingress {
            Some(ingress) => {
                let proxy = open_ingress(ingress.address, ingress_config.clone()).await?;
                let admin = tcp(ingress.admin, "the ingress admin API", "ingress_admin").await?;
                (Some(proxy), Some(admin))
            }
            None => (None, None),
        };
        let addresses = Listeners {
            http: http.1,
            rpc: rpc.local_addr(),
            catalog: catalog.as_ref().map(|(_, address)| *address),
            dns: dns.as_ref().map(dns::Dns::local_addr),
            ingress: ingress
                .as_ref()
                .and_then(|proxy| proxy.local_addrs().first().copied()),
            ingress_admin: ingress_admin.as_ref().map(|(_, address)| *address),
        };
        Ok(Self {
            addresses,
            http: http.0,
            rpc,
            catalog: catalog.map(|listener| listener.0),
            dns,
            ingress,
            ingress_config,
            ingress_admin: ingress_admin.map(|listener| listener.0),
        })
    }
}

async fn tcp(
    address: SocketAddr,
    what: &'static str,
    name: &'static str,
) -> Result<(TcpListener, SocketAddr), Taken> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, local))
    };
    bound
        .await
        .map_err(|error| taken(address, what, name, &error.to_string()))
}

async fn open_dns(address: SocketAddr) -> Result<dns::Dns, Taken> {
    let config = dns::Config {
        listen: vec![address],
        rules: dns::Rules::default(),
    };
    let bound = dns::Dns::bind(config).await;
    bound.map_err(|error| taken(address, "DNS", "dns", &root_cause(&error)))
}

fn ingress_config(config: &Config) -> proxy::Config {
    let Some(ingress) = &config.ingress else {
        return proxy::Config::default();
    };
    proxy::Config {
        listen: vec![ingress.address],
        strategy: match ingress.strategy {
            Strategy::RoundRobin => proxy::Strategy::RoundRobin,
            Strategy::Random => proxy::Strategy::Random,
        },
        ..proxy::Config::default()
    }
}

async fn open_ingress(address: SocketAddr, config: proxy::Config) -> Result<proxy::Proxy, Taken> {
    let bound = proxy::Proxy::bind(config).await;
    bound.map_err(|error| taken(address, "ingress", "ingress", &root_cause(&error)))
}

fn taken(address: SocketAddr, what: &'static str, name: &'static str, reason: &str) -> Taken {
    Taken {
        address,
        what,
        name,
        reason: reason.to_owned(),
    }
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
