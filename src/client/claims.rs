//! What an allocation holds while it lasts: its ports, and its own place.
//!
//! A plan may stop one allocation and place another on the same port at once. The newcomer waits
//! here until the holder has ended, and only then looks whether another program has the port. In
//! the same way an allocation waits for the end of the one that it replaces, and of those that were
//! evicted for it.

use jobs::model::{AllocId, Allocation, HostPort, Node};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};
use tokio::sync::Notify;

/// What can be held by one allocation at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    /// A port, on its address.
    Port(HostPort),
    /// The place of an allocation, by its id: held by itself, and then by its successor.
    Place(AllocId),
}

/// Which allocation holds what.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    holders: Mutex<BTreeMap<Held, AllocId>>,
    freed: Notify,
}

/// What one allocation holds until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    alloc_id: AllocId,
    held: Vec<Held>,
}

/// What an allocation must hold before it is set up: its ports, its place, that of the one it
/// replaces, and those of the ones that were evicted for it.
pub(crate) fn wanted(alloc: &Allocation) -> Vec<Held> {
    let places = std::iter::once(alloc.id)
        .chain(alloc.previous_allocation)
        .chain(alloc.preempted_allocations.iter().copied())
        .map(Held::Place);
    let ports = alloc.allocated_resources.host_ports();
    ports
        .map(|(_, port)| Held::Port(port))
        .chain(places)
        .collect()
}

impl Claims {
    /// Holds `wanted` for the allocation, as soon as no other one holds any of them.
    pub(crate) async fn claim(self: &Arc<Self>, alloc_id: AllocId, wanted: &[Held]) -> Claim {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Listen before looking, so that nothing is freed unseen in between.
            freed.as_mut().enable();
            if let Some(claim) = self.hold(alloc_id, wanted) {
                return claim;
            }
            freed.await;
        }
    }

    /// Holds `wanted` for the allocation now; none when another one holds any of them.
    pub(crate) fn hold(self: &Arc<Self>, alloc_id: AllocId, wanted: &[Held]) -> Option<Claim> {
        self.try_hold(alloc_id, wanted).then(|| Claim {
            claims: Arc::clone(self),
            alloc_id,
            held: wanted.to_vec(),
        })
    }

    fn try_hold(&self, alloc_id: AllocId, wanted: &[Held]) -> bool {
        let mut holders = self.holders.lock();
        let is_other = |held: &Held| holders.get(held).is_some_and(|holder| *holder != alloc_id);
        if wanted.iter().any(is_other) {
            return false;
        }
        holders.extend(wanted.iter().map(|held| (held.clone(), alloc_id)));
        true
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut holders = self.claims.holders.lock();
        for held in &self.held {
            if holders.get(held) == Some(&self.alloc_id) {
                holders.remove(held);
            }
        }
        drop(holders);
        self.claims.freed.notify_waiters();
    }
}

/// Where no other program may listen: the ports of an allocation with their labels. On a node whose
/// networks have no names, that is on no address at all.
pub(crate) fn places<'a>(
    alloc: &'a Allocation,
    node: &Node,
) -> impl Iterator<Item = (&'a str, SocketAddr)> {
    let resources = &node.node_resources;
    let usual = resources.networks.first().map(|network| &network.ip);
    let usual = usual.filter(|_| !resources.node_networks.is_empty());
    let usual = usual.and_then(|ip| ip.parse().ok());
    let usual = usual.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let ports = alloc.allocated_resources.host_ports();
    ports.map(move |(label, HostPort { address, port })| {
        (label, SocketAddr::new(address.unwrap_or(usual), port))
    })
}

/// The first of `places`, with its label, that a program of this machine listens on.
pub(crate) fn taken<'a>(
    mut places: impl Iterator<Item = (&'a str, SocketAddr)>,
) -> Option<(&'a str, SocketAddr)> {
    let in_use = |place: SocketAddr| {
        let bound = TcpListener::bind(place);
        bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    places.find(|(_, place)| place.port() > 0 && in_use(*place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newcomer_waits_until_the_holder_has_ended() {
        let claims = Arc::new(Claims::default());
        let (a, b) = (AllocId::named("a"), AllocId::named("b"));
        let port = |address: Option<IpAddr>, port| Held::Port(HostPort { address, port });
        let first = claims.claim(a, &[port(None, 80), port(None, 81)]).await;
        let elsewhere = Some(IpAddr::from([10, 0, 0, 2]));
        assert!(claims.hold(b, &[port(None, 80)]).is_none());
        assert!(claims.hold(b, &[port(elsewhere, 80)]).is_some());
        let again = claims.claim(a, &[Held::Place(a)]).await;
        let waiting = tokio::spawn({
            let claims = Arc::clone(&claims);
            async move { claims.claim(b, &[Held::Place(a)]).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop((first, again));
        waiting.await.unwrap();
    }

    #[test]
    fn a_port_of_another_program_is_noticed() {
        // None that the kernel hands out, or another test gets it as soon as it is free.
        let mut holders = (2000..3000).map(|port| TcpListener::bind(("127.0.0.1", port)));
        let holder = holders.find_map(Result::ok).unwrap();
        let port = holder.local_addr().unwrap().port();
        let on = |address: [u8; 4], port| SocketAddr::from((address, port));
        let any = |port| on([0, 0, 0, 0], port);
        let places = [("none", any(0)), ("http", any(port))];
        assert_eq!(taken(places.into_iter()), Some(("http", any(port))));
        // Not the same one: a program that another test starts has it until it is that program.
        let mut others = (2000..3000).filter(|other| *other != port);
        assert!(others.any(|port| taken([("http", any(port))].into_iter()).is_none()));
        // Nor is it taken on another address.
        let there = [("http", on([127, 0, 0, 1], port))];
        assert_eq!(taken(there.into_iter()), Some(there[0]));
        assert_eq!(
            taken([("http", on([127, 0, 0, 2], port))].into_iter()),
            None
        );
    }
}
