//! What servers say of the keys that seal gossip, put together.

use mesh::gossip::KeyAnswer;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A key that is to be installed, used or removed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    /// As base64.
    #[serde(rename = "Key")]
    pub(super) key: String,
}

/// What all servers answered.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Why not, by server.
    pub(super) problems: BTreeMap<String, String>,
    /// How many servers have each key.
    pub(super) keys: BTreeMap<String, usize>,
    /// How many seal with each.
    pub(super) primary: BTreeMap<String, usize>,
    /// How many were asked.
    pub(super) servers: usize,
}

impl Keys {
    pub(super) fn gather(answers: Vec<KeyAnswer>) -> Self {
        let mut all = Self {
            servers: answers.len(),
            ..Self::default()
        };
        for answer in answers {
            if let Some(first) = answer.keys.first() {
                *all.primary.entry(first.clone()).or_default() += 1;
            }
            for key in answer.keys {
                *all.keys.entry(key).or_default() += 1;
            }
            if let Some(error) = answer.error {
                all.problems.insert(answer.by, error);
            }
        }
        all
    }

    /// Why it was not done everywhere.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.problems.is_empty() {
            return None;
        }
        let problems: Vec<String> = self
            .problems
            .iter()
            .map(|(by, problem)| format!("{by}: {problem}"))
            .collect();
        Some(format!(
            "{} of {} servers: {}",
            problems.len(),
            self.servers,
            problems.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_key() {
        let answer = |by: &str, keys: &[&str], error: Option<&str>| KeyAnswer {
            by: by.into(),
            error: error.map(str::to_owned),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let keys = Keys::gather(vec![
            answer("a.north", &["new", "old"], None),
            answer("b.north", &["old"], Some("no room")),
            answer("c.south", &[], Some("it did not answer in time")),
        ]);
        assert_eq!(keys.keys, [("new".into(), 1), ("old".into(), 2)].into());
        assert_eq!(keys.primary, [("new".into(), 1), ("old".into(), 1)].into());
        assert_eq!(
            keys.refusal().unwrap(),
            "2 of 3 servers: b.north: no room; c.south: it did not answer in time"
        );
        assert_eq!(
            Keys::gather(vec![answer("a", &["k"], None)]).refusal(),
            None
        );
    }
}
