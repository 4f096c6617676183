//! What a connection is, before it is carried: whose it is, whether it is inside of TLS, and what
//! is spoken on it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::HttpProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::counters::Wire;
use super::fast::{self, Accepted, Ends, Local};
use super::lease::{Lease, Refused};
use super::patience::Limits;
use super::routing::{Failure, Tried};
use super::service::Service;
use super::socket::{Replay, Socket};
use super::stream::{Plain, Prefixed, Stream};
use crate::certs::{TlsError, server_config};
use crate::config::{Announced, Config, Listener, Protocol};
use crate::route::{Outcome, Route, Table};
use crate::tcp::{self, Begin, Broken, Counts, Hello, Patience};

/// How connections of a listener are carried; connections keep what was in force when they came.
pub(super) struct Served {
    protocol: Protocol,
    tls: Option<TlsAcceptor>,
    announced: Option<Announced>,
    limits: Limits,
    patience: Patience,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl Served {
    /// What a listener wants, where it says nothing as the configuration of all says.
    pub(super) fn new(listener: &Listener, config: &Config) -> Result<Served, TlsError> {
        let protocols: &[&[u8]] = match listener.protocol {
            Protocol::Http | Protocol::HttpsTcpSni => &[b"h2", b"http/1.1"],
            Protocol::Grpc => &[b"h2"],
            Protocol::Tcp | Protocol::TcpSni | Protocol::TcpDynamic => &[],
        };
        let tls = match &listener.tls {
            Some(tls) => Some(TlsAcceptor::from(Arc::new(server_config(tls, protocols)?))),
            None => None,
        };
        let (read, write) = (listener.read_timeout, listener.write_timeout);
        Ok(Served {
            protocol: listener.protocol,
            tls,
            announced: listener.announced.clone(),
            limits: Limits {
                head: read.unwrap_or(config.head_timeout),
                client: write.or(read).unwrap_or(config.client_timeout),
                idle: listener
                    .idle_timeout
                    .or(read)
                    .unwrap_or(config.client_idle_timeout),
            },
            patience: Patience { read, write },
        })
    }
}

impl Served {
    /// What is spoken.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether nothing comes before the first request.
    fn begins_with_requests(&self) -> bool {
        let has_requests = matches!(self.protocol, Protocol::Http | Protocol::Grpc);
        has_requests && self.announced.is_none() && self.tls.is_none()
    }
}

/// Carries the connections of one thread.
pub(super) struct Arrival {
    pub(super) config: Arc<Config>,
    pub(super) local: Rc<Local>,
    pub(super) server: Arc<HttpProxy<Service>>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// A connection that may bring requests, from where to where, and what was read of it.
type Opened = (Stream, (SocketAddr, SocketAddr), Vec<u8>);

/// A connection, from where to where, and what was read of it.
struct Come {
    tcp: Plain,
    ends: (SocketAddr, SocketAddr),
    /// Where it came to, whatever the proxy before us says.
    own: SocketAddr,
    first: Vec<u8>,
}

impl Arrival {
    /// Carries a connection to its end. What only some connections need has memory of its own: the
    /// room for it would be taken by each one that rests.
    pub(super) async fn carry(&self, tcp: Plain, ends: (SocketAddr, SocketAddr), served: &Served) {
        let come = Come::new(tcp, ends);
        let opened = if served.begins_with_requests() {
            self.count(served);
            Some(come.plain())
        } else {
            Box::pin(self.arrive(come, served)).await
        };
        let Some((stream, (peer, own), first)) = opened else {
            return;
        };
        let accepted = Accepted {
            stream,
            peer,
            own,
            first,
            limits: served.limits,
        };
        if let Some(left) = fast::serve(self.local.clone(), accepted).await {
            Box::pin(self.leave(left, served.limits)).await;
        }
    }

    /// Counts what came for requests.
    fn count(&self, served: &Served) {
        if served.protocol == Protocol::Grpc {
            self.local.handle().counters().came(Wire::Grpc);
        }
    }

