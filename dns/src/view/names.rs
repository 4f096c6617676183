//! Names that are made of the zone's own.

use std::net::IpAddr;

use hickory_proto::rr::Name;

use super::facts::Facts;
use crate::error::Error;

/// Names that are the same for all records of the zone.
#[derive(Debug)]
pub(crate) struct ZoneNames {
    pub(crate) apex: Name,
    pub(crate) primary_server: Name,
    pub(crate) mailbox: Name,
    pub(super) node_suffix: Name,
    pub(super) service_suffix: Name,
    service_suffix_short: Name,
    addr_suffix: Name,
}

impl ZoneNames {
    pub(super) fn new(facts: &Facts) -> Result<Self, Error> {
        let invalid_domain = || Error::InvalidDomain {
            domain: facts.domain.clone(),
        };
        let apex = host_name(&facts.domain).ok_or_else(invalid_domain)?;
        let within = |label: &str| prepend(&apex, label).ok_or_else(invalid_domain);
        let datacenter = (!facts.datacenter.contains('.'))
            .then(|| prepend(&apex, &facts.datacenter))
            .flatten()
            .ok_or_else(|| Error::InvalidDatacenter {
                datacenter: facts.datacenter.clone(),
            })?;
        let suffix = |label: &str| prepend(&datacenter, label).ok_or_else(invalid_domain);
        Ok(Self {
            primary_server: within("ns")?,
            mailbox: within("hostmaster")?,
            node_suffix: suffix("node")?,
            service_suffix: suffix("service")?,
            service_suffix_short: within("service")?,
            addr_suffix: suffix("addr")?,
            apex,
        })
    }

    /// The name that spells an address, `HEX.addr.DC.DOMAIN`; absent if the zone leaves no room for
    /// it.
    pub(super) fn address(&self, ip: IpAddr) -> Option<Name> {
        let hex = match ip {
            IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
        };
        prepend(&self.addr_suffix, &hex)
    }

    /// Whether a host name is the service's own name, which would answer a question with itself.
    pub(super) fn is_service(&self, alias: &Name, service: &str) -> bool {
        [&self.service_suffix, &self.service_suffix_short]
            .into_iter()
            .any(|suffix| prepend(suffix, service).is_some_and(|name| name == *alias))
    }
}

/// A host name with or without the final dot; absent when it cannot be a DNS name.
pub(super) fn host_name(text: &str) -> Option<Name> {
    prepend(&Name::root(), text.strip_suffix('.').unwrap_or(text))
}

/// `text` (one or more labels) in front of `suffix`; absent when the result cannot be a DNS name.
pub(super) fn prepend(suffix: &Name, text: &str) -> Option<Name> {
    let mut name = suffix.clone();
    for label in text.rsplit('.') {
        if label.is_empty() {
            return None;
        }
        name = name.prepend_label(label.as_bytes()).ok()?;
    }
    Some(name)
}

/// A name as it is looked up.
pub(super) fn lower(text: &str) -> Box<[u8]> {
    text.to_ascii_lowercase().into_bytes().into()
}
