//! Which servers an agent may ask, and which of them it asks now.

use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// Servers that an agent keeps in mind.
const SERVERS_MAX: usize = 64;

/// Addresses of servers, the one in use first; cheap to clone, and all clones are one list.
#[derive(Clone, Debug, Default)]
pub struct Servers(Arc<Mutex<VecDeque<String>>>);

impl Servers {
    /// The servers at `addresses`, host and port each, to be tried in this order.
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        let servers = Self::default();
        servers.learn(addresses);
        servers
    }

    /// The server in use; empty when none is known.
    pub fn current(&self) -> String {
        self.0.lock().front().cloned().unwrap_or_default()
    }

    /// All of them, the one in use first.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Goes over to the next one, unless somebody else did already.
    pub fn failed(&self, address: &str) {
        let mut servers = self.0.lock();
        if servers.front().is_some_and(|first| first == address) {
            servers.rotate_left(1);
        }
    }

    /// Goes over to servers that were found now that none of those that are known answers. What
    /// was known comes last, as far as there is room.
    pub fn find(&self, addresses: &[String]) {
        let mut servers = self.0.lock();
        servers.retain(|known| !addresses.contains(known));
        for address in addresses.iter().take(SERVERS_MAX).rev() {
            servers.push_front(address.clone());
        }
        servers.truncate(SERVERS_MAX);
    }

    /// Takes note of servers that others know. What was known stays: it may be the only way back.
    pub fn learn(&self, addresses: impl IntoIterator<Item = String>) {
        let mut servers = self.0.lock();
        for address in addresses {
            if servers.len() < SERVERS_MAX && !address.is_empty() && !servers.contains(&address) {
                servers.push_back(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SERVERS_MAX, Servers};

    #[test]
    fn servers_are_taken_in_turn_and_new_ones_come_last() {
        let servers = Servers::new(["a:1".to_owned(), "b:1".to_owned()]);
        servers.failed("a:1");
        // Somebody who was told of the same failure later.
        servers.failed("a:1");
        assert_eq!(servers.current(), "b:1");
        servers.learn(["c:1", "a:1", ""].map(str::to_owned));
        assert_eq!(servers.all(), ["b:1", "a:1", "c:1"]);
    }

    #[test]
    fn what_was_found_comes_first_and_takes_the_place_of_what_is_known() {
        let servers = Servers::new(["a:1".to_owned(), "b:1".to_owned()]);
        servers.find(&["c:1", "b:1"].map(str::to_owned));
        assert_eq!(servers.all(), ["c:1", "b:1", "a:1"]);
        let many: Vec<String> = (0..2 * SERVERS_MAX)
            .map(|port| format!("d:{port}"))
            .collect();
        servers.find(&many);
        assert_eq!(servers.all(), many[..SERVERS_MAX]);
    }
}
