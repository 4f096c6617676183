//! How many connections each address holds at a listener, so that none takes the places of all
//! others.

use parking_lot::Mutex;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// How many connections one address may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    /// At the same time; none for as many as the listener has.
    pub most: Option<usize>,
    /// Whether it counts for the addresses of this machine for itself too, which stand for
    /// everybody who runs something here.
    pub counts_loopback: bool,
}

/// Connections by address, for those that hold any; as many as there are connections at most.
type Held = BTreeMap<IpAddr, usize>;

/// Who holds connections at a listener; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    cap: Cap,
    held: Arc<Mutex<Held>>,
}

impl Callers {
    /// Nobody yet.
    pub fn new(cap: Cap) -> Self {
        Self {
            cap,
            held: Arc::default(),
        }
    }

    /// The place of one more connection, which is held until it is dropped; none when the address
    /// holds as many as it may.
    pub fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let most = self
            .cap
            .most
            .filter(|_| self.cap.counts_loopback || !address.is_loopback());
        let Some(most) = most else {
            return Some(Place { of: None });
        };
        let mut held = self.held.lock();
        let count = held.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Place {
            of: Some((Arc::clone(&self.held), address)),
        })
    }
}

/// Counts a connection as long as it is there.
#[derive(Debug)]
pub struct Place {
    of: Option<(Arc<Mutex<Held>>, IpAddr)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((held, address)) = self.of.take() else {
            return;
        };
        let mut held = held.lock();
        if let Some(count) = held.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_as_many_as_it_may_and_no_other_minds() {
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let other: IpAddr = "2001:db8::1".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        for (counts_loopback, near_most) in [(false, 5), (true, 2)] {
            let callers = Callers::new(Cap {
                most: Some(2),
                counts_loopback,
            });
            let first = callers.admit(far);
            let held = [callers.admit(mapped), callers.admit(other)];
            assert!(first.is_some() && held.iter().all(Option::is_some));
            assert!(callers.admit(far).is_none() && callers.admit(mapped).is_none());
            let near = (0..5).filter_map(|_| callers.admit(near));
            assert_eq!(near.collect::<Vec<Place>>().len(), near_most);
            drop(first);
            assert!(callers.admit(mapped).is_some());
            drop(held);
            assert!(callers.held.lock().is_empty(), "nobody is remembered");
        }
        let anybody = Callers::default();
        let held: Vec<Place> = (0..9).filter_map(|_| anybody.admit(far)).collect();
        assert_eq!(held.len(), 9);
    }
}
