//! Settings of the running proxy.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::auth::Schemes;
use crate::certs::{Challenges, Tls};
use crate::log::AccessLog;
use crate::route::Block;

/// How to choose among the targets of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Exactly in turn.
    #[default]
    RoundRobin,
    /// At random, by share.
    Random,
    /// The one with the fewest requests in flight for its share.
    LeastConnections,
}

/// Which requests are carried by the proxy library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Library {
    /// Those that are not plain HTTP/1.1.
    #[default]
    Doubtful,
    /// All: slower, and what the short way of plain ones is compared with.
    All,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2; over TLS if the listener has certificates.
    #[default]
    Http,
    /// The same; over TLS, HTTP/2 only.
    Grpc,
    /// Bytes, for the route of the listener's port; out of TLS if the listener has certificates.
    Tcp,
    /// TLS that is passed on as it is, for the route of the name in it.
    TcpSni,
    /// TLS that is passed on if a TCP route has its name, and otherwise HTTP over TLS.
    HttpsTcpSni,
    /// Bytes, on a listener for each port of a TCP route; the port of the address is not used.
    TcpDynamic,
}

/// What a listener knows of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// How long the header may take.
    pub timeout: Duration,
    /// Only these may send one; everybody if empty.
    pub trusted: Vec<Block>,
    /// Connections without one are closed.
    pub is_required: bool,
}

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Port 0 lets the system choose.
    pub address: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// Ends TLS.
    pub tls: Option<Tls>,
    /// Reads the header of the PROXY protocol.
    pub announced: Option<Announced>,
    /// How long the head of a request may take; of bytes, how long the next ones may. Where it is
    /// not set, the settings of all listeners hold; bytes may rest forever.
    pub read_timeout: Option<Duration>,
    /// How long a client may take none of an answer.
    pub write_timeout: Option<Duration>,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Option<Duration>,
}

impl Listener {
    /// HTTP without TLS.
    pub fn http(address: SocketAddr) -> Listener {
        Listener {
            address,
            protocol: Protocol::Http,
            tls: None,
            announced: None,
            read_timeout: None,
            write_timeout: None,
            idle_timeout: None,
        }
    }
}

/// Headers that requests and answers get beside the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnHeaders {
    /// Carries the client's address, whatever came in under its name.
    pub client_ip: Option<String>,
    /// Carries an id that no other request has, whatever came in under its name.
    pub request_id: Option<String>,
    /// Name and value of a header of requests that came over TLS; from others it is removed.
    pub tls: Option<(String, String)>,
    /// The value of `Strict-Transport-Security` of answers over TLS.
    pub transport_security: Option<String>,
    /// What `Forwarded` says after `by=`; none for the address at which the request came.
    pub by: Option<IpAddr>,
}

