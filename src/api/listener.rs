//! One accept loop for every HTTP listener of the agent.

use axum::{
    Extension, Router,
    body::Body,
    extract::{ConnectInfo, State},
    http::{HeaderValue, Request, header, uri::Authority},
    middleware::{self, Next},
    response::Response,
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    auth::{Access, Reach, guard},
    body::Bodies,
};
use server::Dialect;
use sys::{callers::Callers, seldom::Seldom};

/// How long a connection may take to send a head, and may rest between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Addresses with too many connections that are told so at a time; others are only turned away.
const REFUSALS_MAX: usize = 16;
/// How long that may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long requests may go on after the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, so that a full file table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Tells long requests of a listener that it stops; found among the extensions of each request.
#[derive(Clone, Debug, Default)]
pub struct Stopping(pub CancellationToken);

/// What the HTTP listeners of an agent have in common; cheap to clone.
#[derive(Clone, Debug)]
pub struct Common {
    /// Which hosts and origins are answered.
    pub access: Access,
    /// Memory for bodies, of all listeners together.
    pub bodies: Bodies,
}

/// A socket to serve on. Whoever keeps a clone may serve something else on it afterwards.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The socket.
    pub socket: Arc<TcpListener>,
    /// The rules of TLS, which new connections take anew; none for plain HTTP.
    pub tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// How many connections there may be at a time; further ones wait in the system's queue.
    pub connections_max: usize,
    /// How many each address may hold.
    pub callers: Callers,
    /// How long a connection may take to agree on TLS.
    pub handshake_max: Duration,
}

/// Serves `router` on a listener until `shutdown` resolves. Then it lets the requests in flight
/// finish for a short time. Waiting and streaming requests end at once.
pub async fn serve(
    listener: Listener,
    router: Router,
    common: Common,
    shutdown: impl Future<Output = ()> + Send,
) {
    let Listener {
        socket,
        tls,
        connections_max,
        callers,
        handshake_max,
    } = listener;
    let stopping = Stopping::default();
    // One layer for all of it: each costs every request a copy of those below.
    let guarded = |reach: Reach| {
        let entrance = Entrance {
            access: common.access.clone(),
            reach,
            bodies: common.bodies.clone(),
            stopping: stopping.clone(),
        };
        let layer = middleware::from_fn_with_state(Arc::new(entrance), enter);
        router.clone().layer(layer)
    };
    let (inside, outside) = (guarded(Reach::Loopback), guarded(Reach::Network));
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(connections_max.max(1)));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&socket, &slots) => accepted,
            () = &mut shutdown => break,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, peer, slot)) = accepted else {
            continue;
        };
        let Some(place) = callers.admit(peer.ip()) else {
            static WARNINGS: Seldom = Seldom::new();
            if WARNINGS.is_due() {
                tracing::warn!(address = %peer.ip(), "an address holds as many connections as it may; further ones are turned away");
            }
            // Before TLS there is nothing to say.
            if tls.is_none()
                && let Ok(refusal) = Arc::clone(&refusals).try_acquire_owned()
            {
                connections.spawn(async move {
                    turn_away(stream).await;
                    drop((refusal, slot));
                });
            }
            continue;
        };
        let ends_at = stream.local_addr();
        let router = match ends_at {
            Ok(address) if address.ip().to_canonical().is_loopback() => inside.clone(),
            _ => outside.clone(),
        };
        let tls = tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
        let (watcher, stop) = (graceful.watcher(), stopping.0.clone());
        connections.spawn(async move {
            match tls {
                None => speak(stream, peer, router, watcher).await,
                Some(config) => {
                    let agreed = TlsAcceptor::from(config).accept(stream);
                    let agreed = timeout(handshake_max, agreed);
                    let agreed = tokio::select! {
                        agreed = agreed => agreed,
                        () = stop.cancelled() => return,
                    };
                    // Whoever does not agree has gone, or has the wrong authority.
                    if let Ok(Ok(stream)) = agreed {
                        speak(stream, peer, router, watcher).await;
                    }
                }
            }
            drop((place, slot));
        });
    }
    drop(socket);
    finish(&stopping, graceful, connections).await;
}

