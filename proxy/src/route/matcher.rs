//! Finding the routes of a request without looking at all of them.
//!
//! Paths and the fixed ends of host patterns are kept in sorted arrays with a link from each entry
//! to the longest other entry that it begins with. All entries that a text begins with are then one
//! binary search and a walk along links away, whatever the number of entries.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use super::glob::{self, Glob};

/// Hosts longer than this match no pattern that is found by its end: a DNS name has at most 253
/// characters, and a port adds 6.
const HOST_BYTES_MAX: usize = 264;

/// No entry.
const NONE: u32 = u32::MAX;

/// Texts, searched for all those that a given text begins with.
#[derive(Debug, Default)]
pub(super) struct PrefixIndex {
    keys: Vec<Box<[u8]>>,
    parents: Vec<u32>,
}

impl PrefixIndex {
    /// Takes the keys in ascending order without duplicates; entry numbers are positions in that
    /// order.
    pub(super) fn new(keys: impl IntoIterator<Item = Box<[u8]>>) -> PrefixIndex {
        let keys: Vec<Box<[u8]>> = keys.into_iter().collect();
        let mut parents = Vec::with_capacity(keys.len());
        // The chain of prefixes of the key before, longest last.
        let mut open: Vec<u32> = Vec::new();
        for (at, key) in (0u32..).zip(&keys) {
            while open
                .last()
                .is_some_and(|last| !key.starts_with(&keys[*last as usize]))
            {
                open.pop();
            }
            parents.push(open.last().copied().unwrap_or(NONE));
            open.push(at);
        }
        PrefixIndex { keys, parents }
    }

    /// The entries that `text` begins with, longest first.
    pub(super) fn matches<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        // Every prefix of the text sorts at or before the text, and everything between the two
        // begins with that prefix: so all of them are on the chain of the last entry that is not
        // greater than the text.
        let after = self.keys.partition_point(|key| key.as_ref() <= text);
        let mut next = u32::try_from(after)
            .ok()
            .and_then(|after| after.checked_sub(1))
            .unwrap_or(NONE);
        std::iter::from_fn(move || {
            while next != NONE {
                let at = next as usize;
                next = self.parents[at];
                if text.starts_with(&self.keys[at]) {
                    return Some(at);
                }
            }
            None
        })
    }
}

/// A host pattern that is to be tried.
#[derive(Debug)]
struct Pattern {
    glob: Glob,
    host: u32,
    rank: u32,
}

/// Patterns, by a text that every host they match begins with.
#[derive(Debug, Default)]
struct Buckets {
    index: PrefixIndex,
    patterns: Vec<Vec<u32>>,
}

impl Buckets {
    fn new(entries: BTreeMap<Vec<u8>, Vec<u32>>) -> Buckets {
        let (keys, patterns): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        Buckets {
            index: PrefixIndex::new(keys.into_iter().map(Vec::into_boxed_slice)),
            patterns,
        }
    }

    fn candidates<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
        self.index
            .matches(text)
            .flat_map(|at| self.patterns[at].iter().copied())
    }
}

/// Host patterns of a table, numbered by the caller.
///
/// The order in which the hosts that match a request are tried: exact ones, with the request's port
/// first, then patterns by their reversed text, descending (so a longer, more specific ending comes
/// first), then the routes without a host. A host that names no port matches requests to any port.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<str>, SmallVec<[u32; 1]>>,
    patterns: Vec<Pattern>,
    by_end: Buckets,
    by_start: Buckets,
    any: Option<u32>,
}

