use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::collections::{BTreeSet, VecDeque};

/// How long a datagram is on its way.
const DELAY: Duration = Duration::from_millis(5);

/// Servers and the network between them, in a time of their own.
struct World {
    now: Duration,
    servers: BTreeMap<u64, Gossip>,
    /// Datagrams on their way: when they arrive, from whom, to whom.
    under_way: VecDeque<(Duration, SocketAddr, SocketAddr, Vec<u8>)>,
    /// Servers that nothing reaches and that reach nobody.
    cut: BTreeSet<u64>,
    welcomes: Vec<u64>,
    answers: Vec<(u64, u64, KeyAnswer)>,
}

fn address(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(id).unwrap()], 4648))
}

fn peer(id: u64, since: u64) -> Peer {
    Peer {
        id,
        since,
        name: format!("s{id}"),
        region: if id < 10 { "north" } else { "south" }.into(),
        datacenter: "dc1".into(),
        version: "0.1.0".into(),
        address: address(id),
        rpc: format!("10.0.0.{id}:4647"),
        has_left: false,
    }
}

fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

fn keyring(byte: u8) -> Option<Keyring> {
    Some(Keyring::new([key(byte).as_str()]).unwrap())
}

impl World {
    fn new() -> Self {
        Self {
            now: Duration::ZERO,
            servers: BTreeMap::new(),
            under_way: VecDeque::new(),
            cut: BTreeSet::new(),
            welcomes: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn start(&mut self, id: u64, keyring: Option<Keyring>) {
        let since = 1_000 + u64::try_from(self.now.as_millis()).unwrap();
        let seed = [u8::try_from(id).unwrap(); 32];
        let mut server = Gossip::new(peer(id, since), keyring, seed);
        server.on_time(self.now);
        self.servers.insert(id, server);
    }

    /// Servers that join the first of them.
    fn of(ids: &[u64], byte: Option<u8>) -> Self {
        let mut world = Self::new();
        for id in ids {
            world.start(*id, byte.and_then(keyring));
        }
        for id in &ids[1..] {
            world.join(*id, ids[0]);
        }
        world.pass(Duration::from_secs(15));
        world
    }

    fn join(&mut self, id: u64, to: u64) -> u64 {
        let (number, output) = self.at(id).join(address(to));
        self.carry(id, output);
        number
    }

    fn at(&mut self, id: u64) -> &mut Gossip {
        self.servers.get_mut(&id).unwrap()
    }

    fn carry(&mut self, id: u64, output: Output) {
        for (to, datagram) in output.datagrams {
            assert!(datagram.len() <= DATAGRAM_BYTES_MAX, "{}", datagram.len());
            let arrives = self.now + DELAY;
            self.under_way
                .push_back((arrives, address(id), to, datagram));
        }
        self.welcomes.extend(output.welcomes);
        self.answers.extend(output.answers);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.servers.values().filter_map(Gossip::deadline).min();
            let arrival = self.under_way.front().map(|(at, ..)| *at);
            let next = timers.into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while self
                .under_way
                .front()
                .is_some_and(|(at, ..)| *at <= self.now)
            {
                let (_, from, to, datagram) = self.under_way.pop_front().unwrap();
                self.arrive(from, to, &datagram);
            }
            let ids: Vec<u64> = self.servers.keys().copied().collect();
            for id in ids {
                let now = self.now;
                let output = self.at(id).on_time(now);
                self.carry(id, output);
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let id_of = |at: SocketAddr| match at.ip() {
            std::net::IpAddr::V4(ip) => u64::from(ip.octets()[3]),
            std::net::IpAddr::V6(_) => unreachable!("no server has such an address"),
        };
        let (sender, id) = (id_of(from), id_of(to));
        if self.cut.contains(&sender) || self.cut.contains(&id) || !self.servers.contains_key(&id) {
            return;
        }
        let now = self.now;
        let output = self.at(id).on_datagram(now, from, datagram);
        self.carry(id, output);
    }

    /// What a server knows of the others.
    fn known(&mut self, id: u64) -> Vec<(u64, Presence)> {
        let others = self.at(id).others().into_iter();
        let mut known: Vec<_> = others.map(|(peer, is)| (peer.id, is)).collect();
        known.sort_by_key(|(id, _)| *id);
        known
    }
}

use Presence::{Alive, Failed, Left};

#[test]
fn servers_find_each_other_through_one() {
    let ids: Vec<u64> = (1..=20).collect();
    let mut world = World::of(&ids, Some(1));
    for id in &ids {
        let others = ids.iter().filter(|other| *other != id);
        let expected: Vec<_> = others.map(|other| (*other, Alive)).collect();
        assert_eq!(world.known(*id), expected, "as {id} knows them");
    }
    assert_eq!(world.welcomes.len(), 19);
    let south = world.at(1).others();
    let south = south.iter().filter(|(peer, _)| peer.region == "south");
    assert_eq!(south.count(), 11);
}

#[test]
fn one_that_is_gone_has_failed_and_comes_back_as_another() {
    let mut world = World::of(&[1, 2, 3], None);
    world.servers.remove(&3);
    world.pass(Duration::from_secs(15));
    assert_eq!(world.known(1), [(2, Alive), (3, Failed)]);
    assert_eq!(world.known(2), [(1, Alive), (3, Failed)]);
    world.start(3, None);
    world.join(3, 2);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.known(1), [(2, Alive), (3, Alive)]);
    assert_eq!(world.known(3), [(1, Alive), (2, Alive)]);
}

#[test]
fn one_that_leaves_has_left() {
    let mut world = World::of(&[1, 2, 3], Some(1));
    let output = world.at(3).leave();
    world.carry(3, output);
    world.pass(Duration::from_secs(2));
    world.servers.remove(&3);
    world.pass(Duration::from_secs(15));
    assert_eq!(world.known(1), [(2, Alive), (3, Left)]);
    assert_eq!(world.known(2), [(1, Alive), (3, Left)]);
}

#[test]
fn an_operator_says_of_one_that_failed_that_it_left_and_it_may_come_back() {
    let mut world = World::of(&[1, 2, 3], None);
    let (is_known, _) = world.at(1).force_leave(3);
    assert!(!is_known, "it is there");
    world.cut.insert(3);
    world.pass(Duration::from_secs(15));
    let (is_known, output) = world.at(1).force_leave(3);
    assert!(is_known);
    world.carry(1, output);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.known(2), [(1, Alive), (3, Left)]);
    // It was only cut off.
    world.cut.clear();
    world.pass(Duration::from_secs(40));
    for id in 1..=3 {
        assert!(
            world.known(id).iter().all(|(_, is)| *is == Alive),
            "{:?}",
            world.known(id)
        );
    }
}

#[test]
fn two_halves_find_each_other_again() {
    let mut world = World::of(&[1, 2, 11, 12], Some(1));
    world.cut.extend([11, 12]);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.known(1), [(2, Alive), (11, Failed), (12, Failed)]);
    world.cut.clear();
    world.pass(Duration::from_secs(40));
    for id in [1, 2, 11, 12] {
        assert_eq!(world.known(id).len(), 3);
        assert!(
            world.known(id).iter().all(|(_, is)| *is == Alive),
            "{:?}",
            world.known(id)
        );
    }
}

