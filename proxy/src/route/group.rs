//! Versions of a route: a request goes to one of them by its share, and then to one of its targets.
//!
//! What befalls single targets never changes the share of their version. A version none of whose
//! targets is acceptable gives its requests to the others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::picker::{Choice, Picker};
use super::weight::{self, Share};

/// Parts of the whole by which keys are told apart.
const BUCKETS: f64 = 10_000.0;

/// A target as its route sees it.
pub(super) struct Member<'a> {
    /// The number of its version in the definitions; 0 for those without a share of their own.
    pub(super) version: u32,
    /// Its part of the version's share.
    pub(super) share: Option<Share>,
    /// Its turns among those of its version.
    pub(super) turns: u16,
    /// What tells it from others.
    pub(super) key: (&'a str, std::net::SocketAddr),
}

/// The versions of a route.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// Over the versions; empty if there is one only.
    ring: Picker,
}

/// The targets of one version.
#[derive(Debug)]
struct Group {
    number: u32,
    members: Box<[Known]>,
    /// Over the members.
    ring: Picker,
    share: f64,
}

/// A target of a version.
#[derive(Debug)]
struct Known {
    /// Its place among the targets of the route.
    at: u32,
    turns: u16,
    hash: u64,
}

impl Groups {
    /// The versions of `members`, whose turns go on where those of `previous` stand.
    pub(super) fn new(members: &[Member<'_>], previous: Option<&Groups>) -> Groups {
        // In the order of their first targets.
        let mut numbers: Vec<u32> = Vec::new();
        let mut seen = BTreeSet::new();
        for member in members {
            if seen.insert(member.version) {
                numbers.push(member.version);
            }
        }
        // A version without a turn for any of its targets takes no part.
        let shares: Vec<(u32, Option<Share>)> = numbers
            .iter()
            .filter(|number| {
                let mut own = members.iter().filter(|member| member.version == **number);
                own.any(|member| member.turns > 0)
            })
            .map(|number| (*number, share(members, *number)))
            .collect();
        let taking = shares.iter().filter(|(_, share)| !is_nothing(*share));
        let slots = weight::slots(&taking.clone().map(|(_, share)| *share).collect::<Vec<_>>());
        let total = slots.iter().sum::<u64>().max(1) as f64;
        let slots_of = |number: u32| {
            let at = taking.clone().position(|(own, _)| *own == number);
            at.map_or(0, |at| slots[at])
        };
        let earlier = |number: u32| {
            let group = previous?
                .groups
                .iter()
                .find(|group| group.number == number)?;
            Some(group.ring.turns().clone())
        };
        let groups: Vec<Group> = shares
            .iter()
            .map(|(number, _)| {
                let share = slots_of(*number) as f64 / total;
                Group::new(
                    members,
                    *number,
                    share,
                    earlier(*number).unwrap_or_default(),
                )
            })
            .collect();
        let slots: Vec<u64> = shares.iter().map(|(number, _)| slots_of(*number)).collect();
        let turns = previous.map(|previous| previous.ring.turns().clone());
        Groups {
            groups,
            ring: Picker::new(&slots, turns.unwrap_or_default()),
        }
    }

    /// The share of a target of the route, 0 to 1.
    pub(super) fn share(&self, at: usize) -> f64 {
        let group = self
            .groups
            .iter()
            .find_map(|group| group.part(at).map(|part| (group, part)));
        group.map_or(0.0, |(group, part)| group.share * part)
    }

    /// The part of a target of the route in what its version gets, 0 to 1.
    pub(super) fn part(&self, at: usize) -> f64 {
        let part = self.groups.iter().find_map(|group| group.part(at));
        part.unwrap_or(0.0)
    }

    /// All targets of the version that one belongs to.
    pub(super) fn mates(&self, at: usize) -> impl Iterator<Item = usize> {
        let is_its = |group: &&Group| group.members.iter().any(|known| known.at as usize == at);
        let group = self.groups.iter().find(is_its);
        let members = group.into_iter().flat_map(|group| &group.members);
        members.map(|known| known.at as usize)
    }

    /// The target whose turn it is, or another one that is acceptable: of the same version if there
    /// is one. `version` goes before the turn, where it has acceptable targets.
    pub(super) fn pick(
        &self,
        version: Option<u32>,
        choice: Choice,
        acceptable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let wanted = version.and_then(|version| {
            let mut groups = self.groups.iter();
            groups.find(|group| group.number == version)
        });
        if let Some(found) = wanted.and_then(|group| group.pick(choice, &acceptable)) {
            return Some(found);
        }
        let mut choice = choice;
        let turn = match self.groups.as_slice() {
            [] => return None,
            [only] => only,
            groups => match choice {
                Choice::Hash(hash) => self.of_key(hash),
                Choice::Random(number) => {
                    let (turn, rest) = self.ring.draw(number)?;
                    choice = Choice::Random(rest);
                    &groups[turn]
                }
                Choice::RoundRobin | Choice::LeastConnections => &groups[self.ring.pick(choice)?],
            },
        };
        if let Some(found) = turn.pick(choice, &acceptable) {
            return Some(found);
        }
        let mut others: Vec<&Group> = self
            .groups
            .iter()
            .filter(|group| group.share > 0.0)
            .collect();
        others.sort_by(|one, other| other.share.total_cmp(&one.share));
        others
            .into_iter()
            .find_map(|group| group.pick(choice, &acceptable))
    }

    /// The version of a key: who has one with a share keeps it when that share grows.
    fn of_key(&self, hash: u64) -> &Group {
        let mut bucket = (mixed(hash) % BUCKETS as u64) as f64 / BUCKETS;
        // Those with a share of their own come first, and the rest last; in the order in which they
        // were defined, whichever of them has the first target at the moment.
        let (rest, mut fixed): (Vec<&Group>, Vec<&Group>) =
            self.groups.iter().partition(|group| group.number == 0);
        fixed.sort_by_key(|group| group.number);
        for group in fixed.iter().chain(&rest) {
            if bucket < group.share {
                return group;
            }
            bucket -= group.share;
        }
        // Sums of shares are not exact.
        rest.first()
            .or_else(|| fixed.last())
            .unwrap_or(&&self.groups[0])
    }
}

/// The share of a version: of what is left if its targets have none.
fn share(members: &[Member<'_>], number: u32) -> Option<Share> {
    let mut own = members.iter().filter(|member| member.version == number);
    let first = own.next()?.share?;
    let count = 1 + own.count() as u64;
    Some(Share {
        millionths: first.millionths * count,
        ..first
    })
}

fn is_nothing(share: Option<Share>) -> bool {
    share.is_some_and(|share| share.millionths == 0)
}

impl Group {
    fn new(members: &[Member<'_>], number: u32, share: f64, turns: Arc<AtomicU64>) -> Group {
        let own = (0..).zip(members);
        let own = own.filter(|(_, member)| member.version == number);
        let known: Box<[Known]> = own
            .map(|(at, member)| Known {
                at,
                turns: member.turns,
                hash: key(member.key),
            })
            .collect();
        let taking = known.iter().filter(|known| known.turns > 0);
        let shares: Vec<Option<Share>> = taking
            .map(|known| {
                Some(Share {
                    millionths: known.turns.into(),
                    parts: 1,
                })
            })
            .collect();
        let mut turned = weight::slots(&shares).into_iter();
        let slots: Vec<u64> = known
            .iter()
            .map(|known| match known.turns {
                0 => 0,
                _ => turned.next().unwrap_or_default(),
            })
            .collect();
        Group {
            number,
            ring: Picker::new(&slots, turns),
            members: known,
            share,
        }
    }

    /// The part of a target in what they get together; none if it is not among them.
    fn part(&self, at: usize) -> Option<f64> {
        let own = self.members.iter().find(|known| known.at as usize == at)?;
        let turns = self.members.iter().map(|known| u64::from(known.turns));
        let all: u64 = turns.sum();
        Some(f64::from(own.turns) / all.max(1) as f64)
    }

    fn pick(&self, choice: Choice, acceptable: impl Fn(usize) -> bool) -> Option<usize> {
        let place = |at: usize| self.members[at].at as usize;
        let Choice::Hash(hash) = choice else {
            let picked = self.ring.pick_where(choice, |at| acceptable(place(at)));
            return picked.map(place);
        };
        // The highest draw wins, so that a target that comes or goes moves its own keys only.
        let draw = |known: &Known| {
            let number = mixed(hash ^ known.hash) >> 11;
            let even = (number as f64 + 0.5) / (1u64 << 53) as f64;
            -f64::from(known.turns) / even.ln()
        };
        let taking = self.members.iter().filter(|known| known.turns > 0);
        let acceptable = taking.filter(|known| acceptable(known.at as usize));
        acceptable
            .max_by(|one, other| draw(one).total_cmp(&draw(other)))
            .map(|known| known.at as usize)
    }
}

/// A number for a text, the same at every proxy.
pub(crate) fn hash(text: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    mixed(text.iter().fold(OFFSET, step))
}

fn key((instance, address): (&str, std::net::SocketAddr)) -> u64 {
    hash(format!("{instance} {address}").as_bytes())
}

/// Spreads a number over all numbers.
pub(super) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
