//! Filter expressions that are put together and changed at random: each is read or refused, and one
//! that is read gives an answer for every row.
//!
//! A fixed number of them in the usual tests, and for longer with `.ci/fuzz SECONDS`.

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

const SELECTORS: [&str; 6] = ["Node", "ID", "Meta.a", "Meta[\"b\"]", "Meta", "Address"];
const VALUES: [&str; 5] = ["x", "y", "a", "\"\"", "`(a*)*$`"];

impl Random {
    /// One side of `and`.
    fn comparison(&mut self) -> String {
        let selector = SELECTORS[self.below(SELECTORS.len())];
        let value = VALUES[self.below(VALUES.len())];
        match self.below(7) {
            0 => format!("{selector} == {value}"),
            1 => format!("{selector} != {value}"),
            2 => format!("{selector} is empty"),
            3 => format!("{selector} contains {value}"),
            4 => format!("{value} in {selector}"),
            5 => format!("{value} not in {selector}"),
            _ => format!("{selector} matches {value}"),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// Words in any order, or an expression with a word too much now and then.
    fn expression(&mut self) -> String {
        if self.below(2) == 0 {
            let mut text = self.comparison();
            for _ in 0..self.below(4) {
                let joint = [" and ", " or "][self.below(2)];
                text = format!("{text}{joint}{}", self.comparison());
            }
            if self.below(4) == 0 {
                text = format!("not ({text})");
            }
            if self.below(8) == 0 {
                text = format!("{text} {}", WORDS[self.below(WORDS.len())]);
            }
            return text;
        }
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

/// How many expressions are tried at least.
const CASES: u32 = 5_000;

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
        name: "x".into(),
        meta: [("a".to_owned(), "y".to_owned())].into(),
        ..Node::default()
    });
    let end = std::time::Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(0.0));
    let (mut tried, mut read, mut held) = (0, 0_u64, 0_u64);
    while tried < CASES || std::time::Instant::now() < end {
        tried += 1;
        let expression = random.expression();
        if let Ok(filter) = Filter::of::<CatalogNode>(&expression) {
            held += u64::from(filter.holds(&row));
            read += 1;
        }
        Filter::of::<CatalogService>(&expression).ok();
    }
    assert!(
        held > u64::from(CASES) / 100 && held < read,
        "{held} of {read} expressions from seed {seed} held"
    );
}
