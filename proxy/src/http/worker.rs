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

use arc_swap::ArcSwap;
use mio::net::TcpListener;
use pingora_core::apps::{HttpServerApp, HttpServerOptions};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::arrival::{Arrival, Served};
use super::fast::{self, Local};
use super::handle::Handle;
use super::routing::RETRIES_MAX;
use super::service::Service;
use super::stream::Plain;
use crate::config::Config;

/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two warnings about failed accepts.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// A file that holds no certificate.
const NO_CERTIFICATES: &str = "/dev/null";

/// How many connections an address may have, all threads together.
pub(super) fn connections_max(config: &Config) -> usize {
    config.connections_max.clamp(1, Semaphore::MAX_PERMITS)
}

/// A thread's own socket of an address.
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    pub(super) socket: std::net::TcpListener,
    /// Connections that the address may still have, all threads together.
    pub(super) slots: Arc<Semaphore>,
    /// What connections get that come now.
    pub(super) served: Arc<ArcSwap<Served>>,
    /// Nothing is accepted any more when the sender is gone.
    pub(super) stopping: watch::Receiver<bool>,
}

/// What a thread needs to carry requests.
pub(super) struct Worker {
    /// Which of the threads it is.
    pub(super) number: usize,
    pub(super) config: Arc<Config>,
    pub(super) handle: Handle,
    /// Listeners to serve.
    pub(super) incoming: mpsc::Receiver<Listener>,
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

    async fn carry(mut self, stopping: watch::Receiver<bool>) {
        let (_, idle_max) = fast::idle_max(&self.config);
        let conf = Arc::new(ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: idle_max,
            // The library counts all attempts; how many there are is decided for each route.
            max_retries: RETRIES_MAX + 1,
            // With none named, the library would read all certificates of the system, and end the
            // process if one of them cannot be used.
            ca_file: Some(authorities_file(&self.config)),
            ..ServerConf::default()
        });
        let local = Rc::new(Local::new(
            self.number,
            self.config.clone(),
            self.handle.clone(),
        ));
        let service = Service::new(
            self.number,
            self.config.clone(),
            self.handle,
            local.budget(),
        );
        let mut server = HttpProxy::new(service, conf);
        server.server_options = Some(server_options(&self.config));
        server.h2_options = Some(fast::http2_options());
        server.handle_init_modules();
        let server = Arc::new(server);
        let arrival = Rc::new(Arrival {
            config: self.config.clone(),
            local: local.clone(),
            server: server.clone(),
            stopping: stopping.clone(),
        });
        let open: Rc<Open> = Rc::default();
        let mut loops = JoinSet::new();
        let accept = async {
            while let Some(listener) = self.incoming.recv().await {
                let acceptor = Acceptor {
                    arrival: arrival.clone(),
                    stopping: stopping.clone(),
                    open: open.clone(),
                };
                loops.spawn_local(acceptor.run(listener));
                while let Some(ended) = loops.try_join_next() {
                    log_end(ended);
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = stopped(stopping.clone()) => {}
            () = local.sweep() => {}
            () = local.rescue() => {}
            never = accept => never,
        }
        local.stop();
        server.http_cleanup().await;
        while let Some(ended) = loops.join_next().await {
            log_end(ended);
        }
        let finish = async {
            while open.count.get() > 0 {
                open.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(self.config.stop_timeout, finish).await;
        if waited.is_err() {
            let open = open.count.get();
            tracing::warn!(
                open,
                "closing connections whose requests did not finish in time"
            );
        }
    }
}

fn log_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "accept loop ended badly");
    }
}

/// The file with the authorities of targets; one that cannot be used as it is would end the process
/// within the library.
fn authorities_file(config: &Config) -> String {
    let usable = config.authorities_file.as_ref().and_then(|path| {
        let text = std::fs::read(path).ok()?;
        let mut all = CertificateDer::pem_slice_iter(&text);
        let mut roots = RootCertStore::empty();
        all.all(|one| one.is_ok_and(|one| roots.add(one).is_ok()))
            .then(|| path.to_str().map(str::to_owned))?
    });
    if usable.is_none()
        && let Some(path) = &config.authorities_file
    {
        let path = path.display();
        tracing::warn!(%path, "the authorities of targets cannot be used: none is trusted");
    }
    usable.unwrap_or_else(|| NO_CERTIFICATES.to_owned())
}

fn server_options(config: &Config) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(config.client_idle_timeout);
    options
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

/// Lets the runtime know of a listener. Its own kind would let it know of each connection too.
#[expect(unsafe_code, reason = "the safe form is that kind")]
fn listen(socket: std::net::TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    let socket = TcpListener::from_std(socket);
    // SAFETY: the listener owns its descriptor, keeps it to its end, and always answers with it.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// The next connection, which never blocks; the runtime does not know of it yet.
async fn accept(listener: &AsyncFd<TcpListener>) -> io::Result<(mio::net::TcpStream, SocketAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
            return accepted;
        }
    }
}

struct Acceptor {
    arrival: Rc<Arrival>,
    stopping: watch::Receiver<bool>,
    open: Rc<Open>,
}

impl Acceptor {
    /// Accepts connections until told to stop.
    async fn run(self, listener: Listener) {
        let Listener {
            local,
            socket,
            slots,
            served,
            stopping,
        } = listener;
        match listen(socket) {
            Ok(socket) => {
                let stop = async {
                    tokio::select! {
                        () = stopped(self.stopping.clone()) => {}
                        () = stopped(stopping) => {}
                    }
                };
                self.accept((local, &socket), slots, &served, stop).await;
                if let Err(error) = self.empty(local, socket, &served) {
                    tracing::debug!(%error, %local, "connections that waited are not served");
                }
            }
            Err(error) => tracing::error!(%error, %local, "cannot accept connections"),
        }
    }

    async fn accept(
        &self,
        (local, listener): (SocketAddr, &AsyncFd<TcpListener>),
        slots: Arc<Semaphore>,
        served: &ArcSwap<Served>,
        stopped: impl Future<Output = ()>,
    ) {
        tokio::pin!(stopped);
        let mut slot = None;
        let mut warned = None;
        loop {
            slot = slot.or_else(|| slots.clone().try_acquire_owned().ok());
            tokio::select! {
                () = &mut stopped => return,
                Ok(free) = slots.clone().acquire_owned(), if slot.is_none() => slot = Some(free),
                accepted = accept(listener), if slot.is_some() => match accepted {
                    Ok((stream, peer)) => {
                        let counted = Counted::new(&self.open, slot.take());
                        self.serve(stream.into(), (peer, local), served, counted);
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
    fn empty(
        &self,
        local: SocketAddr,
        listener: AsyncFd<TcpListener>,
        served: &ArcSwap<Served>,
    ) -> io::Result<()> {
        let listener = listener.into_inner();
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let counted = Counted::new(&self.open, None);
                    self.serve(stream.into(), (peer, local), served, counted);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Carries a connection beside the others.
    fn serve(
        &self,
        stream: std::net::TcpStream,
        ends: (SocketAddr, SocketAddr),
        served: &ArcSwap<Served>,
        counted: Counted,
    ) {
        let (arrival, served) = (self.arrival.clone(), served.load_full());
        tokio::task::spawn_local(async move {
            let _counted = counted;
            arrival.carry(Plain::new(stream), ends, &served).await;
        });
    }
}
