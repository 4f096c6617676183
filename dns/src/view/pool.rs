//! What an answer picks from: lists without duplicates.

use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::bag::Bag;
use super::endpoint::{Endpoint, Host};
use super::node::NodeEntry;

/// An endpoint that is the same as another one at its node, host and port.
#[derive(Clone, Debug)]
pub(crate) struct Place(pub(crate) Arc<Endpoint>);

impl Place {
    fn parts(&self) -> (*const NodeEntry, &Host, u16) {
        let Endpoint {
            node, host, port, ..
        } = &*self.0;
        (Arc::as_ptr(node), host, *port)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// Instances of a service, or of one tag of it, as lists without duplicates, so that an answer only
/// has to pick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) v4: Bag<Ipv4Addr>,
    pub(crate) v6: Bag<Ipv6Addr>,
    pub(crate) aliases: Bag<Name>,
    pub(crate) endpoints: Bag<Place>,
}

impl Pool {
    pub(super) fn in_order(endpoints: &[Arc<Endpoint>]) -> Self {
        let all = || endpoints.iter();
        Self {
            v4: Bag::in_order(all().filter_map(|endpoint| endpoint.v4())),
            v6: Bag::in_order(all().filter_map(|endpoint| endpoint.v6())),
            aliases: Bag::in_order(all().filter_map(|endpoint| endpoint.alias().cloned())),
            endpoints: Bag::in_order(all().cloned().map(Place)),
        }
    }

    pub(super) fn add(&mut self, endpoint: &Arc<Endpoint>) {
        if let Some(ip) = endpoint.v4() {
            self.v4.add(ip);
        }
        if let Some(ip) = endpoint.v6() {
            self.v6.add(ip);
        }
        if let Some(alias) = endpoint.alias() {
            self.aliases.add(alias.clone());
        }
        self.endpoints.add(Place(Arc::clone(endpoint)));
    }

    /// Takes an endpoint away; one of the others may be at the same place.
    pub(super) fn remove<'a, I: Iterator<Item = &'a Arc<Endpoint>>>(
        &mut self,
        endpoint: &Arc<Endpoint>,
        others: impl FnOnce() -> I,
    ) {
        if let Some(ip) = endpoint.v4() {
            self.v4.remove(&ip, || None);
        }
        if let Some(ip) = endpoint.v6() {
            self.v6.remove(&ip, || None);
        }
        if let Some(alias) = endpoint.alias() {
            self.aliases.remove(alias, || None);
        }
        let place = Place(Arc::clone(endpoint));
        self.endpoints.remove(&place, || {
            let mut places = others().map(|other| Place(Arc::clone(other)));
            places.find(|other| *other == place)
        });
    }
}
