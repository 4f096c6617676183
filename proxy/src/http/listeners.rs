//! The listeners of a running proxy: which there are, and how they are replaced.
//!
//! A socket belongs to a listener for as long as its address is wanted; what is spoken on it is
//! looked up for each new connection, so that a change of settings closes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, watch};

use super::Error;
use super::arrival::Served;
use super::handle::{Handle, Listening};
use super::worker;
use crate::config::{Config, Listener, Protocol};
use crate::listen;

/// The most listeners that routes may ask for.
const DYNAMIC_MAX: usize = 1000;

/// A listener with its sockets open, not served yet.
#[derive(Debug)]
pub(super) struct Opened {
    /// The address as configured.
    address: SocketAddr,
    local: SocketAddr,
    sockets: Vec<TcpListener>,
    served: Arc<ArcSwap<Served>>,
}

impl Opened {
    /// Opens a socket for each thread. With [`Protocol::TcpDynamic`] there is nothing to open yet.
    pub(super) fn new(listener: &Listener, config: &Config) -> Result<Opened, Error> {
        let served = Served::new(listener, config).map_err(|source| Error::Tls {
            address: listener.address,
            source,
        })?;
        let needs_tls = listener.protocol == Protocol::HttpsTcpSni;
        if needs_tls && listener.tls.is_none() {
            return Err(Error::Certificates {
                address: listener.address,
            });
        }
        let (local, sockets) = if listener.protocol == Protocol::TcpDynamic {
            (listener.address, Vec::new())
        } else {
            bind(listener.address, config)?
        };
        Ok(Opened {
            address: listener.address,
            local,
            sockets,
            served: Arc::new(ArcSwap::from_pointee(served)),
        })
    }

    /// The address that is listened on.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }
}

fn bind(address: SocketAddr, config: &Config) -> Result<(SocketAddr, Vec<TcpListener>), Error> {
    let open = || {
        let sockets = listen::bind(address, config.threads)?;
        Ok((sockets[0].local_addr()?, sockets))
    };
    open().map_err(|source| Error::Listen { address, source })
}

/// A listener that is served; dropped, no more connections are accepted.
struct Running {
    address: SocketAddr,
    local: SocketAddr,
    served: Arc<ArcSwap<Served>>,
    _stop: watch::Sender<bool>,
}

/// The listeners of a running proxy.
pub(super) struct Listeners {
    config: Arc<Config>,
    handle: Handle,
    workers: Vec<mpsc::Sender<worker::Listener>>,
    running: Vec<Running>,
    /// Listeners that routes ask for, by the address that they are open on.
    dynamic: BTreeMap<SocketAddr, Running>,
    /// Addresses that could not be had, so that each is told once.
    failed: BTreeSet<SocketAddr>,
}

impl Listeners {
    pub(super) fn new(
        config: Arc<Config>,
        handle: Handle,
        workers: Vec<mpsc::Sender<worker::Listener>>,
    ) -> Listeners {
        Listeners {
            config,
            handle,
            workers,
            running: Vec::new(),
            dynamic: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    /// Serves a listener.
    pub(super) async fn serve(&mut self, opened: Opened) {
        let running = self.start(opened).await;
        self.running.push(running);
    }

    async fn start(&self, opened: Opened) -> Running {
        let (stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(worker::connections_max(&self.config)));
        for (worker, socket) in self.workers.iter().zip(opened.sockets) {
            let listener = worker::Listener {
                local: opened.local,
                socket,
                slots: slots.clone(),
                served: opened.served.clone(),
                stopping: stopping.clone(),
            };
            if worker.send(listener).await.is_err() {
                tracing::error!(local = %opened.local, "a thread carries no connections any more");
            }
        }
        Running {
            address: opened.address,
            local: opened.local,
            served: opened.served,
            _stop: stop,
        }
    }

    /// Listens on these addresses and on no others.
    pub(super) async fn replace(&mut self, wanted: &[Listener]) -> Vec<Listening> {
        let mut before = std::mem::take(&mut self.running);
        let mut became = Vec::with_capacity(wanted.len());
        for listener in wanted {
            let known = before
                .iter()
                .position(|own| own.address == listener.address);
            let kept = known.map(|at| before.remove(at));
            let local = match kept {
                Some(kept) => self.change(kept, listener).await,
                None => self.open(listener).await,
            };
            became.push(Listening {
                address: listener.address,
                local,
            });
        }
        for gone in before {
            tracing::info!(local = %gone.local, "no more connections are accepted here");
        }
        self.follow().await;
        became
    }

    async fn open(&mut self, listener: &Listener) -> Result<SocketAddr, Error> {
        let opened = Opened::new(listener, &self.config)?;
        let local = opened.local;
        self.serve(opened).await;
        Ok(local)
    }

    /// Gives a listener new settings. If they cannot be used, it keeps the old ones.
    async fn change(&mut self, kept: Running, listener: &Listener) -> Result<SocketAddr, Error> {
        let is_dynamic = |protocol| protocol == Protocol::TcpDynamic;
        if is_dynamic(listener.protocol) != is_dynamic(kept.served.load().protocol()) {
            drop(kept);
            return self.open(listener).await;
        }
        let served = Served::new(listener, &self.config);
        let result = match served {
            Ok(served) => {
                kept.served.store(Arc::new(served));
                Ok(kept.local)
            }
            Err(source) => Err(Error::Tls {
                address: listener.address,
                source,
            }),
        };
        self.running.push(kept);
        result
    }

    /// Opens and closes the listeners that routes ask for.
    pub(super) async fn follow(&mut self) {
        let settings: Vec<(SocketAddr, Arc<ArcSwap<Served>>)> = self
            .running
            .iter()
            .filter(|running| running.served.load().protocol() == Protocol::TcpDynamic)
            .map(|running| (running.address, running.served.clone()))
            .collect();
        let mut wanted = BTreeMap::new();
        if !settings.is_empty() {
            let table = self.handle.table();
            let ports = table.tcp_ports().into_iter().take(DYNAMIC_MAX);
            for port in ports {
                for (address, served) in &settings {
                    wanted.insert(SocketAddr::new(address.ip(), port), served.clone());
                }
            }
        }
        self.dynamic
            .retain(|address, _| wanted.contains_key(address));
        self.failed.retain(|address| wanted.contains_key(address));
        for (address, served) in wanted {
            if self.dynamic.contains_key(&address) {
                continue;
            }
            match bind(address, &self.config) {
                Ok((local, sockets)) => {
                    self.failed.remove(&address);
                    let opened = Opened {
                        address,
                        local,
                        sockets,
                        served,
                    };
                    let running = self.start(opened).await;
                    self.dynamic.insert(address, running);
                }
                Err(error) => {
                    if self.failed.insert(address) {
                        tracing::warn!(%error, "a route asks for a port that is not to be had");
                    }
                }
            }
        }
    }
}
