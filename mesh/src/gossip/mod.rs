//! Which servers there are, in all regions: datagram or moment in, datagrams and news out.
//!
//! The membership protocol is a library's (SWIM: each asks one of the others every second, and asks
//! others about one that does not answer). Around it stand sealing with keys, finding a server of
//! which nothing but the address is known, and changing keys everywhere. Time, randomness and
//! sockets are the caller's.

mod keyring;
mod packet;
mod peer;

#[cfg(test)]
mod tests;

pub use keyring::{KEYS_MAX, KeyError, Keyring};
pub use packet::{KeyAnswer, KeyChange};
pub use peer::Peer;

use foca::{
    AccumulatingRuntime, Config, Foca, Member, NoCustomBroadcast, OwnedNotification,
    PeriodicParams, State, Timer,
};
use packet::{AROUND_BYTES, DATAGRAM_BYTES_MAX, Packet, Words};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};

/// Questions for addresses that may be open at a time.
const HELLOS_MAX: usize = 128;
/// A server that is down is forgotten after so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(72 * 3600);
/// By how many bits numbers of questions lie behind milliseconds, so that those of one start are
/// higher than those of an earlier one.
const NUMBER_BITS: u32 = 20;

/// Whether a server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It answers.
    Alive,
    /// It does not answer.
    Failed,
    /// It left, or an operator said so.
    Left,
}

/// What is to be done after something was heard or asked for.
#[derive(Debug, Default)]
pub struct Output {
    /// What is to be sent, where.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Whether a server came or went.
    pub is_news: bool,
    /// Whether the keys are others now: they are to be stored before anything is sent.
    pub has_new_keys: bool,
    /// Numbers of questions for addresses that were answered.
    pub welcomes: Vec<u64>,
    /// Answers to changes of keys, with the number of the question and the id of the server.
    pub answers: Vec<(u64, u64, KeyAnswer)>,
}

type Swim = Foca<Peer, Words, ChaCha12Rng, NoCustomBroadcast>;

/// What one server knows of the others.
pub struct Gossip {
    swim: Swim,
    keyring: Option<Keyring>,
    random: ChaCha12Rng,
    /// What is to happen, when, since the start.
    timers: BTreeMap<(Duration, u64), Timer<Peer>>,
    /// Counts timers and questions.
    count: u64,
    /// Since the start.
    now: Duration,
    /// Addresses that were asked who is there, by number.
    hellos: BTreeMap<u64, SocketAddr>,
    /// Number of the last change of keys, by who asked for it.
    changes: BTreeMap<u64, u64>,
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gossip({})", self.swim.identity().name)
    }
}

fn settings() -> Config {
    let few = |every: u64, members: usize| PeriodicParams {
        frequency: Duration::from_millis(every),
        num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN),
    };
    let bytes = DATAGRAM_BYTES_MAX - AROUND_BYTES;
    Config {
        probe_period: Duration::from_secs(1),
        probe_rtt: Duration::from_millis(500),
        max_transmissions: NonZeroU8::new(10).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_secs(4),
        remove_down_after: Some(FORGOTTEN_AFTER),
        max_packet_size: NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: Some(few(10_000, 1)),
        periodic_announce_to_down_members: Some(few(10_000, 2)),
        periodic_gossip: Some(few(500, 3)),
        ..Config::simple()
    }
}

