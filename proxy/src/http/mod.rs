//! The running ingress. No module outside of this folder names the proxy library.

mod handle;
mod head;
mod lease;
mod service;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::handle::{Drained, Handle, Pending};
use self::service::Service;
use self::socket::Socket;
use crate::config::Config;
use crate::listen;

/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two warnings about failed accepts.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// A file that holds no certificate.
const NO_CERTIFICATES: &str = "/dev/null";

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener's address cannot be used.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The status for requests without a route is none.
    #[error("`{status}` is not a final HTTP status (200 to 599)")]
    NoRouteStatus {
        /// The status as configured.
        status: u16,
    },
}

/// The proxy with its listeners open, ready to run.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    handle: Handle,
    listeners: Vec<(TcpListener, SocketAddr)>,
}

impl Proxy {
    /// Opens all listeners. Connections wait in the system's queue until [`Proxy::run`].
    ///
    /// # Errors
    /// If the configuration is not usable, or an address is in use or not ours.
    #[expect(
        clippy::unused_async,
        reason = "listening sockets belong to the runtime of the caller"
    )]
    pub async fn bind(config: Config) -> Result<Proxy, Error> {
        if !(200..600).contains(&config.no_route_status) {
            return Err(Error::NoRouteStatus {
                status: config.no_route_status,
            });
        }
        let mut listeners = Vec::with_capacity(config.listen.len());
        for address in &config.listen {
            let open = || {
                let listener = listen::bind(*address)?;
                let local = listener.local_addr()?;
                Ok((listener, local))
            };
            listeners.push(open().map_err(|source| Error::Listen {
                address: *address,
                source,
            })?);
        }
        let handle = Handle::new(&config);
        Ok(Proxy {
            config,
            handle,
            listeners,
        })
    }

    /// The addresses that are listened on, in the order of the configuration.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, address)| *address).collect()
    }

    /// Access to the routing table.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` resolves. Then it stops listening, closes idle connections, and lets
    /// requests in flight finish, at most for the drain timeout.
    ///
    /// # Errors
    /// None at present: a failing connection never ends the proxy.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let Proxy {
            config,
            handle,
            listeners,
        } = self;
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let conf = Arc::new(ServerConf {
            threads,
            // The library means it for each thread.
            upstream_keepalive_pool_size: config.upstream_idle_max.div_ceil(threads.max(1)),
            // The library counts all attempts.
            max_retries: config.retries.saturating_add(1),
            // Targets are reached without TLS. With none named, the library would read all
            // certificates of the system, and end the process if one of them cannot be used.
            ca_file: Some(NO_CERTIFICATES.to_owned()),
            ..ServerConf::default()
        });
        let limits = Limits {
            connections_max: config.connections_max.max(1),
            drain_timeout: config.drain_timeout,
            head_timeout: config.head_timeout,
        };
        let mut server = HttpProxy::new(Service::new(config, handle), conf);
        server.handle_init_modules();
        let server = Arc::new(server);
        let (stop, stopping) = watch::channel(false);
        let mut loops = JoinSet::new();
        for (listener, local) in listeners {
            loops.spawn(accept(
                listener,
                local,
                server.clone(),
                stopping.clone(),
                limits,
            ));
        }
        drop(stopping);
        shutdown.await;
        stop.send_replace(true);
        server.http_cleanup().await;
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "accept loop ended badly");
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Limits {
    connections_max: usize,
    drain_timeout: Duration,
    head_timeout: Duration,
}

/// Accepts connections until told to stop, and then waits for those that are open.
async fn accept(
    listener: TcpListener,
    local: SocketAddr,
    server: Arc<HttpProxy<Service>>,
    stopping: watch::Receiver<bool>,
    limits: Limits,
) {
    let mut stop = stopping.clone();
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    tokio::pin!(stopped);
    let mut connections = JoinSet::new();
    let mut warned = None;
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections_max => match accepted {
                Ok((stream, peer)) => {
                    let server = server.clone();
                    let stopping = stopping.clone();
                    connections.spawn(async move {
                        if let Ok(socket) = Socket::new(stream, peer, limits.head_timeout) {
                            server.process_new(Box::new(socket), &stopping).await;
                        }
                    });
                }
                Err(error) => {
                    if warned.is_none_or(|at: Instant| at.elapsed() >= WARNING_INTERVAL) {
                        tracing::warn!(%error, %local, "cannot accept a connection");
                        warned = Some(Instant::now());
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain_timeout, finish)
        .await
        .is_err()
    {
        tracing::warn!(%local, open = connections.len(), "closing connections whose requests did not finish in time");
        connections.shutdown().await;
    }
}