    /// Reads what has to be known before the first request, and passes on what brings none; what
    /// does is returned.
    async fn arrive(&self, mut come: Come, served: &Served) -> Option<Opened> {
        if let Some(rule) = &served.announced
            && let Err(error) = come.announce(rule).await
        {
            let (peer, _) = come.ends;
            tracing::debug!(%error, %peer, "a connection is not what it should begin with");
            return None;
        }
        let (own, counters) = (come.own, self.local.handle().counters());
        match served.protocol {
            Protocol::Http | Protocol::Grpc => {
                self.count(served);
                return come.open(served).await;
            }
            Protocol::Tcp => {
                let opened = come.open(served).await?;
                let wire = (served, Wire::Tcp);
                self.bytes(opened, wire, |table| table.lookup_port(own.port()))
                    .await;
            }
            Protocol::TcpDynamic => {
                let opened = come.open(served).await?;
                let wire = (served, Wire::Tcp);
                self.bytes(opened, wire, |table| table.lookup_address(own))
                    .await;
            }
            Protocol::TcpSni => {
                let wire = (served, Wire::Sni);
                if let Ok(Some(name)) = come.name(served.limits.head).await {
                    self.bytes(come.plain(), wire, |table| table.lookup_name(&name, true))
                        .await;
                } else {
                    counters.came(Wire::Sni);
                    counters.failed(Wire::Sni);
                }
            }
            Protocol::HttpsTcpSni => {
                let name = come.name(served.limits.head).await.ok()?;
                let name = name.unwrap_or_default();
                let table = self.local.handle().load();
                let is_passed = table.lookup_name(&name, false).is_some();
                drop(table);
                if !is_passed {
                    return come.open(served).await;
                }
                let wire = (served, Wire::Sni);
                self.bytes(come.plain(), wire, |table| table.lookup_name(&name, false))
                    .await;
            }
        }
        None
    }

    /// Leaves a connection whose next request is not plain to the library.
    async fn leave(&self, (accepted, replay): (Accepted, Replay), limits: Limits) {
        let Accepted {
            stream, peer, own, ..
        } = accepted;
        let is_tls = stream.is_tls();
        let by = self.config.own_headers.by;
        let Ok(mut socket) = Socket::new(stream, (peer, own), by, limits, replay) else {
            return;
        };
        if !socket.speaks_http2().await {
            self.server
                .process_new(Box::new(socket), &self.stopping)
                .await;
            return;
        }
        let ends = Ends {
            peer,
            own,
            is_tls,
            limits,
        };
        let rest = self.stopping.clone();
        let (server, stopping) = (self.server.clone(), self.stopping.clone());
        let carried = fast::serve_http2(&self.local, socket, ends, rest, move |session| {
            let (server, stopping) = (server.clone(), stopping.clone());
            async move {
                let session = ServerSession::new_http2(session);
                server.process_new_http(session, &stopping).await;
            }
        });
        // Connections of the older version need no room for it.
        Box::pin(carried).await;
    }

