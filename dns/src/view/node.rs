//! Nodes, ready to be answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::TXT;

use super::facts::Node;
use super::names::{Suffixes, ZoneNames, host_name, prepend};

/// Longest character string inside a TXT record, in bytes (RFC 1035, 3.3.14).
const TXT_STRING_BYTES_MAX: usize = 255;

/// A node, ready to be answered.
#[derive(Debug)]
pub(crate) struct NodeEntry {
    /// `NODE.node.DC.DOMAIN`; absent when the node's name cannot be a DNS name.
    pub(crate) fqdn: Option<Name>,
    /// Datacenter, in lower case.
    pub(crate) datacenter: Box<[u8]>,
    /// What names of things on it end with.
    pub(super) suffixes: Arc<Suffixes>,
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
    /// Host name, when the node has no IP address.
    pub(crate) alias: Option<Name>,
    pub(crate) meta: Vec<TXT>,
}

impl NodeEntry {
    pub(super) fn new(node: &Node, names: &ZoneNames) -> Self {
        let (datacenter, suffixes) = names.of_datacenter(&node.datacenter);
        let mut entry = Self {
            fqdn: prepend(&suffixes.node, &node.name),
            datacenter,
            suffixes,
            v4: Vec::new(),
            v6: Vec::new(),
            alias: None,
            meta: node
                .meta
                .iter()
                .map(|(key, value)| meta_text(key, value))
                .collect(),
        };
        for address in &node.addresses {
            match address.parse() {
                Ok(IpAddr::V4(ip)) => entry.v4.push(ip),
                Ok(IpAddr::V6(ip)) => entry.v6.push(ip),
                Err(_) => entry.alias = entry.alias.or_else(|| host_name(address)),
            }
        }
        if !(entry.v4.is_empty() && entry.v6.is_empty()) {
            entry.alias = None;
        }
        entry
    }

    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().map(|ip| IpAddr::V4(*ip));
        v4.chain(self.v6.iter().map(|ip| IpAddr::V6(*ip)))
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.contains(&ip),
            IpAddr::V6(ip) => self.v6.contains(&ip),
        }
    }
}

/// The TXT record of one metadata pair; keys that start with `rfc1035-` carry a bare value.
fn meta_text(key: &str, value: &str) -> TXT {
    let text = if key.starts_with("rfc1035-") {
        value.to_owned()
    } else {
        format!("{key}={value}")
    };
    let strings: Vec<&[u8]> = match text.as_bytes() {
        [] => vec![&[]],
        bytes => bytes.chunks(TXT_STRING_BYTES_MAX).collect(),
    };
    TXT::from_bytes(strings)
}
