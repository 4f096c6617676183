//! Settings of the DNS part, resolved by the caller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Most answers a service question may get in one small UDP reply, whatever is configured.
const UDP_ANSWERS_MAX: usize = 8;

/// Everything the DNS part needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on, UDP and TCP alike; port 0 lets the system choose one port for both.
    /// Not empty.
    pub listen: Vec<SocketAddr>,
    /// Most open TCP connections per address, at least 1. A client that comes when all are taken
    /// gets the place of the connection that has been idle longest.
    pub tcp_connections_max: usize,
    /// How answers are shaped.
    pub rules: Rules,
    /// Servers that are asked for names outside the zone, in this order; none refuses such names.
    pub recursors: Vec<SocketAddr>,
    /// How long one of them may take.
    pub recursor_timeout: Duration,
}

impl Config {
    /// How long a recursor may take unless configured otherwise.
    pub const RECURSOR_TIMEOUT: Duration = Duration::from_secs(2);
    /// Most TCP connections per address unless configured otherwise.
    pub const TCP_CONNECTIONS_MAX: usize = 256;
}

/// How answers are shaped.
///
/// Source: the agent's `dns_config` block; [`Rules::default`] has the defaults of the reference
/// product.
#[derive(Clone, Debug)]
pub struct Rules {
    /// TTL of node, address and name-server records, in whole seconds.
    pub node_ttl: Duration,
    /// TTL of service records by service name, in whole seconds. A key may end in `*`; an exact
    /// name wins over a prefix and a longer prefix over a shorter one. A service that no key
    /// matches has TTL 0.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Most answers in a UDP reply to a client that accepts no more than 512 bytes; 1 to 8, other
    /// values are clamped.
    pub udp_answer_limit: usize,
    /// Most address records in any reply; 0 means no limit.
    pub a_record_limit: usize,
    /// Whether a shortened UDP reply says so (TC), which makes clients ask again over TCP.
    pub enable_truncate: bool,
    /// Whether address and SRV answers carry the node's metadata as additional TXT records.
    pub node_meta_txt: bool,
    /// Fixed fields of the zone's SOA record.
    pub soa: Soa,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_truncate: false,
            node_meta_txt: true,
            soa: Soa::default(),
        }
    }
}

impl Rules {
    /// TTL in seconds of the records of the service `name` (lower case).
    pub(crate) fn service_ttl(&self, name: &[u8]) -> u32 {
        if self.service_ttl.is_empty() {
            return 0;
        }
        let exact = str::from_utf8(name)
            .ok()
            .and_then(|name| self.service_ttl.get(name));
        let ttl = exact.or_else(|| {
            self.service_ttl
                .iter()
                .filter_map(|(key, ttl)| Some((key.strip_suffix('*')?, ttl)))
                .filter(|(prefix, _)| name.starts_with(prefix.as_bytes()))
                .max_by_key(|(prefix, _)| prefix.len())
                .map(|(_, ttl)| ttl)
        });
        ttl.map_or(0, |ttl| seconds(*ttl))
    }

    /// TTL in seconds of node, address and name-server records.
    pub(crate) fn node_ttl(&self) -> u32 {
        seconds(self.node_ttl)
    }

    /// Most answers in a reply to a client that accepts no more than 512 bytes over UDP.
    pub(crate) fn udp_answers(&self) -> usize {
        self.udp_answer_limit.clamp(1, UDP_ANSWERS_MAX)
    }

    /// Most address records in any reply.
    pub(crate) fn address_answers(&self) -> usize {
        match self.a_record_limit {
            0 => usize::MAX,
            limit => limit,
        }
    }
}

/// Fixed fields of the zone's SOA record.
#[derive(Clone, Copy, Debug)]
pub struct Soa {
    /// How often a secondary would refresh, in whole seconds.
    pub refresh: Duration,
    /// How soon a secondary would retry, in whole seconds.
    pub retry: Duration,
    /// When a secondary would give up, in whole seconds.
    pub expire: Duration,
    /// How long resolvers may remember that a name does not exist, in whole seconds. It is also the
    /// TTL of the SOA.
    pub min_ttl: Duration,
}

impl Default for Soa {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(3_600),
            retry: Duration::from_secs(600),
            expire: Duration::from_secs(86_400),
            min_ttl: Duration::ZERO,
        }
    }
}

/// Whole seconds, cut to what a 31-bit TTL field can hold.
pub(crate) fn seconds(duration: Duration) -> u32 {
    const TTL_MAX: u32 = i32::MAX.unsigned_abs();
    u32::try_from(duration.as_secs()).map_or(TTL_MAX, |seconds| seconds.min(TTL_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_service_ttl_wins_over_the_longest_prefix() {
        let rules = Rules {
            service_ttl: [("*", 1), ("we*", 2), ("web*", 3), ("web", 4)]
                .map(|(key, ttl)| (key.to_owned(), Duration::from_secs(ttl)))
                .into(),
            ..Rules::default()
        };
        let found: Vec<u32> = [&b"db"[..], b"west", b"web-1", b"web"]
            .map(|name| rules.service_ttl(name))
            .to_vec();
        assert_eq!(found, [1, 2, 3, 4]);
    }
}
