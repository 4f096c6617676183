//! The running ingress. No module outside of this folder names the proxy library.

mod fast;
mod handle;
mod head;
mod lease;
mod linger;
mod rescue;
mod routing;
mod service;
mod socket;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

pub use self::handle::{Drained, Handle, Pending};
use self::worker::{Listener, Worker};
use crate::config::Config;
use crate::listen;

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
    /// The system has no room for the threads.
    #[error("cannot start a thread that carries requests")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// The proxy with its listeners open, ready to run.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    handle: Handle,
    /// The addresses, each with a socket for each thread.
    listeners: Vec<(SocketAddr, Vec<std::net::TcpListener>)>,
}

impl Proxy {
    /// Opens all listeners. Connections wait in the system's queue until [`Proxy::run`].
    ///
    /// # Errors
    /// If the configuration is not usable, or an address is in use or not ours.
    pub fn bind(config: Config) -> Result<Proxy, Error> {
        if !(200..600).contains(&config.no_route_status) {
            return Err(Error::NoRouteStatus {
                status: config.no_route_status,
            });
        }
        let mut listeners = Vec::with_capacity(config.listen.len());
        for address in &config.listen {
            let open = || {
                let sockets = listen::bind(*address, config.threads)?;
                let local = sockets[0].local_addr()?;
                Ok((local, sockets))
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
        self.listeners.iter().map(|(address, _)| *address).collect()
    }

    /// Access to the routing table.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves, on threads of its own, until `shutdown` resolves. Then it stops listening, closes
    /// idle connections, and lets requests in flight finish, at most for the drain timeout.
    ///
    /// # Errors
    /// If the system has no room for the threads; a failing connection never ends the proxy.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let threads = self.config.threads.max(1);
        let mut listeners: Vec<Vec<Listener>> = (0..threads).map(|_| Vec::new()).collect();
        for (address, sockets) in self.listeners {
            let slots = worker::slots(&self.config);
            for (own, socket) in listeners.iter_mut().zip(sockets) {
                own.push(Listener::new(address, socket, slots.clone()));
            }
        }
        let config = Arc::new(self.config);
        let (stop, stopping) = watch::channel(false);
        let mut running = Vec::with_capacity(threads);
        for (number, listeners) in listeners.into_iter().enumerate() {
            let worker = Worker {
                config: config.clone(),
                handle: self.handle.clone(),
                listeners,
            };
            let (ended, end) = oneshot::channel();
            let stopping = stopping.clone();
            let thread = std::thread::Builder::new().name(format!("ingress-{number}"));
            let started = thread.spawn(move || {
                worker.run(stopping);
                // Nobody may wait any more.
                ended.send(()).ok();
            });
            // Those that run already end with the sender.
            started.map_err(|source| Error::Thread { source })?;
            running.push(end);
        }
        drop(stopping);
        shutdown.await;
        stop.send_replace(true);
        for end in running {
            if end.await.is_err() {
                tracing::error!("a thread that carried requests ended badly");
            }
        }
        Ok(())
    }
}
