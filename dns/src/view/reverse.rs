//! Names of addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::shards::Shards;

/// Most names that one address has in reverse lookups; more instances than this may share an
/// address.
pub(super) const NAMES_MAX: usize = 16;

/// Who has an address, each with how often it was said.
#[derive(Clone, Debug, Default)]
struct Owners {
    nodes: BTreeMap<Name, usize>,
    services: BTreeMap<Name, usize>,
}

/// What an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Node,
    Service,
}

/// Names by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Reverse {
    owners: Shards<IpAddr, Arc<Owners>>,
}

impl Reverse {
    /// Names of an address: of the node that has it, else of the services on it.
    pub(super) fn names(&self, ip: IpAddr) -> impl Iterator<Item = &Name> {
        let owners = self.owners.get(&ip);
        let node = owners.and_then(|owners| owners.nodes.keys().next());
        let services = owners
            .filter(|_| node.is_none())
            .map(|owners| owners.services.keys().take(NAMES_MAX));
        node.into_iter().chain(services.into_iter().flatten())
    }

    pub(super) fn add(&mut self, ip: IpAddr, owner: Owner, name: &Name) {
        let mut owners = self.owners.get(&ip).cloned().unwrap_or_default();
        let count = of(Arc::make_mut(&mut owners), owner);
        *count.entry(name.clone()).or_default() += 1;
        self.owners.insert(ip, owners);
    }

    pub(super) fn remove(&mut self, ip: IpAddr, owner: Owner, name: &Name) {
        let Some(mut owners) = self.owners.get(&ip).cloned() else {
            return;
        };
        let known = Arc::make_mut(&mut owners);
        let counts = of(known, owner);
        if let Some(count) = counts.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(name);
            }
        }
        if known.nodes.is_empty() && known.services.is_empty() {
            self.owners.remove(&ip);
        } else {
            self.owners.insert(ip, owners);
        }
    }
}

fn of(owners: &mut Owners, owner: Owner) -> &mut BTreeMap<Name, usize> {
    match owner {
        Owner::Node => &mut owners.nodes,
        Owner::Service => &mut owners.services,
    }
}