/// Tells a connection that its address has too many. What it sent already is read, or closing would
/// take the answer back.
async fn turn_away(mut stream: TcpStream) {
    const REASON: &str = "this address has as many connections as one may have (`limits.http_max_conns_per_client`); close some\n";
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{REASON}",
        REASON.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen has gone.
    drop(timeout(REFUSAL_TIMEOUT, told).await);
}

/// Lets the requests in flight finish for a short time.
async fn finish(stopping: &Stopping, graceful: GracefulShutdown, mut connections: JoinSet<()>) {
    stopping.0.cancel();
    if timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests were still in flight at the stop");
    }
    connections.shutdown().await;
}

/// What a listener does with every request.
struct Entrance {
    access: Access,
    reach: Reach,
    bodies: Bodies,
    stopping: Stopping,
}

async fn enter(
    State(entrance): State<Arc<Entrance>>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    name_host(&mut request);
    let extensions = request.extensions_mut();
    extensions.insert(entrance.bodies.clone());
    extensions.insert(entrance.stopping.clone());
    guard(&entrance.access, entrance.reach, request, next).await
}

/// Over HTTP/2 the host stands in the URI alone; those who look for it look among the headers.
fn name_host(request: &mut Request<Body>) {
    let authority = request.uri().authority().map(Authority::as_str);
    let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
    if let Some(host) = host
        && !request.headers().contains_key(header::HOST)
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Marks a request that another agent carried here: it goes no further than to a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasCarried;

/// Requests that other agents carry here over RPC, by the API that they are for.
pub type Carried = (Dialect, DuplexStream);

/// Serves `routers` to requests that other agents carry here, until `shutdown` resolves. Who may
/// ask was looked at where they came in.
pub async fn carried(
    carried: mpsc::Receiver<Carried>,
    routers: impl Fn(Dialect) -> Router + Send,
    common: Common,
    shutdown: impl Future<Output = ()> + Send,
) {
    let open = move |(dialect, pipe): Carried| {
        let router = routers(dialect).layer(Extension(WasCarried));
        (pipe, router, ())
    };
    handed(carried, open, common, shutdown).await;
}

/// Serves `router` on the connections on which parts of this agent ask it, until `shutdown`
/// resolves.
pub async fn own(
    asked: mpsc::Receiver<DuplexStream>,
    router: Router,
    common: Common,
    shutdown: impl Future<Output = ()> + Send,
) {
    let open = move |pipe| (pipe, router.clone(), ());
    handed(asked, open, common, shutdown).await;
}

/// Speaks HTTP over every connection that is handed on, until `shutdown` resolves. What comes with
/// it beside the connection and its router is kept as long as it is open.
pub(super) async fn handed<T, S, K>(
    mut handed: mpsc::Receiver<T>,
    open: impl Fn(T) -> (S, Router, K) + Send,
    common: Common,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Send + 'static,
{
    let stopping = Stopping::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let next = tokio::select! {
            next = handed.recv() => next,
            () = &mut shutdown => break,
        };
        while connections.try_join_next().is_some() {}
        let Some(next) = next else {
            (&mut shutdown).await;
            break;
        };
        let (stream, router, kept) = open(next);
        let router = router
            .layer(Extension(common.bodies.clone()))
            .layer(Extension(stopping.clone()));
        let from = SocketAddr::from(([127, 0, 0, 1], 0));
        let watcher = graceful.watcher();
        connections.spawn(async move {
            speak(stream, from, router, watcher).await;
            drop(kept);
        });
    }
    finish(&stopping, graceful, connections).await;
}

/// Speaks HTTP over a connection until it ends.
async fn speak<S>(stream: S, peer: SocketAddr, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    // A connection that breaks is the peer's business.
    drop(watcher.watch(connection.into_owned()).await);
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Without it small answers wait for the peer's acknowledgement.
            drop(stream.set_nodelay(true));
            Some((stream, peer, slot))
        }
        Err(error) => {
            static WARNINGS: Seldom = Seldom::new();
            if WARNINGS.is_due() {
                tracing::warn!(%error, "cannot accept a connection");
            }
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
