//! Names that are made of the zone's own.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::facts::Facts;
use crate::error::Error;

/// Names that are the same for all records of the zone.
#[derive(Debug)]
pub(crate) struct ZoneNames {
    pub(crate) apex: Name,
    pub(crate) primary_server: Name,
    pub(crate) mailbox: Name,
    /// The datacenter of the agent, in lower case.
    datacenter: Box<[u8]>,
    /// Of things in that datacenter.
    own: Arc<Suffixes>,
    /// Without a datacenter.
    short: Arc<Suffixes>,
}

/// What the names of things in one datacenter end with.
#[derive(Debug)]
pub(super) struct Suffixes {
    pub(super) node: Name,
    pub(super) service: Name,
    addr: Name,
}

impl Suffixes {
    fn below(base: &Name) -> Option<Self> {
        Some(Self {
            node: prepend(base, "node")?,
            service: prepend(base, "service")?,
            addr: prepend(base, "addr")?,
        })
    }

    /// The name that spells an address, `HEX.addr.DC.DOMAIN`; absent if the zone leaves no room for
    /// it.
    pub(super) fn address(&self, ip: IpAddr) -> Option<Name> {
        let hex = match ip {
            IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
        };
        prepend(&self.addr, &hex)
    }
}

impl ZoneNames {
    pub(super) fn new(facts: &Facts) -> Result<Self, Error> {
        let invalid_domain = || Error::InvalidDomain {
            domain: facts.domain.clone(),
        };
        let apex = host_name(&facts.domain).ok_or_else(invalid_domain)?;
        let within = |label: &str| prepend(&apex, label).ok_or_else(invalid_domain);
        let base = base(&apex, &facts.datacenter).ok_or_else(|| Error::InvalidDatacenter {
            datacenter: facts.datacenter.clone(),
        })?;
        let suffixes = |base| {
            Suffixes::below(base)
                .map(Arc::new)
                .ok_or_else(invalid_domain)
        };
        Ok(Self {
            primary_server: within("ns")?,
            mailbox: within("hostmaster")?,
            datacenter: lower(&facts.datacenter),
            own: suffixes(&base)?,
            short: suffixes(&apex)?,
            apex,
        })
    }

    /// A datacenter in lower case, that of the agent for an empty one, and what names of things in
    /// it end with. One that cannot be a label is left out of them: they are found without it.
    pub(super) fn of_datacenter(&self, name: &str) -> (Box<[u8]>, Arc<Suffixes>) {
        let datacenter = lower(name);
        if datacenter.is_empty() || datacenter == self.datacenter {
            return (self.datacenter.clone(), Arc::clone(&self.own));
        }
        let suffixes = base(&self.apex, name).and_then(|base| Suffixes::below(&base));
        let suffixes = suffixes.map_or_else(|| Arc::clone(&self.short), Arc::new);
        (datacenter, suffixes)
    }

    /// Whether a host name is the service's own name, which would answer a question with itself;
    /// `suffixes` are those of an instance of it.
    pub(super) fn is_service(&self, alias: &Name, service: &str, suffixes: &Suffixes) -> bool {
        [suffixes, &self.short]
            .into_iter()
            .any(|of| prepend(&of.service, service).is_some_and(|name| name == *alias))
    }
}

/// What is below a datacenter of the zone; absent when it cannot be one label of a DNS name.
fn base(apex: &Name, datacenter: &str) -> Option<Name> {
    let is_label = !datacenter.contains('.');
    is_label.then(|| prepend(apex, datacenter)).flatten()
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