/// Settings of the running proxy; all but the listeners hold until it stops.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen at the start; [`crate::Handle::listen`] changes it.
    pub listeners: Vec<Listener>,
    /// How many threads carry requests, at least one; each listens on every address.
    pub threads: usize,
    /// Called by each of these threads when it starts.
    pub on_thread_start: Option<fn()>,
    /// Which requests are carried by the proxy library.
    pub library: Library,
    /// How to choose among targets.
    pub strategy: Strategy,
    /// The status of the answer to a request without a route.
    pub no_route_status: u16,
    /// The longest time for a TCP connection to a target to come about.
    pub connect_timeout: Duration,
    /// The longest silence of a target, before and within its answer; `None` waits forever.
    /// Upgraded connections and requests for an event stream are never timed.
    pub response_timeout: Option<Duration>,
    /// How long a connection to a target may wait for its next request. Keep it below what targets
    /// allow, or a request may meet a connection that is just being closed.
    pub upstream_idle_timeout: Duration,
    /// Authorities of targets that are reached over TLS, in PEM form; without them, only targets
    /// with `tlsskipverify` can be.
    pub authorities_file: Option<PathBuf>,
    /// How many idle connections to targets are kept, all together.
    pub upstream_idle_max: usize,
    /// How many of those lead to the same target. Each thread keeps its part, rounded up. What the
    /// proxy library keeps is bounded all together only.
    pub target_idle_max: usize,
    /// Who is believed what he says of the way of a request so far, by forwarding headers; all if
    /// empty. Those of others go no further.
    pub trusted_proxies: Vec<Block>,
    /// Headers beside the usual ones.
    pub own_headers: OwnHeaders,
    /// A regular expression for types of content that is compressed; none is if there is none.
    pub compressed_types: Option<String>,
    /// Schemes by which routes let users in.
    pub schemes: Arc<Schemes>,
    /// Answers to authorities that issue certificates.
    pub challenges: Arc<Challenges>,
    /// Where requests are written down.
    pub access_log: Option<Arc<AccessLog>>,
    /// How many more targets are tried when one fails.
    pub retries: usize,
    /// Statuses of answers that another target is asked instead of, if the request may be repeated.
    pub retry_on: Vec<u16>,
    /// How long requests wait for a target when their route has none; not at all if it is zero.
    pub hold: Duration,
    /// How many requests of a route wait when it has no target, or all of them have enough to do.
    pub pending_max: u32,
    /// How long they wait when all targets have enough to do.
    pub pending_time: Duration,
    /// How many of a hundred requests may be repeated after something of them was sent.
    pub repeats_percent: u32,
    /// How many requests a second may be repeated beside those.
    pub repeats_per_second: u32,
    /// A target that fails so many requests in a row gets no new ones for a while; 0 for never. No
    /// more than half of the targets of a route rest for that reason.
    pub eject_after: u32,
    /// How long a target rests that failed, the first time; the second time twice as long, and so
    /// on.
    pub eject_time: Duration,
    /// How long the head of a request may take from its first byte to its last.
    pub head_timeout: Duration,
    /// The longest silence of a client within a request.
    pub client_timeout: Duration,
    /// How long a client's connection may wait for its next request.
    pub client_idle_timeout: Duration,
    /// How many connections of clients are open at once, per address; more wait in the system's
    /// queue.
    pub connections_max: usize,
    /// The largest request body in bytes; `None` for no limit (bodies are streamed, not kept).
    pub request_body_max: Option<u64>,
    /// How long requests in flight are waited for when targets leave the table.
    pub drain_timeout: Duration,
    /// How long they are waited for when the proxy stops.
    pub stop_timeout: Duration,
}

impl Config {
    /// Whether forwarding headers of this client are believed.
    pub(crate) fn believes(&self, client: IpAddr) -> bool {
        self.trusted_proxies.is_empty() || self.trusted_proxies.iter().any(|own| own.has(client))
    }

    /// Whether requests are carried as plain ones are, without anything that only the library
    /// does.
    pub(crate) fn is_plain(&self) -> bool {
        self.library == Library::Doubtful && self.compressed_types.is_none()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listeners: Vec::new(),
            threads: available_parallelism().map_or(1, NonZero::get),
            on_thread_start: None,
            library: Library::Doubtful,
            strategy: Strategy::RoundRobin,
            no_route_status: 404,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Some(Duration::from_secs(60)),
            upstream_idle_timeout: Duration::from_secs(4),
            authorities_file: None,
            upstream_idle_max: 4096,
            target_idle_max: usize::MAX,
            trusted_proxies: Vec::new(),
            own_headers: OwnHeaders::default(),
            compressed_types: None,
            schemes: Arc::default(),
            challenges: Arc::default(),
            access_log: None,
            retries: 2,
            retry_on: Vec::new(),
            hold: Duration::ZERO,
            pending_max: 1000,
            pending_time: Duration::from_secs(1),
            repeats_percent: 20,
            repeats_per_second: 10,
            eject_after: 5,
            eject_time: Duration::from_secs(10),
            head_timeout: Duration::from_secs(15),
            client_timeout: Duration::from_secs(60),
            client_idle_timeout: Duration::from_secs(75),
            connections_max: 10_000,
            request_body_max: None,
            drain_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(30),
        }
    }
}
