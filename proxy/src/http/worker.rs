//! One of the threads that carry requests: its runtime, its listeners and its connections.
//!
//! Nothing is shared with the other threads but the table and the number of open connections, so
//! that a connection is carried by one thread from its first byte to its last.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fast::{self, Accepted, Local};
use super::handle::Handle;
use super::service::Service;
use super::socket::Socket;
use crate::config::Config;

/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two warnings about failed accepts.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// A file that holds no certificate.
const NO_CERTIFICATES: &str = "/dev/null";

/// The connections that an address may still have, all threads together.
pub(super) fn slots(config: &Config) -> Arc<Semaphore> {
    let most = config.connections_max.clamp(1, Semaphore::MAX_PERMITS);
    Arc::new(Semaphore::new(most))
}

/// A thread's own socket of an address.
pub(super) struct Listener {
    local: SocketAddr,
    socket: std::net::TcpListener,
    slots: Arc<Semaphore>,
}

impl Listener {
    pub(super) fn new(
        local: SocketAddr,
        socket: std::net::TcpListener,
        slots: Arc<Semaphore>,
    ) -> Listener {
        Listener {
            local,
            socket,
            slots,
        }
    }
}

/// What a thread needs to carry requests.
pub(super) struct Worker {
    pub(super) config: Arc<Config>,
    pub(super) handle: Handle,
    pub(super) listeners: Vec<Listener>,
}

impl Worker {
    /// Carries requests until it is told to stop, or the one who would tell is gone.
    pub(super) fn run(self, stopping: watch::Receiver<bool>) {
        if let Some(on_start) = self.config.on_thread_start {
            on_start();
        }
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match runtime {
            // What is left when this returns ends with the runtime.
            Ok(runtime) => runtime.block_on(self.carry(stopping)),
            Err(error) => tracing::error!(%error, "cannot carry requests on this thread"),
        }
    }

    async fn carry(self, stopping: watch::Receiver<bool>) {
        let (_, idle_max) = fast::idle_max(&self.config);
        let conf = Arc::new(ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: idle_max,
            // The library counts all attempts.
            max_retries: self.config.retries.saturating_add(1),
            // Targets are reached without TLS. With none named, the library would read all
            // certificates of the system, and end the process if one of them cannot be used.
            ca_file: Some(NO_CERTIFICATES.to_owned()),
            ..ServerConf::default()
        });
        let local = Rc::new(Local::new(self.config.clone(), self.handle.clone()));
        let service = Service::new(self.config.clone(), self.handle, local.budget());
        let mut server = HttpProxy::new(service, conf);
        server.handle_init_modules();
        let server = Arc::new(server);
        let mut loops = JoinSet::new();
        for listener in self.listeners {
            let acceptor = Acceptor {
                config: self.config.clone(),
                local: local.clone(),
                server: server.clone(),
                stopping: stopping.clone(),
                open: Rc::default(),
            };
            loops.spawn_local(acceptor.run(listener));
        }
        tokio::select! {
            () = stopped(stopping) => {}
            () = local.sweep() => {}
            () = local.rescue() => {}
        }
        local.stop();
        server.http_cleanup().await;
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "accept loop ended badly");
            }
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

/// The connections of a listener that are open.
#[derive(Default)]
struct Open {
    count: Cell<usize>,
    changed: Notify,
}

/// Counts a connection for as long as it lives.
struct Counted {
    open: Rc<Open>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Counted {
    fn new(open: &Rc<Open>, slot: Option<OwnedSemaphorePermit>) -> Counted {
        open.count.set(open.count.get() + 1);
        Counted {
            open: open.clone(),
            _slot: slot,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.count.set(self.open.count.get() - 1);
        self.open.changed.notify_waiters();
    }
}

struct Acceptor {
    config: Arc<Config>,
    local: Rc<Local>,
    server: Arc<HttpProxy<Service>>,
    stopping: watch::Receiver<bool>,
    open: Rc<Open>,
}

impl Acceptor {
    /// Accepts connections until told to stop, and then waits for those that are open.
    async fn run(self, listener: Listener) {
        let Listener {
            local,
            socket,
            slots,
        } = listener;
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                self.accept(local, &socket, slots).await;
                if let Err(error) = self.empty(local, socket) {
                    tracing::debug!(%error, %local, "connections that waited are not served");
                }
            }
            Err(error) => tracing::error!(%error, %local, "cannot accept connections"),
        }
        let finish = async {
            while self.open.count.get() > 0 {
                self.open.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(self.config.drain_timeout, finish).await;
        if waited.is_err() {
            let open = self.open.count.get();
            tracing::warn!(%local, open, "closing connections whose requests did not finish in time");
        }
    }

    async fn accept(&self, local: SocketAddr, listener: &TcpListener, slots: Arc<Semaphore>) {
        let stopped = stopped(self.stopping.clone());
        tokio::pin!(stopped);
        let mut slot = None;
        let mut warned = None;
        loop {
            tokio::select! {
                () = &mut stopped => return,
                Ok(free) = slots.clone().acquire_owned(), if slot.is_none() => slot = Some(free),
                accepted = listener.accept(), if slot.is_some() => match accepted {
                    Ok((stream, peer)) => {
                        let counted = Counted::new(&self.open, slot.take());
                        self.serve(stream, (peer, local), counted);
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
    }

    /// Takes the connections that wait in the system's queue, and closes the listener: closing it
    /// alone would reset them.
    fn empty(&self, local: SocketAddr, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    let stream = TcpStream::from_std(stream)?;
                    self.serve(stream, (peer, local), Counted::new(&self.open, None));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Carries a connection: plain requests here, others by the library.
    fn serve(&self, stream: TcpStream, (peer, own): (SocketAddr, SocketAddr), counted: Counted) {
        let (local, server) = (self.local.clone(), self.server.clone());
        let (head_timeout, stopping) = (self.config.head_timeout, self.stopping.clone());
        tokio::task::spawn_local(async move {
            let _counted = counted;
            let own = if own.ip().is_unspecified() {
                stream.local_addr().unwrap_or(own)
            } else {
                own
            };
            let accepted = Accepted { stream, peer, own };
            if let Some((accepted, replay)) = fast::serve(local, accepted).await {
                let Accepted { stream, peer, own } = accepted;
                if let Ok(socket) = Socket::new(stream, (peer, own), head_timeout, replay) {
                    server.process_new(Box::new(socket), &stopping).await;
                }
            }
        });
    }
}
