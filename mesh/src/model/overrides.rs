//! The operator's own route commands.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Index, Timestamp};

/// Route-language text that an operator lays over the routes derived from services.
///
/// Writer: an operator, through the route admin API. The text is stored byte for byte; its syntax
/// is the reader's concern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteOverrides {
    /// The text, at most [`crate::state::ROUTE_OVERRIDES_BYTES_MAX`] bytes; empty means no
    /// overrides.
    pub text: String,
    /// When the text last changed.
    #[serde(rename = "modified_at_ns")]
    pub modified_at: Timestamp,
    /// Log index at which overrides were first set; 0 if never.
    pub create_index: Index,
    /// Log index of the last change of the text, which is its version; 0 if never set.
    pub modify_index: Index,
    /// Keys of the key-value store that lay more over the routes, with their values: those that
    /// [`RouteOverrides::takes_key`] names. They are here because agents have no keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// Keys that are left out because all of them together are too large.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<String>,
}

impl RouteOverrides {
    /// The key of route commands; keys below it are more of them, in their order.
    pub const CONFIG_KEY: &str = "fabio/config";
    /// The key of the page for requests without a route; keys below it are more of it.
    pub const PAGE_KEY: &str = "fabio/noroute.html";
    /// The most bytes that all keys have together.
    pub const KEYS_BYTES_MAX: usize = 1 << 20;

    /// Whether a key lays something over the routes.
    pub fn takes_key(key: &str) -> bool {
        [Self::CONFIG_KEY, Self::PAGE_KEY]
            .iter()
            .any(|own| is_at_or_below(key, own))
    }

    /// Keys with route commands, in order.
    pub fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        self.at_or_below(Self::CONFIG_KEY)
    }

    /// The page for requests without a route; empty if there is none.
    pub fn page(&self) -> String {
        let parts = self
            .at_or_below(Self::PAGE_KEY)
            .map(|(_, text)| text.trim());
        parts.collect::<Vec<_>>().join("\n\n")
    }

    fn at_or_below<'a>(&'a self, own: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.keys.iter();
        let wanted = all.filter(move |(key, _)| is_at_or_below(key, own));
        wanted.map(|(key, text)| (key.as_str(), text.as_str()))
    }
}

fn is_at_or_below(key: &str, own: &str) -> bool {
    let rest = key.strip_prefix(own);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
