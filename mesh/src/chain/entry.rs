//! What a chain needs of configuration entries, read from their JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Entries;

/// Reads an entry; one that cannot be read counts as empty, since writers were checked.
pub(super) fn read<T: for<'de> Deserialize<'de> + Default>(
    entries: &dyn Entries,
    kind: &str,
    name: &str,
) -> Option<T> {
    let entry = entries.entry(kind, name)?;
    Some(serde_json::from_value(entry).unwrap_or_default())
}

/// Mode of mesh gateways.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Gateway {
    #[serde(deserialize_with = "or_default")]
    pub(super) mode: String,
}

/// `service-defaults`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Defaults {
    #[serde(deserialize_with = "or_default")]
    pub(super) protocol: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) mesh_gateway: Gateway,
    #[serde(rename = "ExternalSNI", deserialize_with = "or_default")]
    pub(super) external_sni: String,
}

/// `proxy-defaults`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ProxyDefaults {
    #[serde(deserialize_with = "or_default")]
    pub(super) config: ProxyConfig,
    #[serde(deserialize_with = "or_default")]
    pub(super) mesh_gateway: Gateway,
}

/// The part of free proxy settings that matters here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProxyConfig {
    #[serde(deserialize_with = "or_default")]
    pub(super) protocol: String,
}

/// `service-router`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Router {
    #[serde(deserialize_with = "or_default")]
    pub(super) routes: Vec<Value>,
}

/// One route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RouteEntry {
    #[serde(deserialize_with = "or_default")]
    r#match: Match,
    #[serde(deserialize_with = "or_default")]
    pub(super) destination: Destination,
}

impl RouteEntry {
    pub(super) fn read(definition: &Value) -> Self {
        Self::deserialize(definition).unwrap_or_default()
    }

    pub(super) fn matches(&self) -> RouteMatch {
        let http = &self.r#match.http;
        RouteMatch {
            path_exact: http.path_exact.clone(),
            path_prefix: http.path_prefix.clone(),
            path_regex: http.path_regex.clone(),
            case_insensitive: http.case_insensitive,
            headers: http.header.iter().map(Matched::read).collect(),
            query: http.query_param.iter().map(Matched::read).collect(),
            methods: http.methods.clone(),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Match {
    #[serde(rename = "HTTP", deserialize_with = "or_default")]
    http: MatchHttp,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MatchHttp {
    #[serde(deserialize_with = "or_default")]
    path_exact: String,
    #[serde(deserialize_with = "or_default")]
    path_prefix: String,
    #[serde(deserialize_with = "or_default")]
    path_regex: String,
    #[serde(deserialize_with = "or_default")]
    case_insensitive: bool,
    #[serde(deserialize_with = "or_default")]
    header: Vec<Matched>,
    #[serde(deserialize_with = "or_default")]
    query_param: Vec<Matched>,
    #[serde(deserialize_with = "or_default")]
    methods: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Matched {
    name: String,
    #[serde(deserialize_with = "or_default")]
    exact: String,
    #[serde(deserialize_with = "or_default")]
    prefix: String,
    #[serde(deserialize_with = "or_default")]
    suffix: String,
    #[serde(deserialize_with = "or_default")]
    contains: String,
    #[serde(deserialize_with = "or_default")]
    regex: String,
    #[serde(deserialize_with = "or_default")]
    invert: bool,
    #[serde(deserialize_with = "or_default")]
    ignore_case: bool,
}

impl Matched {
    fn read(&self) -> HeaderMatch {
        let texts = [
            (MatchKind::Exact, &self.exact),
            (MatchKind::Prefix, &self.prefix),
            (MatchKind::Suffix, &self.suffix),
            (MatchKind::Contains, &self.contains),
            (MatchKind::Regex, &self.regex),
        ];
        let said = texts.into_iter().find(|(_, text)| !text.is_empty());
        let (kind, value) = said.map_or((MatchKind::Present, String::new()), |(kind, text)| {
            (kind, text.clone())
        });
        HeaderMatch {
            name: self.name.clone(),
            kind,
            value,
            is_inverted: self.invert,
            ignores_case: self.ignore_case,
        }
    }
}

/// Requests that a route takes: all that is said must hold; nothing said takes every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// The whole path; empty for any.
    pub path_exact: String,
    /// How the path starts; empty for any.
    pub path_prefix: String,
    /// A regular expression for the whole path; empty for any.
    pub path_regex: String,
    /// Whether paths are compared without case.
    pub case_insensitive: bool,
    /// Headers.
    pub headers: Vec<HeaderMatch>,
    /// Parameters of the query.
    pub query: Vec<HeaderMatch>,
    /// Methods, one of them; empty for any.
    pub methods: Vec<String>,
}

/// What is asked of a header or a query parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Its name.
    pub name: String,
    /// How it is compared.
    pub kind: MatchKind,
    /// With what; empty for [`MatchKind::Present`].
    pub value: String,
    /// Whether the request must not match.
    pub is_inverted: bool,
    /// Whether texts are compared without case.
    pub ignores_case: bool,
}

/// How a header or query parameter is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MatchKind {
    /// It is there.
    #[default]
    Present,
    /// It is equal.
    Exact,
    /// It starts so.
    Prefix,
    /// It ends so.
    Suffix,
    /// It has it inside.
    Contains,
    /// A regular expression matches all of it.
    Regex,
}

/// Where a route leads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Destination {
    #[serde(deserialize_with = "or_default")]
    pub(super) service: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) service_subset: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) prefix_rewrite: String,
}

