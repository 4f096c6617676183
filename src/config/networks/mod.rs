//! Which address ports of jobs get on this machine, and the networks of the host that they may ask
//! for by name.
//!
//! What is found depends on the interfaces when the configuration is read, which are an argument.

use super::{
    addresses::{self, Interface, Range},
    file::{Entry, Placed, Problem, Value},
    reader::Reader,
    reserved,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The name of the network that ports are on which ask for none.
const DEFAULT: &str = "default";

/// The addresses that ports of jobs get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Where ports are that ask for no network; none for the address of the agent.
    pub usual: Option<Found>,
    /// Networks that ports may ask for, by name; those that this machine has no address of are
    /// left out.
    pub named: BTreeMap<String, HostNetwork>,
}

/// A network of the host that jobs may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNetwork {
    /// Ranges that its addresses are in, as written; empty for any.
    pub cidr: String,
    /// The interface that has them; empty for any.
    pub interface: String,
    /// Ports that no job gets there, such as `22,80-90`.
    pub reserved_ports: String,
    /// Its addresses, never none; ports get the first one.
    pub addresses: Vec<Found>,
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The interface that has it.
    pub device: String,
    /// Address.
    pub address: IpAddr,
}

/// The settings as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenNetworks {
    pub network_interface: Option<Placed>,
    pub preferred_address_family: Option<Placed>,
    pub host_networks: BTreeMap<String, WrittenHostNetwork>,
}

/// A block `host_network` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenHostNetwork {
    pub cidr: Option<Placed>,
    pub interface: Option<Placed>,
    pub reserved_ports: Option<Placed>,
}

impl WrittenNetworks {
    pub(super) const KEYS: [&str; 3] = [
        "network_interface",
        "preferred_address_family",
        "host_network",
    ];
    const OF_NETWORK: [&str; 3] = ["cidr", "interface", "reserved_ports"];

    pub(super) fn merge(self, other: Self) -> Self {
        let mut host_networks = self.host_networks;
        host_networks.extend(other.host_networks);
        Self {
            network_interface: other.network_interface.or(self.network_interface),
            preferred_address_family: other
                .preferred_address_family
                .or(self.preferred_address_family),
            host_networks,
        }
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        match entry.key.as_str() {
            "network_interface" => self.network_interface = reader.placed(&entry),
            "preferred_address_family" => {
                self.preferred_address_family = reader.placed(&entry);
            }
            _ => {
                for (name, entry) in reader.named(entry) {
                    self.take_network(name, entry, reader);
                }
            }
        }
    }

    fn take_network(&mut self, name: String, entry: Entry, reader: &mut Reader<'_>) {
        if !matches!(entry.value, Value::Tree(_) | Value::List(_)) {
            let wanted = "a block with a name: host_network \"public\" { cidr = … }";
            reader.wrong(&entry, wanted);
            return;
        }
        if name.is_empty() || name == DEFAULT {
            let message = format!(
                "`client.host_network` has the name `{name}`; it must be one of its own, and `{DEFAULT}` is the network of `network_interface`"
            );
            reader.problem(entry.place, message);
        }
        let mut network = WrittenHostNetwork::default();
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "cidr" => network.cidr = reader.placed(&inner),
                "interface" => network.interface = reader.placed(&inner),
                "reserved_ports" => network.reserved_ports = reader.placed_scalar(&inner),
                _ => reader.unknown(&inner, "client.host_network", &Self::OF_NETWORK),
            }
        }
        self.host_networks.insert(name, network);
    }

    /// What this machine has of that, where the agent is at `agent`; and what is to be said of what
    /// it has not.
    pub(super) fn resolve(
        &self,
        agent: IpAddr,
        problems: &mut Vec<Problem>,
    ) -> (Networks, Vec<String>) {
        if *self == Self::default() {
            return (Networks::default(), Vec::new());
        }
        self.resolve_on(&addresses::interfaces(), agent, problems)
    }

    fn resolve_on(
        &self,
        machine: &[Interface],
        agent: IpAddr,
        problems: &mut Vec<Problem>,
    ) -> (Networks, Vec<String>) {
        let family = self.family(problems);
        let mut networks = Networks {
            usual: self.usual(machine, agent, family, problems),
            named: BTreeMap::new(),
        };
        let mut notes = Vec::new();
        for (name, written) in &self.host_networks {
            let had = problems.len();
            let network = written.resolve(name, machine, family, problems);
            if network.addresses.is_empty() {
                if problems.len() == had {
                    notes.push(format!(
                        "`client.host_network \"{name}\"`: this machine has no address like that, so no job gets a port there"
                    ));
                }
            } else {
                networks.named.insert(name.clone(), network);
            }
        }
        (networks, notes)
    }

    fn family(&self, problems: &mut Vec<Problem>) -> Family {
        match &self.preferred_address_family {
            Some(written) => match written.text.as_str() {
                "" => Family::Any,
                "ipv4" => Family::Four,
                "ipv6" => Family::Six,
                _ => {
                    let reason = "; it must be \"ipv4\" or \"ipv6\"";
                    problems.push(wrong(written, "preferred_address_family", reason));
                    Family::Any
                }
            },
            None => Family::Any,
        }
    }

    /// The address of the interface that is named, or of the agent's where a family is preferred.
    fn usual(
        &self,
        machine: &[Interface],
        agent: IpAddr,
        family: Family,
        problems: &mut Vec<Problem>,
    ) -> Option<Found> {
        let written = self.network_interface.as_ref();
        let device = match written.filter(|written| !written.text.is_empty()) {
            Some(written) => {
                let name = interface("network_interface", written, machine, problems)?;
                if !machine.iter().any(|one| one.name == name) {
                    let names: BTreeSet<&str> = machine.iter().map(|one| &*one.name).collect();
                    let names = Vec::from_iter(names);
                    let reason = format!(
                        ", and this machine has no such interface with an address; there are {}",
                        names.join(", ")
                    );
                    problems.push(wrong(written, "network_interface", &reason));
                    return None;
                }
                name
            }
            None if family == Family::Any => return None,
            None => machine
                .iter()
                .find(|one| one.address == agent)?
                .name
                .clone(),
        };
        let own = machine.iter().filter(|one| one.name == device);
        let best = own.min_by_key(|one| family.order(one))?;
        Some(Found::at(best, best.address))
    }
}

