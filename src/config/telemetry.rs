//! What of an agent's figures is told, and to whom they are pushed.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use std::time::Duration;

/// Between two times of pushing, unless it is set.
const INTERVAL: Duration = Duration::from_secs(1);
/// The least, and the most.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// Most tags of one's own.
const TAGS_MAX: usize = 64;

/// What of an agent's figures is told, and to whom they are pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The jobs API does not answer in the format of Prometheus.
    pub hides_prometheus: bool,
    /// What running tasks use is told too.
    pub tells_allocations: bool,
    /// What the machine uses is told too.
    pub tells_node: bool,
    /// Who is told without asking.
    pub receivers: Vec<Receiver>,
    /// How often.
    pub interval: Duration,
    /// The name of the host, as it is told with each level; none to tell none.
    pub host: Option<String>,
}

/// Somebody to whom figures are pushed, over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Host and port.
    pub address: String,
    /// Tags that each figure gets, `KEY:VALUE`, beside those of its own; none for a receiver that
    /// knows no tags.
    pub tags: Option<Vec<String>>,
}

/// The keys of `telemetry`, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenTelemetry {
    pub prometheus_metrics: Option<bool>,
    pub statsd_address: Option<String>,
    pub datadog_address: Option<String>,
    pub datadog_tags: Option<Vec<String>>,
    pub collection_interval: Option<String>,
    pub disable_hostname: Option<bool>,
    pub use_node_name: Option<bool>,
    pub publish_allocation_metrics: Option<bool>,
    pub publish_node_metrics: Option<bool>,
}

impl WrittenTelemetry {
    const KEYS: [&str; 9] = [
        "prometheus_metrics",
        "statsd_address",
        "datadog_address",
        "datadog_tags",
        "collection_interval",
        "disable_hostname",
        "use_node_name",
        "publish_allocation_metrics",
        "publish_node_metrics",
    ];

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            prometheus_metrics: other.prometheus_metrics.or(self.prometheus_metrics),
            statsd_address: other.statsd_address.or(self.statsd_address),
            datadog_address: other.datadog_address.or(self.datadog_address),
            datadog_tags: other.datadog_tags.or(self.datadog_tags),
            collection_interval: other.collection_interval.or(self.collection_interval),
            disable_hostname: other.disable_hostname.or(self.disable_hostname),
            use_node_name: other.use_node_name.or(self.use_node_name),
            publish_allocation_metrics: other
                .publish_allocation_metrics
                .or(self.publish_allocation_metrics),
            publish_node_metrics: other.publish_node_metrics.or(self.publish_node_metrics),
        }
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "prometheus_metrics" => self.prometheus_metrics = reader.flag(&inner),
                "statsd_address" => self.statsd_address = reader.text(&inner),
                "datadog_address" => self.datadog_address = reader.text(&inner),
                "datadog_tags" => self.datadog_tags = reader.texts(&inner),
                "collection_interval" => self.collection_interval = reader.text(&inner),
                "disable_hostname" => self.disable_hostname = reader.flag(&inner),
                "use_node_name" => self.use_node_name = reader.flag(&inner),
                "publish_allocation_metrics" => {
                    self.publish_allocation_metrics = reader.flag(&inner);
                }
                "publish_node_metrics" => self.publish_node_metrics = reader.flag(&inner),
                _ => reader.unknown(&inner, "telemetry", &Self::KEYS),
            }
        }
    }

    pub(super) fn resolve(
        &self,
        (host, node): (String, &str),
        problems: &mut Vec<Problem>,
    ) -> Telemetry {
        let tags = self.datadog_tags.clone().unwrap_or_default();
        check_tags(&tags, problems);
        let statsd = address("statsd_address", self.statsd_address.as_deref(), problems);
        let datadog = address("datadog_address", self.datadog_address.as_deref(), problems);
        let plain = statsd.map(|address| Receiver {
            address,
            tags: None,
        });
        let tagged = datadog.map(|address| Receiver {
            address,
            tags: Some(tags),
        });
        Telemetry {
            hides_prometheus: self.prometheus_metrics == Some(false),
            tells_allocations: self.publish_allocation_metrics == Some(true),
            tells_node: self.publish_node_metrics == Some(true),
            receivers: plain.into_iter().chain(tagged).collect(),
            interval: self.interval(problems),
            host: match (self.use_node_name, self.disable_hostname) {
                (Some(true), _) => Some(node.to_owned()),
                (_, Some(true)) => None,
                _ => Some(host),
            },
        }
    }

    fn interval(&self, problems: &mut Vec<Problem>) -> Duration {
        let Some(text) = &self.collection_interval else {
            return INTERVAL;
        };
        let key = "telemetry.collection_interval";
        let found = problems.len();
        let interval = duration(key, text, problems);
        let is_read = problems.len() == found;
        if is_read && !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
            let message = format!("`{key}` is `{text}`; it must be from `100ms` to `1h`");
            problems.push(Problem::new(SETTINGS, message));
        }
        interval
    }

    /// What is to be said of keys that mean nothing where nothing is pushed.
    pub(super) fn notes(&self) -> Vec<String> {
        let is_pushed =
            |address: &Option<String>| address.as_deref().is_some_and(|to| !to.is_empty());
        let tags = self.datadog_tags.as_ref().filter(|tags| !tags.is_empty());
        let anybody = is_pushed(&self.statsd_address) || is_pushed(&self.datadog_address);
        let keys = [
            ("collection_interval", self.collection_interval.is_some()),
            ("use_node_name", self.use_node_name == Some(true)),
        ];
        let unused = keys.into_iter().filter(|(_, is_set)| *is_set && !anybody);
        let tags = tags.filter(|_| !is_pushed(&self.datadog_address));
        let unused = unused.chain(tags.map(|_| ("datadog_tags", true)));
        let note =
            |(key, _)| format!("`telemetry.{key}` is about figures that are pushed, and none are");
        unused.map(note).collect()
    }
}

