//! The block `limits`: what one address may hold at the listeners, and how long it may take to say
//! who it is.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use std::time::Duration;

/// How long a handshake may take unless it is set.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections of one address unless it is set.
const CONNECTIONS: usize = 100;
/// The same at the catalog API, whose clients wait on many things at a time.
const CATALOG_CONNECTIONS: usize = 200;
/// A machine with a server and a client holds so many at another server, twice where it comes back
/// before the first ones are given up.
const RPC_LEAST: u64 = 10;

/// What one address may hold at the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callers {
    /// Jobs API.
    pub http: PerAddress,
    /// Catalog API, plain and over TLS together.
    pub catalog: PerAddress,
    /// Streams of agents.
    pub rpc: PerAddress,
    /// How long a connection to an HTTP API may take to agree on TLS; [`Duration::MAX`] for as long
    /// as it likes.
    pub https_handshake: Duration,
    /// How long one for RPC may take until it asks for something; likewise.
    pub rpc_handshake: Duration,
}

/// How many connections one address may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerAddress {
    /// At the same time; none for as many as the listener has.
    pub most: Option<usize>,
    /// Whether it counts for loopback addresses too: only where it is written.
    pub counts_loopback: bool,
}

impl PerAddress {
    /// What is written counts for everybody. Nobody has to write for the many programs of one
    /// machine to be let in.
    fn new(written: Option<u64>, usual: usize) -> Self {
        let most = written.map_or(usual, |most| usize::try_from(most).unwrap_or(usize::MAX));
        Self {
            most: Some(most).filter(|most| *most > 0),
            counts_loopback: written.is_some(),
        }
    }
}

/// The keys of `limits`, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenCallers {
    pub https_handshake_timeout: Option<String>,
    pub http_max_conns_per_client: Option<u64>,
    pub rpc_handshake_timeout: Option<String>,
    pub rpc_max_conns_per_client: Option<u64>,
}

impl WrittenCallers {
    const KEYS: [&str; 4] = [
        "https_handshake_timeout",
        "http_max_conns_per_client",
        "rpc_handshake_timeout",
        "rpc_max_conns_per_client",
    ];

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            https_handshake_timeout: other
                .https_handshake_timeout
                .or(self.https_handshake_timeout),
            http_max_conns_per_client: other
                .http_max_conns_per_client
                .or(self.http_max_conns_per_client),
            rpc_handshake_timeout: other.rpc_handshake_timeout.or(self.rpc_handshake_timeout),
            rpc_max_conns_per_client: other
                .rpc_max_conns_per_client
                .or(self.rpc_max_conns_per_client),
        }
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "https_handshake_timeout" => self.https_handshake_timeout = reader.text(&inner),
                "http_max_conns_per_client" => {
                    self.http_max_conns_per_client = reader.number(&inner);
                }
                "rpc_handshake_timeout" => self.rpc_handshake_timeout = reader.text(&inner),
                "rpc_max_conns_per_client" => self.rpc_max_conns_per_client = reader.number(&inner),
                _ => reader.unknown(&inner, "limits", &Self::KEYS),
            }
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Callers {
        let rpc = self.rpc_max_conns_per_client;
        if let Some(few) = rpc.filter(|most| (1..RPC_LEAST).contains(most)) {
            let message = format!(
                "`limits.rpc_max_conns_per_client` is {few}; an agent may need {RPC_LEAST}, and 0 sets no limit"
            );
            problems.push(Problem::new(SETTINGS, message));
        }
        let mut handshake = |key: &str, text: &Option<String>| match text {
            None => HANDSHAKE,
            Some(text) => match duration(&format!("limits.{key}"), text, problems) {
                Duration::ZERO => Duration::MAX,
                limit => limit,
            },
        };
        Callers {
            http: PerAddress::new(self.http_max_conns_per_client, CONNECTIONS),
            catalog: PerAddress::new(self.http_max_conns_per_client, CATALOG_CONNECTIONS),
            rpc: PerAddress::new(rpc, CONNECTIONS),
            https_handshake: handshake("https_handshake_timeout", &self.https_handshake_timeout),
            rpc_handshake: handshake("rpc_handshake_timeout", &self.rpc_handshake_timeout),
        }
    }
}