/// `service-splitter`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Splitter {
    #[serde(deserialize_with = "or_default")]
    pub(super) splits: Vec<Value>,
}

/// One part of a splitter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SplitEntry {
    #[serde(deserialize_with = "or_default")]
    weight: f64,
    #[serde(deserialize_with = "or_default")]
    pub(super) service: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) service_subset: String,
}

impl SplitEntry {
    pub(super) fn read(definition: &Value) -> Self {
        Self::deserialize(definition).unwrap_or_default()
    }

    /// In hundredths of a percent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is clamped to what fits"
    )]
    pub(super) fn share(&self) -> u32 {
        (self.weight * 100.0)
            .round()
            .clamp(0.0, f64::from(super::WHOLE_SHARE)) as u32
    }
}

/// `service-resolver`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ResolverEntry {
    #[serde(deserialize_with = "or_default")]
    pub(super) default_subset: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) subsets: BTreeMap<String, Subset>,
    #[serde(deserialize_with = "or_default")]
    pub(super) redirect: Option<Elsewhere>,
    #[serde(deserialize_with = "or_default")]
    pub(super) failover: BTreeMap<String, Failover>,
    #[serde(deserialize_with = "duration")]
    pub(super) connect_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(super) request_timeout: Duration,
    #[serde(deserialize_with = "or_default")]
    pub(super) load_balancer: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Subset {
    #[serde(deserialize_with = "or_default")]
    pub(super) filter: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) only_passing: bool,
}

/// Another target, as far as it differs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Elsewhere {
    #[serde(deserialize_with = "or_default")]
    pub(super) service: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) service_subset: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) datacenter: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) peer: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Failover {
    #[serde(deserialize_with = "or_default")]
    service: String,
    #[serde(deserialize_with = "or_default")]
    service_subset: String,
    #[serde(deserialize_with = "or_default")]
    datacenters: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    targets: Vec<Elsewhere>,
    #[serde(deserialize_with = "or_default")]
    pub(super) policy: Option<Value>,
}

impl Failover {
    /// The targets that stand in, in order.
    pub(super) fn stand_ins(&self) -> Vec<Elsewhere> {
        let changed = |datacenter: &str| Elsewhere {
            service: self.service.clone(),
            service_subset: self.service_subset.clone(),
            datacenter: datacenter.to_owned(),
            ..Elsewhere::default()
        };
        if !self.datacenters.is_empty() {
            return self.datacenters.iter().map(|dc| changed(dc)).collect();
        }
        if self.targets.is_empty() {
            vec![changed("")]
        } else {
            self.targets.clone()
        }
    }
}

/// Nothing for null and for what has another type.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text such as `1m30s`, or a number of nanoseconds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let found = match Value::deserialize(deserializer)? {
        Value::String(text) => parse_duration(&text),
        Value::Number(number) => number.as_u64().map(Duration::from_nanos),
        _ => None,
    };
    Ok(found.unwrap_or_default())
}

fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, later) = after.split_at_checked(letters)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = later;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_texts_or_nanoseconds() {
        for (text, milliseconds) in [("5s", 5000), ("1m30s", 90_000), ("1.5h", 5_400_000)] {
            let found = parse_duration(text).unwrap();
            assert_eq!(found.as_millis(), milliseconds, "{text}");
        }
        for text in ["5", "s", "1x", "1e9s", "-1s", "9999999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        let entry =
            serde_json::json!({"ConnectTimeout": 7_000_000_000_u64, "RequestTimeout": null});
        let entry = ResolverEntry::deserialize(entry).unwrap();
        assert_eq!(entry.connect_timeout, Duration::from_secs(7));
        assert_eq!(entry.request_timeout, Duration::ZERO);
    }

    #[test]
    fn a_header_that_says_nothing_more_has_to_be_there() {
        let definition = serde_json::json!({"Match": {"HTTP": {"Header": [
            {"Name": "x-debug"}, {"Name": "x-user", "Prefix": "a", "Invert": true}
        ]}}});
        let headers = RouteEntry::read(&definition).matches().headers;
        assert_eq!(headers[0].kind, MatchKind::Present);
        assert_eq!(
            (headers[1].kind, headers[1].value.as_str()),
            (MatchKind::Prefix, "a")
        );
        assert!(headers[1].is_inverted);
    }
}