/// Host and port of a receiver; none for an empty text.
fn address(key: &str, text: Option<&str>, problems: &mut Vec<Problem>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    if !is_place(text) {
        let message = format!(
            "`telemetry.{key}` is `{text}`; it must be a host and a port such as `127.0.0.1:8125`"
        );
        problems.push(Problem::new(SETTINGS, message));
    }
    Some(text.to_owned())
}

/// Whether a text is a host and a port.
pub(super) fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bare = !host.contains([':', '/', ' ']);
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (is_bare || is_v6) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn check_tags(tags: &[String], problems: &mut Vec<Problem>) {
    if tags.len() > TAGS_MAX {
        let message = format!(
            "`telemetry.datadog_tags` has {} tags, at most {TAGS_MAX} are allowed",
            tags.len()
        );
        problems.push(Problem::new(SETTINGS, message));
    }
    let ends = |letter: char| matches!(letter, ',' | '|' | '#') || letter.is_whitespace();
    let wrong = tags
        .iter()
        .filter(|tag| tag.is_empty() || tag.len() > 200 || tag.contains(ends));
    for tag in wrong {
        let message = format!(
            "`telemetry.datadog_tags` has `{tag}`; a tag is a text such as `team:web` of at most 200 bytes, without spaces, `,`, `|` and `#`"
        );
        problems.push(Problem::new(SETTINGS, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    /// What a block comes to, with the sentences: problems, keys that are not acted on, and notes.
    fn resolved(block: &str) -> (Telemetry, [Vec<String>; 3]) {
        let text = format!("telemetry {{\n{block}\n}}\n");
        let mut problems = Vec::new();
        let mut written = WrittenTelemetry::default();
        let mut reader = Reader::new("a.hcl", &mut problems);
        for entry in file::parse("a.hcl", &text).unwrap() {
            written.take(entry, &mut reader);
        }
        let ignored = reader.ignored;
        let telemetry = written.resolve(("box".into(), "one"), &mut problems);
        let problems = problems.into_iter().map(|one| one.message).collect();
        (telemetry, [problems, ignored, written.notes()])
    }

    fn pushed(address: &str, tags: Option<&[&str]>) -> Receiver {
        let owned = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
        Receiver {
            address: address.into(),
            tags: tags.map(owned),
        }
    }

    #[test]
    fn what_is_written_is_taken() {
        let usual = || Telemetry {
            interval: Duration::from_secs(1),
            host: Some("box".into()),
            ..Telemetry::default()
        };
        for (block, expected) in [
            ("", usual()),
            ("prometheus_metrics = true", usual()),
            ("disable_hostname = false\nstatsd_address = \"\"", usual()),
            (
                "prometheus_metrics = false",
                Telemetry {
                    hides_prometheus: true,
                    ..usual()
                },
            ),
            (
                "publish_allocation_metrics = true\npublish_node_metrics = false",
                Telemetry {
                    tells_allocations: true,
                    ..usual()
                },
            ),
            (
                "publish_node_metrics = true",
                Telemetry {
                    tells_node: true,
                    ..usual()
                },
            ),
            (
                "disable_hostname = true",
                Telemetry {
                    host: None,
                    ..usual()
                },
            ),
            (
                "statsd_address = \"stats.example:8125\"\ncollection_interval = \"10s\"\nuse_node_name = true\ndisable_hostname = true",
                Telemetry {
                    receivers: vec![pushed("stats.example:8125", None)],
                    interval: Duration::from_secs(10),
                    host: Some("one".into()),
                    ..usual()
                },
            ),
            (
                "statsd_address = \"127.0.0.1:8125\"\ndatadog_address = \"[::1]:8126\"\ndatadog_tags = [\"team:web\"]",
                Telemetry {
                    receivers: vec![
                        pushed("127.0.0.1:8125", None),
                        pushed("[::1]:8126", Some(&["team:web"])),
                    ],
                    ..usual()
                },
            ),
        ] {
            let none: [Vec<String>; 3] = Default::default();
            assert_eq!(resolved(block), (expected, none), "{block}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_what_is_not_done_is_told() {
        for (block, part) in [
            (
                "statsd_address = \"stats\"",
                "`telemetry.statsd_address` is `stats`; it must be",
            ),
            ("statsd_address = \"h:0\"", "`h:0`"),
            ("statsd_address = \":8125\"", "`:8125`"),
            ("statsd_address = \"::1:8125\"", "`::1:8125`"),
            (
                "datadog_address = \"unix:///var/run/datadog.sock\"",
                "`telemetry.datadog_address` is `unix:///var/run/datadog.sock`",
            ),
            (
                "datadog_address = \"h:1\"\ndatadog_tags = [\"a b\"]",
                "`telemetry.datadog_tags` has `a b`",
            ),
            ("collection_interval = \"1ms\"", "from `100ms` to `1h`"),
            (
                "collection_interval = \"soon\"",
                "`soon`, which is no duration",
            ),
            (
                "prometheus_metrics = 1",
                "`prometheus_metrics` must be true or false",
            ),
            ("statsd = \"h:1\"", "unknown key `telemetry.statsd`"),
        ] {
            let (_, [problems, ..]) = resolved(block);
            assert_eq!(problems.len(), 1, "{block}: {problems:?}");
            assert!(problems[0].contains(part), "{block}: {problems:?}");
        }
        for (key, value) in [
            ("allowed_metadata_keys_in_metrics", "[\"a\"]"),
            ("circonus_api_token", "\"t\""),
            ("circonus_submission_url", "\"http://h\""),
            ("disable_allocation_hook_metrics", "true"),
            ("disable_dispatched_job_summary_metrics", "true"),
            ("filter_default", "false"),
            ("in_memory_collection_interval", "\"10s\""),
            ("include_alloc_metadata_in_metrics", "true"),
            ("prefix_filter", "[\"-nomad.raft\"]"),
            ("statsite_address", "\"h:1\""),
        ] {
            let (_, [problems, ignored, _]) = resolved(&format!("{key} = {value}"));
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(ignored, [format!("telemetry.{key}")]);
        }
        for (key, value) in [
            ("collection_interval", "\"10s\""),
            ("use_node_name", "true"),
            ("datadog_tags", "[\"a:b\"]"),
        ] {
            let (_, [problems, ignored, notes]) = resolved(&format!("{key} = {value}"));
            assert_eq!((problems, ignored), (Vec::new(), Vec::new()));
            let note = format!("`telemetry.{key}` is about figures that are pushed, and none are");
            assert_eq!(notes, [note]);
        }
    }
}