impl Hosts {
    /// Indexes host keys; the number of a host is its position in the iteration. The keys were
    /// checked when they were parsed: one that does not compile as a pattern matches nothing.
    ///
    /// `is_tls` says which port is the one that goes without saying, `has_globs` whether patterns
    /// are patterns or plain text.
    pub(super) fn new<'a>(
        keys: impl IntoIterator<Item = &'a str>,
        is_tls: bool,
        has_globs: bool,
    ) -> Hosts {
        let mut numbered: Vec<(u32, &str)> = (0..).zip(keys).collect();
        numbered.sort_by_cached_key(|(_, key)| std::cmp::Reverse(sort_text(key)));
        let mut hosts = Hosts::default();
        for (rank, (host, key)) in (0..).zip(numbered) {
            if key.is_empty() {
                hosts.any = Some(host);
                continue;
            }
            let text = without_default_port(key, is_tls);
            if has_globs && glob::is_pattern(text) {
                let globs = glob::compile(text).unwrap_or_default();
                hosts
                    .patterns
                    .extend(globs.into_iter().map(|glob| Pattern { glob, host, rank }));
            } else {
                hosts.exact.entry(text.into()).or_default().push(host);
            }
        }
        hosts.index_patterns();
        hosts
    }

    /// Puts each pattern under its fixed end or its fixed start, whichever it shares with fewer
    /// others.
    fn index_patterns(&mut self) {
        let ends: Vec<Vec<u8>> = self
            .patterns
            .iter()
            .map(|p| p.glob.reversed_literal_suffix())
            .collect();
        let starts: Vec<Vec<u8>> = self
            .patterns
            .iter()
            .map(|p| p.glob.literal_prefix())
            .collect();
        let (end_counts, start_counts) = (count(&ends), count(&starts));
        let mut by_end: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        let mut by_start: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for (number, (end, start)) in (0..).zip(ends.iter().zip(&starts)) {
            let (map, key) = if end_counts[end.as_slice()] <= start_counts[start.as_slice()] {
                (&mut by_end, end)
            } else {
                (&mut by_start, start)
            };
            map.entry(key.clone()).or_default().push(number);
        }
        self.by_end = Buckets::new(by_end);
        self.by_start = Buckets::new(by_start);
    }

    /// Offers the hosts that match, in order, until one is taken. The host is in lower case and
    /// without default port.
    pub(super) fn find<R>(&self, host: &str, mut offer: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let name = split_port(host).map(|(name, _)| name);
        for text in std::iter::once(host).chain(name) {
            for number in self.exact.get(text).into_iter().flatten() {
                if let Some(found) = offer(*number) {
                    return Some(found);
                }
            }
        }
        if !self.patterns.is_empty() {
            let mut matching = self.matching_patterns(host.as_bytes());
            if let Some(name) = name {
                matching.extend(self.matching_patterns(name.as_bytes()));
                matching.sort_unstable();
                matching.dedup();
            }
            for (_, number) in matching {
                if let Some(found) = offer(number) {
                    return Some(found);
                }
            }
        }
        self.any.and_then(offer)
    }

    /// Rank and host number of the patterns that match, in order of rank.
    fn matching_patterns(&self, host: &[u8]) -> SmallVec<[(u32, u32); 8]> {
        let mut found = SmallVec::new();
        let mut buffer = [0u8; HOST_BYTES_MAX];
        let Some(reversed) = buffer.get_mut(..host.len()) else {
            return found;
        };
        for (to, from) in reversed.iter_mut().rev().zip(host) {
            *to = *from;
        }
        for number in self
            .by_end
            .candidates(reversed)
            .chain(self.by_start.candidates(host))
        {
            let pattern = &self.patterns[number as usize];
            if pattern.glob.matches(host) {
                found.push((pattern.rank, pattern.host));
            }
        }
        found.sort_unstable();
        found
    }
}

fn count(keys: &[Vec<u8>]) -> HashMap<&[u8], usize> {
    let mut counts = HashMap::new();
    for key in keys {
        *counts.entry(key.as_slice()).or_default() += 1;
    }
    counts
}

/// What hosts are ordered by: the name reversed, then the port as it is written.
fn sort_text(key: &str) -> String {
    let split = split_port(key);
    let name = split.map_or(key, |(name, _)| name);
    let mut text: String = name.chars().rev().collect();
    if let Some((_, port)) = split {
        text.push(':');
        text.push_str(port);
    }
    text
}

/// The name and the port of a host that has one.
fn split_port(host: &str) -> Option<(&str, &str)> {
    let (name, port) = host.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then_some((name, port))
}

/// A host whose name ends in one dot, as fully qualified ones may, without it; none for other
/// hosts.
pub(super) fn without_last_dot(host: &str) -> Option<String> {
    let split = split_port(host);
    let name = split.map_or(host, |(name, _)| name).strip_suffix('.')?;
    if name.ends_with('.') {
        return None;
    }
    Some(match split {
        Some((_, port)) => format!("{name}:{port}"),
        None => name.to_owned(),
    })
}

/// A host without the port that HTTP has anyway, over TLS or without.
pub(super) fn without_default_port(host: &str, is_tls: bool) -> &str {
    let port = if is_tls { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_prefix_index_finds_what_a_scan_finds(keys in prop::collection::btree_set("[ab]{0,5}", 0..20), text in "[ab]{0,7}") {
            let index = PrefixIndex::new(keys.iter().map(|key| key.as_bytes().into()));
            let found: Vec<usize> = index.matches(text.as_bytes()).collect();
            let mut expected: Vec<usize> =
                keys.iter().enumerate().filter(|(_, key)| text.starts_with(key.as_str())).map(|(at, _)| at).collect();
            expected.reverse();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn hosts_are_offered_as_a_scan_in_order_would(
            keys in prop::collection::btree_set("[ab.*?]{0,5}|\\{a,b\\}[ab.]{0,3}", 0..30),
            host in "[ab.]{0,6}",
        ) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let hosts = Hosts::new(keys.iter().copied(), false, true);
            let mut offered = Vec::new();
            let taken: Option<()> = hosts.find(&host, |number| {
                offered.push(keys[number as usize]);
                None
            });
            prop_assert!(taken.is_none());
            offered.dedup();
            let matches = |key: &str| glob::is_pattern(key) && glob::compile(key).unwrap().iter().any(|g| g.matches(host.as_bytes()));
            let mut patterns: Vec<&str> = keys.iter().copied().filter(|key| matches(key)).collect();
            patterns.sort_by_key(|key| std::cmp::Reverse(sort_text(key)));
            let exact = keys.iter().copied().filter(|key| *key == host && !key.is_empty());
            let any = keys.iter().copied().filter(|key| key.is_empty());
            let expected: Vec<&str> = exact.chain(patterns).chain(any).collect();
            prop_assert_eq!(offered, expected);
        }
    }

    #[test]
    fn long_hosts_match_only_what_needs_no_end() {
        let hosts = Hosts::new(["*.io", ""], false, true);
        let long = "a".repeat(HOST_BYTES_MAX) + ".io";
        let mut offered = Vec::new();
        let _: Option<()> = hosts.find(&long, |number| {
            offered.push(number);
            None
        });
        assert_eq!(offered, [1]);
    }
}
