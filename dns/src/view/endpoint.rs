//! Where an instance is reached: at its node, an address of its own, or a host name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::facts::Instance;
use super::names::{ZoneNames, host_name};
use super::node::NodeEntry;

/// Where an instance is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// At its node's address.
    Node,
    /// At an address of its own.
    Ip(IpAddr),
    /// At a host name.
    Alias(Name),
}

/// A passing instance, ready to be answered.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: Arc<NodeEntry>,
    pub(crate) host: Host,
    /// Target of its SRV record.
    pub(crate) target: Name,
    pub(crate) port: u16,
    pub(crate) weight: u16,
}

impl Endpoint {
    pub(super) fn new(
        instance: &Instance,
        node: &Arc<NodeEntry>,
        names: &ZoneNames,
    ) -> Option<Self> {
        let host = host(instance, node, names);
        let target = match &host {
            Host::Node => node_target(node),
            Host::Ip(ip) => node.suffixes.address(*ip),
            Host::Alias(alias) => Some(alias.clone()),
        };
        Some(Self {
            node: Arc::clone(node),
            target: target?,
            host,
            port: instance.port,
            weight: instance.weight,
        })
    }

    /// First IPv4 address, if it is known.
    pub(crate) fn v4(&self) -> Option<Ipv4Addr> {
        match &self.host {
            Host::Node => self.node.v4.first().copied(),
            Host::Ip(IpAddr::V4(ip)) => Some(*ip),
            Host::Ip(IpAddr::V6(_)) | Host::Alias(_) => None,
        }
    }

    /// First IPv6 address, if it is known.
    pub(crate) fn v6(&self) -> Option<Ipv6Addr> {
        match &self.host {
            Host::Node => self.node.v6.first().copied(),
            Host::Ip(IpAddr::V6(ip)) => Some(*ip),
            Host::Ip(IpAddr::V4(_)) | Host::Alias(_) => None,
        }
    }

    /// Host name, if that is all that is known.
    pub(crate) fn alias(&self) -> Option<&Name> {
        match &self.host {
            Host::Node => self.node.alias.as_ref(),
            Host::Alias(alias) => Some(alias),
            Host::Ip(_) => None,
        }
    }
}

fn host(instance: &Instance, node: &NodeEntry, names: &ZoneNames) -> Host {
    if instance.address.is_empty() {
        return Host::Node;
    }
    match instance.address.parse() {
        Ok(ip) if node.has(ip) => Host::Node,
        Ok(ip) => Host::Ip(ip),
        Err(_) => match host_name(&instance.address) {
            Some(alias) if node.alias.as_ref() == Some(&alias) => Host::Node,
            Some(alias) if !names.is_service(&alias, &instance.service, &node.suffixes) => {
                Host::Alias(alias)
            }
            _ => Host::Node,
        },
    }
}

/// The SRV target of an instance at its node's address: the node's name, or its address spelled as
/// a name.
fn node_target(node: &NodeEntry) -> Option<Name> {
    let first = node.ips().next();
    let spelled = || first.and_then(|ip| node.suffixes.address(ip));
    node.alias
        .clone()
        .or_else(|| node.fqdn.clone())
        .or_else(spelled)
}