    /// Passes a connection on to a target of a route.
    async fn bytes(
        &self,
        (mut client, (peer, own), first): Opened,
        (served, wire): (&Served, Wire),
        find: impl Fn(&Table) -> Option<&Route>,
    ) {
        let counters = self.local.handle().counters();
        counters.came(wire);
        let mut tried = Tried::default();
        for left in (0..=self.config.retries).rev() {
            let lease = match tried.lease_by(&self.config, self.local.handle(), peer.ip(), &find) {
                Ok(lease) => lease,
                Err(refused) => {
                    let is_known = !matches!(refused, Refused::NoRoute);
                    if !is_known {
                        self.local.handle().on_unrouted();
                        counters.unrouted(wire);
                    }
                    tracing::debug!(%peer, %own, is_known, "a connection goes to no target");
                    return;
                }
            };
            if !lease.target().options().access.admits([peer.ip()]) {
                return;
            }
            let address = lease.target().address();
            let connected = timeout(self.config.connect_timeout, connect(address)).await;
            let (failure, target) = match connected {
                Ok(Ok(target)) => (Failure::Broken, Some(target)),
                Ok(Err(_)) => (Failure::Broken, None),
                Err(_) => (Failure::Silent, None),
            };
            let count = |outcome| {
                let meter = lease.target().meter();
                meter.ended(self.local.number(), outcome, Duration::ZERO);
            };
            let Some(target) = target else {
                tried.unreachable(lease.target().upstream().serial(), failure);
                count(Outcome::Refused);
                counters.failed(wire);
                if left > 0 {
                    lease.target().meter().retried(self.local.number());
                }
                continue;
            };
            let by = (&lease, self.local.number());
            let passed = pass_on(&mut client, target, by, (peer, own), first, served).await;
            count(match &passed {
                Ok(()) => Outcome::Passed,
                Err(Broken::Client(_)) => Outcome::Left,
                Err(Broken::Target(_)) => Outcome::Failed,
            });
            if let Err(error) = passed {
                let error: &dyn std::error::Error = &error;
                tracing::trace!(error, %peer, target = %address, "a connection ended early");
            }
            return;
        }
        tracing::warn!(%peer, %own, "no target of a connection can be reached");
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Before it is connected: a target that leaves at once is no target that refuses.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

async fn pass_on(
    client: &mut Stream,
    mut target: TcpStream,
    (lease, thread): (&Lease, usize),
    (peer, own): (SocketAddr, SocketAddr),
    first: Vec<u8>,
    served: &Served,
) -> Result<(), Broken> {
    let mut head = Vec::new();
    if let Some(form) = lease.target().options().proxy_header {
        tcp::write_header(form, peer, own, &mut head);
    }
    head.extend_from_slice(&first);
    target.write_all(&head).await.map_err(Broken::Target)?;
    let meter = lease.target().meter();
    meter.sent(thread, first.len());
    let counts = Counts {
        sent: &|bytes| meter.sent(thread, bytes),
        received: &|bytes| meter.received(thread, bytes),
    };
    tcp::relay(client, target, served.patience, counts).await
}

impl Come {
    fn new(tcp: Plain, (peer, own): (SocketAddr, SocketAddr)) -> Come {
        let own = if own.ip().is_unspecified() {
            tcp.local_addr().unwrap_or(own)
        } else {
            own
        };
        Come {
            tcp,
            ends: (peer, own),
            own,
            first: Vec::new(),
        }
    }

    /// Reads what the proxy before us says of the client.
    async fn announce(&mut self, rule: &Announced) -> io::Result<()> {
        let (peer, _) = self.ends;
        if !rule.trusted.is_empty() && !rule.trusted.iter().any(|block| block.has(peer.ip())) {
            return if rule.is_required {
                Err(io::ErrorKind::PermissionDenied.into())
            } else {
                Ok(())
            };
        }
        let read = async {
            loop {
                match tcp::begin(&self.first) {
                    Begin::Partial => self.more().await?,
                    Begin::Header(bytes, ends) => {
                        self.first.drain(..bytes);
                        self.ends = ends.unwrap_or(self.ends);
                        return Ok(());
                    }
                    Begin::Other if !rule.is_required => return Ok(()),
                    Begin::Other | Begin::Malformed => {
                        return Err(io::Error::from(io::ErrorKind::InvalidData));
                    }
                }
            }
        };
        match timeout(rule.timeout, read).await {
            Ok(result) => result,
            // A client that waits for the server to speak first sends none.
            Err(_) if !rule.is_required && self.first.is_empty() => Ok(()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The name in the greeting of TLS, which stays to be read.
    async fn name(&mut self, most: Duration) -> io::Result<Option<String>> {
        let read = async {
            loop {
                match tcp::hello(&self.first) {
                    Hello::Partial => self.more().await?,
                    Hello::Name(name) => return Ok(name),
                    Hello::Other => return Err(io::Error::from(io::ErrorKind::InvalidData)),
                }
            }
        };
        timeout(most, read)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.tcp.read_buf(&mut self.first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The connection as it is.
    fn plain(self) -> Opened {
        (Stream::Plain(self.tcp), self.ends, self.first)
    }

    /// The connection behind TLS, where the listener ends it.
    async fn open(self, served: &Served) -> Option<Opened> {
        let Some(acceptor) = &served.tls else {
            return Some(self.plain());
        };
        let tcp = self.tcp.into_known().ok()?;
        let handshake = acceptor.accept(Prefixed::new(tcp, self.first));
        match Box::pin(timeout(served.limits.head, handshake)).await {
            Ok(Ok(stream)) => Some((Stream::Tls(Box::new(stream)), self.ends, Vec::new())),
            Ok(Err(error)) => {
                tracing::debug!(%error, peer = %self.ends.0, "TLS did not come about");
                None
            }
            Err(_) => None,
        }
    }
}
