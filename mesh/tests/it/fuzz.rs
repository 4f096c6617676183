//! Filter expressions that are put together and changed at random: each is read or refused, and one
//! that is read gives an answer for every row.
//!
//! A second in the usual tests, and longer with `.ci/fuzz SECONDS`.

use std::time::Duration;

use mesh::filter::Filter;
use mesh::model::Node;
use mesh::wire::{CatalogNode, CatalogService};

/// Words that mean something.
const WORDS: [&str; 40] = [
    "Node",
    "ServiceTags",
    "ServiceMeta",
    "NodeMeta",
    "ServicePort",
    "ServiceWeights.Passing",
    "ServiceMeta.a",
    "ServiceMeta[\"a\"]",
    "TaggedAddresses",
    "Meta",
    "ID",
    "and",
    "or",
    "not",
    "in",
    "is",
    "is not",
    "empty",
    "contains",
    "matches",
    "==",
    "!=",
    "(",
    ")",
    "\"",
    "`",
    "\"x\"",
    "`y`",
    "1",
    "-1",
    "1.5",
    "99999999999999999999",
    "true",
    "[",
    "]",
    ".",
    "\"(a*)*$\"",
    "\u{e9}",
    "\0",
    "/",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn expression(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(24) {
            text.push_str(WORDS[self.below(WORDS.len())]);
            if self.below(5) > 0 {
                text.push(' ');
            }
        }
        if self.below(8) == 0 {
            text = text.repeat(1 + self.below(40));
        }
        text
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it goes on is said by the environment and the clock"
)]
fn expressions_are_read_or_refused() {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
    let seed = seconds.map_or(1, |_| u64::from(std::process::id()) << 20);
    let mut random = Random(seed);
    let row = CatalogNode::from(&Node {
        name: "x".to_owned(),
        meta: [("a".to_owned(), "y".to_owned())].into(),
        ..Node::default()
    });
    let end = std::time::Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(1.0));
    let (mut read, mut held) = (0_u64, 0_u64);
    while std::time::Instant::now() < end {
        let expression = random.expression();
        if let Ok(filter) = Filter::of::<CatalogNode>(&expression) {
            held += u64::from(filter.holds(&row));
            read += 1;
        }
        Filter::of::<CatalogService>(&expression).ok();
    }
    assert!(
        held > 0 && held < read,
        "{held} of {read} expressions from seed {seed} held"
    );
}
