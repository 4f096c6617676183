//! Who may talk to whom: intentions, read from `service-intentions` entries.
//!
//! An entry is about one destination and names sources. Of the intentions that fit a source and a
//! destination the one with the highest precedence counts, alone.

use std::cmp::Reverse;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{ConfigEntry, Index};
use crate::view::View;

/// Kind of the entries that say who may talk to whom.
pub const KIND: &str = "service-intentions";
/// The name that stands for every service.
pub const ANY: &str = "*";

/// One source of one destination.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intention {
    /// Name of the service that connects, or [`ANY`].
    pub source: String,
    /// Name of the service that is connected to, or [`ANY`].
    pub destination: String,
    /// What is decided.
    pub verdict: Verdict,
    /// Free text.
    pub description: String,
    /// How much it counts; 9 is most.
    pub precedence: u8,
    /// What it has when it was written through the API for single intentions.
    pub legacy: Option<Legacy>,
    /// First write of the entry.
    pub create_index: Index,
    /// Last change of the entry.
    pub modify_index: Index,
}

/// What an intention decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Verdict {
    /// Connections are made.
    Allow,
    /// They are not.
    #[default]
    Deny,
    /// It depends on the request; as the entry has it.
    ByRequest(Vec<Value>),
}

/// What only intentions have that were written one by one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Legacy {
    /// A UUID.
    pub id: String,
    /// Free pairs.
    pub meta: Map<String, Value>,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub updated: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    sources: Vec<Source>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Source {
    name: String,
    action: String,
    permissions: Option<Vec<Value>>,
    description: String,
    #[serde(rename = "LegacyID")]
    legacy_id: String,
    legacy_meta: Option<Map<String, Value>>,
    legacy_create_time: String,
    legacy_update_time: String,
}

impl Source {
    fn intention(self, row: &ConfigEntry) -> Intention {
        let verdict = match self.permissions {
            Some(permissions) if !permissions.is_empty() => Verdict::ByRequest(permissions),
            _ if self.action == "allow" => Verdict::Allow,
            _ => Verdict::Deny,
        };
        Intention {
            precedence: precedence(&self.name, &row.key.name),
            source: self.name,
            destination: row.key.name.clone(),
            verdict,
            description: self.description,
            legacy: (!self.legacy_id.is_empty()).then(|| Legacy {
                id: self.legacy_id,
                meta: self.legacy_meta.unwrap_or_default(),
                created: self.legacy_create_time,
                updated: self.legacy_update_time,
            }),
            create_index: row.create_index,
            modify_index: row.modify_index,
        }
    }
}

/// How much an intention counts; 9 is most.
#[must_use]
pub fn precedence(source: &str, destination: &str) -> u8 {
    match (source == ANY, destination == ANY) {
        (false, false) => 9,
        (true, false) => 8,
        (false, true) => 6,
        (true, true) => 5,
    }
}

/// The intentions of an entry, in its order; none of one of another kind.
#[must_use]
pub fn of_entry(row: &ConfigEntry) -> Vec<Intention> {
    if row.key.kind != KIND {
        return Vec::new();
    }
    let entry: Entry = serde_json::from_str(&row.body).unwrap_or_default();
    let sources = entry.sources.into_iter();
    sources.map(|source| source.intention(row)).collect()
}

/// All intentions, those that count most first, then by source and destination.
#[must_use]
pub fn all(view: &View) -> Vec<Intention> {
    let rows = view.config_entries();
    sorted(rows.flat_map(|row| of_entry(row)).collect())
}

/// Those that fit connections to `destination`, in the order in which they count.
#[must_use]
pub fn to_destination(view: &View, destination: &str) -> Vec<Intention> {
    let mut found = all(view);
    found.retain(|row| row.destination == destination || row.destination == ANY);
    found
}

/// Those that fit connections from `source`, in the order in which they count.
#[must_use]
pub fn from_source(view: &View, source: &str) -> Vec<Intention> {
    let mut found = all(view);
    found.retain(|row| row.source == source || row.source == ANY);
    found
}

/// The intention that counts for connections from `source` to `destination`, if any fits.
#[must_use]
pub fn decisive(view: &View, source: &str, destination: &str) -> Option<Intention> {
    let fitting = to_destination(view, destination).into_iter();
    let mut fitting = fitting.filter(|row| row.source == source || row.source == ANY);
    fitting.next()
}

fn sorted(mut intentions: Vec<Intention>) -> Vec<Intention> {
    intentions.sort_by(|one, other| {
        let key = |row: &Intention| (Reverse(row.precedence), row.source.clone());
        (key(one), &one.destination).cmp(&(key(other), &other.destination))
    });
    intentions
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::ConfigKey;
    use crate::view::Change;

    fn view(entries: &[(&str, Value)]) -> View {
        let mut view = View::default();
        for (index, (name, sources)) in (1..).zip(entries) {
            let row = ConfigEntry {
                key: ConfigKey {
                    kind: KIND.to_owned(),
                    name: (*name).to_owned(),
                },
                body: json!({ "Sources": sources }).to_string(),
                ..ConfigEntry::default()
            };
            view.apply(index, Change::PutConfigEntry(Arc::new(row)));
        }
        view
    }

    #[test]
    fn the_intention_with_the_highest_precedence_counts_alone() {
        let allow = |name: &str| json!({"Name": name, "Action": "allow"});
        let deny = |name: &str| json!({"Name": name, "Action": "deny"});
        let view = view(&[
            ("db", json!([allow("web"), deny("*")])),
            ("*", json!([deny("web"), allow("api"), allow("*")])),
            (
                "page",
                json!([{"Name": "web", "Permissions": [{"Action": "allow"}]}]),
            ),
        ]);
        for (source, destination, expected) in [
            ("web", "db", Some((9, Verdict::Allow))),
            ("api", "db", Some((8, Verdict::Deny))),
            ("web", "other", Some((6, Verdict::Deny))),
            ("none", "other", Some((5, Verdict::Allow))),
        ] {
            let found = decisive(&view, source, destination);
            let found = found.map(|row| (row.precedence, row.verdict));
            assert_eq!(found, expected, "{source} to {destination}");
        }
        let by_request = decisive(&view, "web", "page").unwrap();
        assert!(matches!(by_request.verdict, Verdict::ByRequest(_)));
        assert_eq!(decisive(&View::default(), "web", "db"), None);
        let order = |rows: Vec<Intention>| -> Vec<String> {
            let rows = rows.into_iter();
            rows.map(|row| format!("{} {} {}", row.precedence, row.source, row.destination))
                .collect()
        };
        assert_eq!(
            order(to_destination(&view, "db")),
            ["9 web db", "8 * db", "6 api *", "6 web *", "5 * *"]
        );
        assert_eq!(
            order(from_source(&view, "web")),
            ["9 web db", "9 web page", "8 * db", "6 web *", "5 * *"]
        );
    }
}
