//! The block `dns` of a configuration file, as it is written and as it is meant.

use super::Problem;
use jobs::model::Span;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const SOURCE: &str = "configuration";
/// The zone of an agent that names none.
pub(super) const DOMAIN: &str = "consul";
/// Port of servers that are named without one.
const PORT: u16 = 53;
/// Most servers for names outside the zone.
const RECURSORS_MAX: usize = 8;
/// How long one of them may take unless configured.
const RECURSOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Most answers over UDP to clients that take no more than 512 bytes, unless configured.
const UDP_ANSWER_LIMIT: u64 = 3;

/// What is written about names.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenDns {
    pub enabled: Option<bool>,
    pub domain: Option<String>,
    pub alt_domain: Option<String>,
    pub recursors: Option<Vec<String>>,
    pub recursor_timeout: Option<String>,
    pub only_passing: Option<bool>,
    pub node_ttl: Option<String>,
    pub service_ttl: BTreeMap<String, String>,
    pub min_ttl: Option<String>,
    pub enable_truncate: Option<bool>,
    pub udp_answer_limit: Option<u64>,
    pub a_record_limit: Option<u64>,
}

impl WrittenDns {
    /// Keys of the block.
    pub(super) const KEYS: [&str; 12] = [
        "enabled",
        "domain",
        "alt_domain",
        "recursors",
        "recursor_timeout",
        "only_passing",
        "node_ttl",
        "service_ttl",
        "min_ttl",
        "enable_truncate",
        "udp_answer_limit",
        "a_record_limit",
    ];

    /// `self` with everything that `other` sets.
    pub(super) fn merge(self, other: Self) -> Self {
        let mut service_ttl = self.service_ttl;
        service_ttl.extend(other.service_ttl);
        Self {
            enabled: other.enabled.or(self.enabled),
            domain: other.domain.or(self.domain),
            alt_domain: other.alt_domain.or(self.alt_domain),
            recursors: other.recursors.or(self.recursors),
            recursor_timeout: other.recursor_timeout.or(self.recursor_timeout),
            only_passing: other.only_passing.or(self.only_passing),
            node_ttl: other.node_ttl.or(self.node_ttl),
            service_ttl,
            min_ttl: other.min_ttl.or(self.min_ttl),
            enable_truncate: other.enable_truncate.or(self.enable_truncate),
            udp_answer_limit: other.udp_answer_limit.or(self.udp_answer_limit),
            a_record_limit: other.a_record_limit.or(self.a_record_limit),
        }
    }
}

/// How names are answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// UDP and TCP.
    pub address: SocketAddr,
    /// Zone, without the last dot.
    pub domain: String,
    /// Another name of the zone; empty for none.
    pub alt_domain: String,
    /// Servers for names outside the zone, in the order in which they are asked.
    pub recursors: Vec<SocketAddr>,
    /// How long one of them may take.
    pub recursor_timeout: Duration,
    /// Whether instances in warning are left out.
    pub only_passing: bool,
    /// TTL of nodes.
    pub node_ttl: Duration,
    /// TTL of services by name, which may end in `*`.
    pub service_ttl: BTreeMap<String, Duration>,
    /// How long it may be remembered that a name does not exist.
    pub min_ttl: Duration,
    /// Whether a shortened answer over UDP says so.
    pub enable_truncate: bool,
    /// Most answers over UDP to clients that take no more than 512 bytes.
    pub udp_answer_limit: usize,
    /// Most addresses in any answer; 0 for no limit.
    pub a_record_limit: usize,
}

pub(super) fn resolve(
    dns: &WrittenDns,
    address: SocketAddr,
    problems: &mut Vec<Problem>,
) -> Option<Dns> {
    if !dns.enabled.unwrap_or(true) {
        return None;
    }
    let mut ttl = |name: &str, text: Option<&String>, default| {
        text.map_or(default, |text| {
            duration(&format!("dns.{name}"), text, problems)
        })
    };
    let node_ttl = ttl("node_ttl", dns.node_ttl.as_ref(), Duration::ZERO);
    let min_ttl = ttl("min_ttl", dns.min_ttl.as_ref(), Duration::ZERO);
    let timeout = dns.recursor_timeout.as_ref();
    let recursor_timeout = ttl("recursor_timeout", timeout, RECURSOR_TIMEOUT);
    let service_ttl = dns.service_ttl.iter().map(|(service, text)| {
        let name = format!("service_ttl.{service}");
        (service.clone(), ttl(&name, Some(text), Duration::ZERO))
    });
    let service_ttl = service_ttl.collect();
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Some(Dns {
        address,
        domain: dns.domain.clone().unwrap_or_else(|| DOMAIN.into()),
        alt_domain: dns.alt_domain.clone().unwrap_or_default(),
        recursors: recursors(dns.recursors.as_deref().unwrap_or_default(), problems),
        recursor_timeout,
        only_passing: dns.only_passing.unwrap_or(false),
        node_ttl,
        service_ttl,
        min_ttl,
        enable_truncate: dns.enable_truncate.unwrap_or(false),
        udp_answer_limit: count(dns.udp_answer_limit.unwrap_or(UDP_ANSWER_LIMIT)),
        a_record_limit: count(dns.a_record_limit.unwrap_or(0)),
    })
}

pub(super) fn duration(name: &str, text: &str, problems: &mut Vec<Problem>) -> Duration {
    match Span::parse(text) {
        Ok(span) if span >= Span::ZERO => span.to_std(),
        Ok(_) | Err(_) => {
            let message = format!("`{name}` is `{text}`, which is no duration such as `10s`");
            problems.push(Problem::new(SOURCE, message));
            Duration::ZERO
        }
    }
}

fn recursors(written: &[String], problems: &mut Vec<Problem>) -> Vec<SocketAddr> {
    if written.len() > RECURSORS_MAX {
        let message = format!(
            "`dns.recursors` has {} servers, at most {RECURSORS_MAX} are allowed",
            written.len()
        );
        problems.push(Problem::new(SOURCE, message));
    }
    let mut found = Vec::new();
    for text in written {
        let ip = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        match ip.or_else(|_| text.parse()) {
            Ok(server) => found.push(server),
            Err(_) => {
                let message =
                    format!("`dns.recursors` has `{text}`, which is no IP address or IP:PORT");
                problems.push(Problem::new(SOURCE, message));
            }
        }
    }
    found
}