impl Gossip {
    /// Knows nobody yet. `seed` is random; nothing is sealed when there is no `keyring`.
    pub fn new(own: Peer, keyring: Option<Keyring>, seed: [u8; 32]) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let swim = Swim::new(
            own,
            settings(),
            ChaCha12Rng::from_rng(&mut random),
            Words::default(),
        );
        Self {
            swim,
            keyring,
            random,
            timers: BTreeMap::new(),
            count: 0,
            now: Duration::ZERO,
            hellos: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    /// What this server says of itself.
    pub fn own(&self) -> &Peer {
        self.swim.identity()
    }

    /// The keys; none when nothing is sealed.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }

    /// The other servers.
    pub fn others(&self) -> Vec<(Peer, Presence)> {
        let presence = |member: &Member<Peer>| match member.state() {
            State::Alive | State::Suspect => Presence::Alive,
            State::Down if member.id().has_left => Presence::Left,
            State::Down => Presence::Failed,
        };
        let members = self.swim.iter_membership_state();
        let others = members.filter(|member| member.id().id != self.own().id);
        others
            .map(|member| (member.id().clone(), presence(member)))
            .collect()
    }

    /// When [`Gossip::on_time`] has something to do, since the start.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Does what is due at `now`, since the start.
    pub fn on_time(&mut self, now: Duration) -> Output {
        self.now = self.now.max(now);
        let mut output = Output::default();
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let timer = first.remove();
            self.swim(&mut output, |swim, runtime| {
                swim.handle_timer(timer, runtime)
            });
        }
        output
    }

    /// Hears a datagram, at `now` since the start. What is not understood is passed over.
    pub fn on_datagram(&mut self, now: Duration, from: SocketAddr, datagram: &[u8]) -> Output {
        self.now = self.now.max(now);
        let mut output = Output::default();
        match Packet::read(self.keyring.as_ref(), datagram) {
            Some(Packet::Swim(words)) => self.swim(&mut output, |swim, runtime| {
                swim.handle_data(&words, runtime)
            }),
            Some(Packet::Hello { number }) => {
                let peer = self.own().clone();
                self.send(&mut output, from, &Packet::Welcome { number, peer });
            }
            Some(Packet::Welcome { number, peer }) if self.hellos.remove(&number).is_some() => {
                output.welcomes.push(number);
                self.meet(&mut output, peer);
            }
            Some(Packet::Change { by, number, change }) => {
                self.on_change(&mut output, by, number, &change);
            }
            Some(Packet::Changed { number, by, answer }) => {
                output.answers.push((number, by, answer));
            }
            Some(Packet::Welcome { .. }) | None => {}
        }
        output
    }

    /// Asks who is at an address, to be one of those who know of each other; with the number of the
    /// question.
    pub fn join(&mut self, address: SocketAddr) -> (u64, Output) {
        let number = self.number();
        if self.hellos.len() >= HELLOS_MAX {
            self.hellos.pop_first();
        }
        self.hellos.insert(number, address);
        let mut output = Output::default();
        self.send(&mut output, address, &Packet::Hello { number });
        (number, output)
    }

    /// Says goodbye. Nothing is to be heard afterwards.
    pub fn leave(&mut self) -> Output {
        let mut output = Output::default();
        let left = self.own().left();
        self.swim(&mut output, |swim, runtime| {
            swim.change_identity(left, &mut *runtime)?;
            swim.leave_cluster(runtime)
        });
        output
    }

    /// Takes a server that failed for one that left; tells whether there is one of that id.
    pub fn force_leave(&mut self, id: u64) -> (bool, Output) {
        let others = self.others().into_iter();
        let failed = others
            .filter(|(_, presence)| *presence == Presence::Failed)
            .find(|(peer, _)| peer.id == id);
        let mut output = Output::default();
        let is_known = failed.is_some();
        if let Some((peer, _)) = failed {
            let left = Member::down(peer.left());
            self.swim(&mut output, |swim, runtime| {
                swim.apply_many([left].into_iter(), true, &mut *runtime)?;
                swim.gossip(runtime)
            });
            output.is_news = true;
        }
        (is_known, output)
    }

