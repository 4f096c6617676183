//! The parameters that reads share.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use mesh::model::Node;

use super::Catalog;
use super::response::Error;

/// How long a read waits when it does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// The longest that a read waits, before jitter.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// How fresh the reader wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consistency {
    /// As fresh as the replica is.
    Default,
    /// Refused while no leader is known.
    Consistent,
    /// Whatever is there.
    Stale,
}

/// The parameters of a read, checked.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Wait until the index passes this; 0 answers at once.
    pub(super) index: u64,
    /// Longest wait, before jitter.
    pub(super) wait: Duration,
    pub(super) consistency: Consistency,
    pub(super) is_pretty: bool,
    pub(super) is_cached: bool,
    pub(super) wants_wan: bool,
    /// Only instances without a failing check.
    pub(super) is_passing: bool,
    /// Tags that must all be present.
    pub(super) tags: Vec<String>,
    /// Node metadata that must all be present.
    pub(super) node_meta: Vec<(String, String)>,
}

impl Query {
    /// Whether the node has every pair of metadata that was asked for.
    pub(super) fn wants_node(&self, node: &Node) -> bool {
        self.node_meta
            .iter()
            .all(|(key, value)| node.meta.get(key) == Some(value))
    }
}

/// The parameters as written, in order.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    fn is_set(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| !value.is_empty())
    }
}

/// [`Query`], or why it was refused, as an extractor.
pub(super) struct Checked(pub(super) Result<Query, Error>);

impl FromRequestParts<Catalog> for Checked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, catalog: &Catalog) -> Result<Self, Infallible> {
        let raw = parts.uri.query().unwrap_or_default();
        let pairs = Pairs(
            url::form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        );
        Ok(Self(check(&pairs, catalog)))
    }
}

fn check(pairs: &Pairs, catalog: &Catalog) -> Result<Query, Error> {
    refuse_unsupported(pairs)?;
    let index = pairs.first("index").filter(|text| !text.is_empty());
    let index = index.map(|text| {
        text.parse()
            .map_err(|_| Error::bad_request("Invalid index"))
    });
    let query = Query {
        wait: wait(pairs)?,
        index: index.transpose()?.unwrap_or(0),
        consistency: consistency(pairs)?,
        is_pretty: pairs.has("pretty"),
        is_cached: pairs.has("cached"),
        wants_wan: pairs.is_set("wan"),
        is_passing: passing(pairs)?,
        tags: pairs
            .all("tag")
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
        node_meta: pairs
            .all("node-meta")
            .map(|pair| pair.split_once(':').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    let is_local = |dc: &str| dc.is_empty() || dc == catalog.agent().datacenter;
    if !pairs.all("dc").all(is_local) {
        return Err(Error::internal("No path to datacenter"));
    }
    if query.consistency == Consistency::Consistent && catalog.cluster.borrow().leader.is_none() {
        return Err(Error::internal("No cluster leader"));
    }
    Ok(query)
}

/// Reads how long the read may wait: 0 and nothing mean the default, too long means the longest.
fn wait(pairs: &Pairs) -> Result<Duration, Error> {
    let Some(text) = pairs.first("wait").filter(|text| !text.is_empty()) else {
        return Ok(WAIT_DEFAULT);
    };
    match go_duration(text) {
        None => Err(Error::bad_request("Invalid wait time")),
        Some(Duration::ZERO) => Ok(WAIT_DEFAULT),
        Some(wait) => Ok(wait.min(WAIT_MAX)),
    }
}

/// Refuses what would otherwise be silently left out of the answer.
fn refuse_unsupported(pairs: &Pairs) -> Result<(), Error> {
    let is_foreign = |name| {
        pairs
            .first(name)
            .is_some_and(|value| !matches!(value, "" | "default"))
    };
    if is_foreign("ns") {
        return Err(Error::bad_request(
            "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
        ));
    }
    if is_foreign("partition") || is_foreign("ap") {
        return Err(Error::bad_request(
            "Bad request: Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature",
        ));
    }
    if pairs.is_set("filter") {
        return Err(Error::bad_request(
            "filter expressions are not supported yet",
        ));
    }
    if pairs.is_set("peer") {
        return Err(Error::bad_request("cluster peering is not supported"));
    }
    Ok(())
}

fn consistency(pairs: &Pairs) -> Result<Consistency, Error> {
    let is_consistent = pairs.has("consistent");
    let max_stale = match pairs.first("max_stale").filter(|text| !text.is_empty()) {
        None => Duration::ZERO,
        Some(text) => {
            go_duration(text).ok_or_else(|| Error::bad_request("Invalid max_stale value"))?
        }
    };
    let is_stale = pairs.has("stale") || !max_stale.is_zero();
    if is_stale && is_consistent {
        return Err(Error::bad_request(
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ));
    }
    if pairs.has("cached") && is_consistent {
        return Err(Error::bad_request(
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ));
    }
    Ok(match (is_consistent, is_stale) {
        (true, _) => Consistency::Consistent,
        (_, true) => Consistency::Stale,
        _ => Consistency::Default,
    })
}

fn passing(pairs: &Pairs) -> Result<bool, Error> {
    match pairs.first("passing") {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Error::bad_request("Invalid value for ?passing")),
    }
}

/// Longest duration text that is read, bytes.
const DURATION_BYTES_MAX: usize = 64;

/// Reads a duration such as `10s`, `1m30s`, `1.5h` or `15000ms`; a number needs a unit, except 0.
///
/// A negative or overlong duration is none.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() || rest.len() > DURATION_BYTES_MAX {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        seconds += number.parse::<f64>().ok()? * unit_seconds(unit)?;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_a_default_and_a_limit() {
        let waits = |text: &str| {
            let pairs = Pairs(vec![("wait".to_owned(), text.to_owned())]);
            wait(&pairs).map(|wait| wait.as_secs()).ok()
        };
        assert_eq!(wait(&Pairs(Vec::new())), Ok(WAIT_DEFAULT));
        assert_eq!(waits(""), Some(300));
        assert_eq!(waits("0s"), Some(300));
        assert_eq!(waits("4s"), Some(4));
        assert_eq!(waits("2h"), Some(600));
        assert_eq!(waits("10"), None);
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, milliseconds) in [
            ("0", Some(0)),
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1500ms", Some(1_500)),
            ("1.5h", Some(5_400_000)),
            ("+2s", Some(2_000)),
            ("10", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1x", None),
            ("1..5s", None),
            ("9999999999999999999999h", None),
        ] {
            assert_eq!(
                go_duration(text),
                milliseconds.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