impl WrittenHostNetwork {
    fn resolve(
        &self,
        name: &str,
        machine: &[Interface],
        family: Family,
        problems: &mut Vec<Problem>,
    ) -> HostNetwork {
        let key = |part: &str| format!("host_network \"{name}\".{part}");
        let mut ranges = Vec::new();
        let cidr = self.cidr.as_ref().filter(|cidr| !cidr.text.is_empty());
        for part in cidr.iter().flat_map(|cidr| cidr.text.split(',')) {
            match (addresses::network(part.trim()), cidr) {
                (None, Some(cidr)) => {
                    let reason = "; it must be ranges of addresses, such as 10.0.0.0/8 or fd00::/8";
                    problems.push(wrong(cidr, &key("cidr"), reason));
                    break;
                }
                (range, _) => ranges.extend(range),
            }
        }
        let device = self.interface.as_ref().filter(|one| !one.text.is_empty());
        let device = device.and_then(|one| interface(&key("interface"), one, machine, problems));
        let ports = self.reserved_ports.as_ref().map(|ports| {
            reserved::numbers(&ports.text, 1).unwrap_or_else(|_| {
                let reason = "; it must be numbers and ranges from 1 to 65535, such as `22,80-90`";
                problems.push(wrong(ports, &key("reserved_ports"), reason));
                Default::default()
            })
        });
        HostNetwork {
            cidr: cidr.map(|cidr| cidr.text.clone()).unwrap_or_default(),
            addresses: found(machine, device.as_deref(), &ranges, family),
            interface: device.unwrap_or_default(),
            reserved_ports: reserved::ranges(&ports.unwrap_or_default()),
        }
    }
}

impl Found {
    fn at(interface: &Interface, address: IpAddr) -> Self {
        Self {
            device: interface.name.clone(),
            address,
        }
    }
}

/// What is wrong with the value of a key.
fn wrong(written: &Placed, key: &str, reason: &str) -> Problem {
    written.problem(format!("`client.{key}` is `{}`{reason}", written.text))
}

/// The name of an interface, found where it is a template.
fn interface(
    key: &str,
    written: &Placed,
    machine: &[Interface],
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let found = addresses::filled_on(&written.text, machine);
    found
        .inspect_err(|reason| problems.push(wrong(written, key, &format!(": {reason}"))))
        .ok()
}

/// The addresses of the machine in one of the ranges and on the interface, the best first.
fn found(
    machine: &[Interface],
    device: Option<&str>,
    ranges: &[Range],
    family: Family,
) -> Vec<Found> {
    let is_on = |one: &&Interface| one.is_up && device.is_none_or(|device| one.name == device);
    let is_meant = |address: IpAddr| {
        let mut ranges = ranges.iter();
        ranges.any(|range| addresses::contains(*range, address))
    };
    let mut own: Vec<&Interface> = machine
        .iter()
        .filter(is_on)
        .filter(|one| match ranges {
            // Such addresses say nothing without their interface, so they have to be asked for.
            [] => !is_link_local(one.address),
            _ => is_meant(one.address),
        })
        .collect();
    own.sort_by_key(|one| family.order(one));
    if own.is_empty() {
        return alone(machine, device, ranges).into_iter().collect();
    }
    own.iter().map(|one| Found::at(one, one.address)).collect()
}

/// An address that a range of one names, and that no interface shows: all those of a loopback
/// interface's range belong to the machine.
fn alone(machine: &[Interface], device: Option<&str>, ranges: &[Range]) -> Option<Found> {
    let mut singles = ranges.iter().filter(|(_, bits)| *bits == 32);
    singles.find_map(|(address, _)| {
        let one = machine.iter().find(|one| {
            one.is_up
                && one.is_loopback
                && device.is_none_or(|device| one.name == device)
                && addresses::contains((one.address, one.bits), *address)
        })?;
        Some(Found::at(one, *address))
    })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

/// Which addresses ports get where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Any,
    Four,
    Six,
}

impl Family {
    /// Those that are reached from elsewhere come first, then those of the family, which is IPv4
    /// unless something else is said.
    fn order(self, one: &Interface) -> (bool, bool) {
        let is_other = one.address.is_ipv4() == (self == Self::Six);
        (is_link_local(one.address), is_other)
    }
}

#[cfg(test)]
mod tests;