    /// A number for [`Gossip::ask`]; higher than all before, also those of earlier starts.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        (self.own().since << NUMBER_BITS).wrapping_add(self.count)
    }

    /// Asks servers, by id, to change their keys. The same question may be asked again under its
    /// number.
    pub fn ask(&mut self, number: u64, change: &KeyChange, servers: &[u64]) -> Output {
        let mut output = Output::default();
        let by = self.own().id;
        for (peer, _) in self.others() {
            if servers.contains(&peer.id) {
                let change = change.clone();
                self.send(
                    &mut output,
                    peer.address,
                    &Packet::Change { by, number, change },
                );
            }
        }
        output
    }

    /// Changes the keys of this server.
    pub fn change(&mut self, change: &KeyChange) -> (KeyAnswer, Output) {
        let mut output = Output::default();
        let answer = self.changed(change, &mut output);
        (answer, output)
    }

    fn changed(&mut self, change: &KeyChange, output: &mut Output) -> KeyAnswer {
        let own = self.own();
        let by = format!("{}.{}", own.name, own.region);
        let Some(keyring) = &mut self.keyring else {
            return KeyAnswer::without_keys(by);
        };
        let before: Vec<String> = keyring.keys().map(str::to_owned).collect();
        let done = match change {
            KeyChange::List => Ok(()),
            KeyChange::Install(key) => keyring.install(key),
            KeyChange::Use(key) => keyring.use_key(key),
            KeyChange::Remove(key) => keyring.remove(key),
        };
        let keys = keyring.keys().map(str::to_owned).collect();
        output.has_new_keys = keys != before;
        KeyAnswer {
            by,
            error: done.err().map(|error| error.to_string()),
            keys,
        }
    }

    /// Only servers that are there are heard, and a change that was asked for before another one is
    /// not made after it.
    fn on_change(&mut self, output: &mut Output, by: u64, number: u64, change: &KeyChange) {
        let mut others = self.others().into_iter();
        let asks = others.find(|(peer, presence)| peer.id == by && *presence == Presence::Alive);
        let last = self.changes.get(&by).copied().unwrap_or_default();
        let (Some((peer, _)), true) = (asks, number >= last) else {
            return;
        };
        self.changes.insert(by, number);
        // Whoever asks understands the key that it was sealed with.
        let answer = self.changed(change, output);
        let by = self.own().id;
        self.send(
            output,
            peer.address,
            &Packet::Changed { number, by, answer },
        );
    }

    /// Knows a server, and asks it for the others.
    fn meet(&mut self, output: &mut Output, peer: Peer) {
        if peer.id == self.own().id || peer.has_left {
            return;
        }
        self.swim(output, |swim, runtime| {
            let alive = Member::alive(peer.clone());
            swim.apply_many([alive].into_iter(), true, &mut *runtime)?;
            swim.announce(peer, runtime)
        });
    }

    /// Lets the library work, and takes what it wants.
    fn swim(
        &mut self,
        output: &mut Output,
        work: impl FnOnce(&mut Swim, &mut AccumulatingRuntime<Peer>) -> Result<(), foca::Error>,
    ) {
        let mut runtime = AccumulatingRuntime::new();
        // What cannot be read, or comes too late, changes nothing.
        work(&mut self.swim, &mut runtime).ok();
        while let Some((after, timer)) = runtime.to_schedule() {
            self.count += 1;
            self.timers.insert((self.now + after, self.count), timer);
        }
        while let Some((to, words)) = runtime.to_send() {
            self.send(output, to.address, &Packet::Swim(words.to_vec()));
        }
        while let Some(notification) = runtime.to_notify() {
            output.is_news |= matches!(
                notification,
                OwnedNotification::MemberUp(_)
                    | OwnedNotification::MemberDown(_)
                    | OwnedNotification::Rename(..)
            );
        }
    }

    fn send(&mut self, output: &mut Output, to: SocketAddr, packet: &Packet) {
        let mut nonce = [0; 12];
        self.random.fill_bytes(&mut nonce);
        if let Some(datagram) = packet.write(self.keyring.as_ref(), nonce) {
            output.datagrams.push((to, datagram));
        }
    }
}