#[test]
fn nobody_hears_one_with_another_key_or_with_none() {
    for other in [keyring(2), None] {
        let mut world = World::of(&[1, 2], Some(1));
        world.start(3, other);
        world.join(3, 1);
        world.join(1, 3);
        world.pass(Duration::from_secs(15));
        assert_eq!(world.known(1), [(2, Alive)]);
        assert_eq!(world.known(3), []);
        assert_eq!(world.welcomes.len(), 1);
    }
}

#[test]
fn what_is_no_datagram_of_ours_changes_nothing() {
    for byte in [None, Some(1)] {
        let mut world = World::of(&[1, 2], byte);
        let now = world.now;
        for length in [0, 1, 2, 20, 1400, 60_000] {
            for first in [0, 1, 7] {
                let mut noise = vec![0xc1; length];
                if let Some(byte) = noise.first_mut() {
                    *byte = first;
                }
                let output = world.at(1).on_datagram(now, address(9), &noise);
                assert!(output.datagrams.is_empty());
            }
        }
        assert_eq!(world.known(1), [(2, Alive)]);
    }
}

#[test]
fn keys_change_everywhere_while_everybody_goes_on_talking() {
    let mut world = World::of(&[1, 2, 11], Some(1));
    let mut number = 0;
    for (change, expected) in [
        (KeyChange::Install(key(2)), vec![key(1), key(2)]),
        (KeyChange::Use(key(2)), vec![key(2), key(1)]),
        (KeyChange::Remove(key(1)), vec![key(2)]),
        (KeyChange::List, vec![key(2)]),
    ] {
        let (own, output) = world.at(1).change(&change);
        assert_eq!((own.error, &own.keys), (None, &expected));
        assert_eq!(output.has_new_keys, change != KeyChange::List);
        number = world.at(1).number();
        let output = world.at(1).ask(number, &change, &[2, 11]);
        world.carry(1, output);
        world.pass(Duration::from_secs(1));
        let answers = std::mem::take(&mut world.answers);
        let by: BTreeSet<_> = answers.iter().map(|(_, by, _)| *by).collect();
        assert_eq!(by, [2, 11].into(), "{change:?}");
        for (of, _, answer) in answers {
            assert_eq!((of, answer.error, &answer.keys), (number, None, &expected));
        }
        world.pass(Duration::from_secs(15));
        assert_eq!(world.known(2), [(1, Alive), (11, Alive)]);
    }
    // One that was sent before comes too late.
    let late = KeyChange::Install(key(3));
    let output = world.at(1).ask(number - 1, &late, &[2]);
    world.carry(1, output);
    world.pass(Duration::from_secs(1));
    assert!(world.answers.is_empty());
    assert_eq!(world.at(2).keyring().unwrap().keys().count(), 1);
    // What cannot be done is said.
    let wrong = KeyChange::Use(key(4));
    assert!(world.at(1).change(&wrong).0.error.is_some());
    let mut open = World::of(&[1, 2], None);
    assert!(open.at(1).change(&KeyChange::List).0.error.is_some());
}
