//! Finding the route of a path on one host, by each of the ways to compare them.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::glob::{self, Glob};
use super::matcher::PrefixIndex;

/// How paths of routes are compared with those of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathMatcher {
    /// The path begins with that of the route.
    #[default]
    Prefix,
    /// The same, whatever the case.
    PrefixFolded,
    /// The path of the route is a pattern for the whole path.
    Glob,
}

/// The paths of the routes of one host, numbered in ascending order.
#[derive(Debug)]
pub(super) enum Paths {
    Prefix(PrefixIndex),
    /// Folded keys, each with the routes that it stands for.
    Folded(PrefixIndex, Vec<SmallVec<[u32; 1]>>),
    /// Fixed starts of patterns, each with the patterns that begin so.
    Glob(PrefixIndex, Vec<Vec<(Glob, u32)>>),
}

impl Paths {
    /// Takes the paths in ascending order without duplicates. Patterns were checked before: one
    /// that does not compile matches nothing.
    pub(super) fn new<'a>(matcher: PathMatcher, paths: impl Iterator<Item = &'a str>) -> Paths {
        match matcher {
            PathMatcher::Prefix => {
                Paths::Prefix(PrefixIndex::new(paths.map(|path| path.as_bytes().into())))
            }
            PathMatcher::PrefixFolded => {
                let mut folded: BTreeMap<Box<[u8]>, SmallVec<[u32; 1]>> = BTreeMap::new();
                for (number, path) in (0..).zip(paths) {
                    let key = path.to_lowercase().into_bytes().into_boxed_slice();
                    folded.entry(key).or_default().push(number);
                }
                let (keys, numbers): (Vec<_>, Vec<_>) = folded.into_iter().unzip();
                Paths::Folded(PrefixIndex::new(keys), numbers)
            }
            PathMatcher::Glob => {
                let mut starts: BTreeMap<Box<[u8]>, Vec<(Glob, u32)>> = BTreeMap::new();
                for (number, path) in (0..).zip(paths) {
                    for glob in glob::compile(path).unwrap_or_default() {
                        let start = glob.literal_prefix().into_boxed_slice();
                        starts.entry(start).or_default().push((glob, number));
                    }
                }
                let (keys, globs): (Vec<_>, Vec<_>) = starts.into_iter().unzip();
                Paths::Glob(PrefixIndex::new(keys), globs)
            }
        }
    }

    /// The route of a path: of those that match, the one that comes last in order. Among prefixes
    /// that is the longest.
    pub(super) fn find(&self, path: &[u8]) -> Option<usize> {
        match self {
            Paths::Prefix(index) => index.matches(path).next(),
            Paths::Folded(index, numbers) => {
                let folded = fold(path);
                let matching = index.matches(&folded).flat_map(|at| &numbers[at]);
                matching.max().map(|number| *number as usize)
            }
            Paths::Glob(index, globs) => {
                let candidates = index.matches(path).flat_map(|at| &globs[at]);
                let matching = candidates.filter(|(glob, _)| glob.matches(path));
                matching.map(|(_, number)| *number as usize).max()
            }
        }
    }
}

/// A path in lower case, as far as it is text.
fn fold(path: &[u8]) -> Vec<u8> {
    match str::from_utf8(path) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => path.to_ascii_lowercase(),
    }
}
