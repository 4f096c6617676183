//! Settings of the running proxy.

use std::net::SocketAddr;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

/// How to choose among the targets of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Exactly in turn.
    #[default]
    RoundRobin,
    /// At random, by share.
    Random,
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

/// Settings of the running proxy; all of them hold until it stops.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen for HTTP/1.1 without TLS. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
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
    /// How many idle connections to targets are kept, all together.
    pub upstream_idle_max: usize,
    /// How many more targets are tried when one fails.
    pub retries: usize,
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
    /// How long requests in flight are waited for when targets leave the table, and when the proxy
    /// stops.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Vec::new(),
            threads: available_parallelism().map_or(1, NonZero::get),
            on_thread_start: None,
            library: Library::Doubtful,
            strategy: Strategy::RoundRobin,
            no_route_status: 404,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Some(Duration::from_secs(60)),
            upstream_idle_timeout: Duration::from_secs(4),
            upstream_idle_max: 4096,
            retries: 2,
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
        }
    }
}
