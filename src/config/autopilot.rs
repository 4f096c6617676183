//! How the servers look after their group, where nobody said it to them yet.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use jobs::model::AutopilotConfig;
use std::collections::BTreeMap;

/// Settings that have one value here, with the reason.
const FIXED: [(&str, &str); 3] = [
    (
        "enable_redundancy_zones",
        "servers are not told apart by zones",
    ),
    (
        "disable_upgrade_migration",
        "new servers never wait for others of their version",
    ),
    (
        "enable_custom_upgrades",
        "servers have no versions but those of their program",
    ),
];

/// The keys of `autopilot`, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenAutopilot(BTreeMap<&'static str, String>);

impl WrittenAutopilot {
    const KEYS: [&str; 8] = [
        "cleanup_dead_servers",
        "last_contact_threshold",
        "max_trailing_logs",
        "min_quorum",
        "server_stabilization_time",
        FIXED[0].0,
        FIXED[1].0,
        FIXED[2].0,
    ];

    /// What `of` says of each key.
    pub(super) fn of(of: impl Fn(&str) -> Option<String>) -> Self {
        let written = Self::KEYS
            .into_iter()
            .filter_map(|key| Some((key, of(key)?)));
        Self(written.collect())
    }

    pub(super) fn merge(self, other: Self) -> Self {
        let mut all = self.0;
        all.extend(other.0);
        Self(all)
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match Self::KEYS.into_iter().find(|key| *key == inner.key) {
                Some(key) => {
                    if let Some(text) = reader.scalar(&inner) {
                        self.0.insert(key, text);
                    }
                }
                None => reader.unknown(&inner, "autopilot", &Self::KEYS),
            }
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> AutopilotConfig {
        let mut config = AutopilotConfig::default();
        for (key, text) in &self.0 {
            let name = format!("autopilot.{key}");
            match *key {
                "cleanup_dead_servers" => {
                    let wanted = "true or false";
                    config.cleanup_dead_servers = parsed(&name, text, wanted, problems);
                }
                "max_trailing_logs" => {
                    config.max_trailing_logs = parsed(&name, text, "a whole number", problems);
                }
                "min_quorum" => {
                    config.min_quorum = parsed(&name, text, "a whole number", problems);
                }
                "last_contact_threshold" => {
                    let time = duration(&name, text, problems);
                    config.last_contact_threshold = time.into();
                    if time.is_zero() {
                        let message = format!("`{name}` must be longer than no time");
                        problems.push(Problem::new(SETTINGS, message));
                    }
                }
                "server_stabilization_time" => {
                    config.server_stabilization_time = duration(&name, text, problems).into();
                }
                _ => refuse(&name, text, problems),
            }
        }
        config
    }
}

fn parsed<T: std::str::FromStr + Default>(
    name: &str,
    text: &str,
    wanted: &str,
    problems: &mut Vec<Problem>,
) -> T {
    text.parse().unwrap_or_else(|_| {
        let message = format!("`{name}` is `{text}`; it must be {wanted}");
        problems.push(Problem::new(SETTINGS, message));
        T::default()
    })
}

/// Refuses what has one value here, unless that is written.
fn refuse(name: &str, text: &str, problems: &mut Vec<Problem>) {
    let fixed = FIXED.iter().find(|(key, _)| name.ends_with(key));
    if let Some((_, reason)) = fixed.filter(|_| text != "false") {
        let message = format!("`{name}` is `{text}`; it must be false: {reason}");
        problems.push(Problem::new(SETTINGS, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::Span;

    fn resolved(pairs: &[(&str, &str)]) -> (AutopilotConfig, Vec<String>) {
        let written = WrittenAutopilot::of(|key| {
            let pair = pairs.iter().find(|(own, _)| *own == key);
            pair.map(|(_, text)| (*text).to_owned())
        });
        let mut problems = Vec::new();
        let config = written.resolve(&mut problems);
        (
            config,
            problems.into_iter().map(|one| one.message).collect(),
        )
    }

    #[test]
    fn what_is_written_is_taken_and_what_cannot_be_had_is_told() {
        assert_eq!(resolved(&[]), (AutopilotConfig::default(), Vec::new()));
        let (config, problems) = resolved(&[
            ("cleanup_dead_servers", "false"),
            ("last_contact_threshold", "1s"),
            ("max_trailing_logs", "500"),
            ("min_quorum", "3"),
            ("server_stabilization_time", "0s"),
            ("enable_custom_upgrades", "false"),
        ]);
        let expected = AutopilotConfig {
            cleanup_dead_servers: false,
            last_contact_threshold: Span::SECOND,
            max_trailing_logs: 500,
            min_quorum: 3,
            server_stabilization_time: Span::ZERO,
            ..AutopilotConfig::default()
        };
        assert_eq!((config, problems), (expected, Vec::new()));
        let wrong = [
            ("cleanup_dead_servers", "yes"),
            ("last_contact_threshold", "0s"),
            ("max_trailing_logs", "-1"),
            ("min_quorum", "1.5"),
            ("server_stabilization_time", "soon"),
            ("enable_redundancy_zones", "true"),
            ("disable_upgrade_migration", "true"),
            ("enable_custom_upgrades", "true"),
        ];
        let (_, problems) = resolved(&wrong);
        assert_eq!(problems.len(), wrong.len(), "{problems:?}");
        for (key, _) in wrong {
            let name = format!("`autopilot.{key}`");
            assert!(problems.iter().any(|text| text.contains(&name)), "{name}");
        }
    }
}
