//! The running ingress. No module outside of this folder names the proxy library.

mod arrival;
mod body;
mod compress;
mod counters;
mod expiry;
mod fast;
mod frames;
mod handle;
mod head;
mod lease;
mod linger;
mod listeners;
mod pages;
mod patience;
mod rescue;
mod routing;
mod service;
mod socket;
mod stream;
mod waiting;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

pub use self::counters::PublishedFigure;
pub use self::handle::{Drained, Handle, Listening, Pending};
use self::listeners::{Listeners, Opened};
pub use self::pages::ErrorPages;
use self::worker::Worker;
use crate::certs::TlsError;
use crate::config::Config;

/// How many listeners wait until a thread takes them.
const LISTENERS_WAITING_MAX: usize = 64;

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
    /// TLS cannot be spoken as a listener wants.
    #[error("cannot speak TLS on `{address}`: {source}")]
    Tls {
        /// The address as configured.
        address: SocketAddr,
        /// Why.
        source: TlsError,
    },
    /// A listener that has to end TLS has no certificates.
    #[error("`{address}` has to end TLS and has no certificates; name a certificate source")]
    Certificates {
        /// The address as configured.
        address: SocketAddr,
    },
    /// The status for requests without a route is none.
    #[error("`{status}` is not a final HTTP status (200 to 599)")]
    NoRouteStatus {
        /// The status as configured.
        status: u16,
    },
    /// The types of content that is compressed cannot be told.
    #[error("`{pattern}` is no regular expression for types of content: {reason}")]
    CompressedTypes {
        /// As configured.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header of the proxy's own has a name or a value that no header has.
    #[error("`{text}` cannot be the name or the value of a header")]
    Header {
        /// As configured.
        text: String,
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
    listeners: Vec<Opened>,
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
        service::check(&config)?;
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            listeners.push(Opened::new(listener, &config)?);
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
        self.listeners.iter().map(Opened::local).collect()
    }

    /// Access to the routing table.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves, on threads of its own, until `shutdown` resolves. Then it stops listening, closes
    /// idle connections, and lets requests in flight finish, at most for the stop timeout.
    ///
    /// # Errors
    /// If the system has no room for the threads; a failing connection never ends the proxy.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let threads = self.config.threads.max(1);
        let config = Arc::new(self.config);
        let (stop, stopping) = watch::channel(false);
        let mut running = Vec::with_capacity(threads);
        let mut workers = Vec::with_capacity(threads);
        for number in 0..threads {
            let (listeners, incoming) = mpsc::channel(LISTENERS_WAITING_MAX);
            workers.push(listeners);
            let worker = Worker {
                number,
                config: config.clone(),
                handle: self.handle.clone(),
                incoming,
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
        let mut listeners = Listeners::new(config, self.handle.clone(), workers);
        for opened in self.listeners {
            listeners.serve(opened).await;
        }
        tokio::select! {
            () = shutdown => {}
            never = follow(&mut listeners, &self.handle) => never,
        }
        stop.send_replace(true);
        for end in running {
            if end.await.is_err() {
                tracing::error!("a thread that carried requests ended badly");
            }
        }
        Ok(())
    }
}

/// Carries out changes of listeners and of the ports that routes ask for, for ever.
async fn follow(listeners: &mut Listeners, handle: &Handle) {
    let mut changes = handle.changes();
    listeners.follow().await;
    loop {
        let change = async {
            match &mut changes {
                Some(changes) => changes.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((wanted, done)) = change => {
                let became = listeners.replace(&wanted).await;
                done.send(became).ok();
            }
            () = handle.swapped() => listeners.follow().await,
            else => std::future::pending().await,
        }
    }
}
