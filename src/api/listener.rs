//! One accept loop for every HTTP listener of the agent.

use axum::{Extension, Router, extract::ConnectInfo, http::Request, middleware};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    auth::{Access, Reach, guard},
    body::Bodies,
};
use sys::seldom::Seldom;

/// How long a connection may take to send a head, and may rest between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
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

/// Serves `router` on at most `connections_max` connections at a time, further ones wait in the
/// system's queue, until `shutdown` resolves. Then it lets the requests in flight finish for a
/// short time. Waiting and streaming requests end at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    common: Common,
    connections_max: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    let stopping = Stopping::default();
    let router = router
        .layer(Extension(common.bodies))
        .layer(Extension(stopping.clone()));
    let guarded = |reach: Reach| {
        let access = (common.access.clone(), reach);
        let router = router.clone();
        router.layer(middleware::from_fn_with_state(access, guard))
    };
    let (inside, outside) = (guarded(Reach::Loopback), guarded(Reach::Network));
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(connections_max.max(1)));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut shutdown => break,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, peer, slot)) = accepted else {
            continue;
        };
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        let ends_at = stream.local_addr();
        let router = match ends_at {
            Ok(address) if address.ip().to_canonical().is_loopback() => inside.clone(),
            _ => outside.clone(),
        };
        let service = router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let service = TowerToHyperService::new(service);
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A connection that breaks is the peer's business.
            drop(connection.await);
            drop(slot);
        });
    }
    drop(listener);
    stopping.0.cancel();
    if timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests were still in flight at the stop");
    }
    connections.shutdown().await;
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
