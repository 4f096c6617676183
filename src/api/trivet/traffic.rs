//! Where requests go, and what came of them.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proxy::route::{Facts, RequestPath};
use serde::Serialize;

use crate::{Api, error::Error, nomad::query::Query};

/// The most headers of a request that is tried.
const HEADERS_MAX: usize = 64;

fn proxy(api: &Api) -> Result<&proxy::Handle, Error> {
    let proxy = api.proxy();
    proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))
}

/// `GET /v1/trivet/route/test?url=…&method=…&header=Name:Value`: where a request would go, and
/// why.
pub(super) async fn test(
    State(api): State<Api>,
    query: Query,
    RawQuery(raw): RawQuery,
) -> Result<Response, Error> {
    let url = query
        .get("url")
        .filter(|url| !url.is_empty())
        .ok_or_else(|| Error::bad_request("url is missing: give `host/path` or `/path`"))?;
    let (host, path, parameters) = parts(url);
    let mut headers = Vec::new();
    let raw = raw.unwrap_or_default();
    for (_, line) in url::form_urlencoded::parse(raw.as_bytes()).filter(|(key, _)| key == "header")
    {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Error::bad_request(format!("header `{line}` is not `Name: value`")))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        if headers.len() > HEADERS_MAX {
            return Err(Error::bad_request(format!(
                "more than {HEADERS_MAX} headers"
            )));
        }
    }
    let named = headers.iter().find(|(name, _)| name == "host");
    let host = named.map_or(host, |(_, host)| host.as_str());
    let path = RequestPath::new(path);
    let header = |name: &str| {
        let mut own = headers.iter();
        own.find(|(own, _)| own == name)
            .map(|(_, value)| value.as_bytes())
    };
    let facts = Facts {
        method: query.get("method").unwrap_or("GET"),
        path: path.decoded(),
        query: parameters,
        header: &header,
    };
    let found = proxy(&api)?.explain(host, &path, &facts);
    query.json(&found)
}

/// Host, path and query of a URL, or of `host/path`, or of a path.
fn parts(url: &str) -> (&str, &str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    match place.find('/') {
        Some(at) => {
            let (host, path) = place.split_at(at);
            (host, path, query)
        }
        None => (place, "/", query),
    }
}

/// What one target was asked and how it answered, since it is there.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counts<'a> {
    route: String,
    service: &'a str,
    version: &'a str,
    instance: &'a str,
    address: String,
    /// Part of the route's requests, 0 to 1.
    share: f64,
    in_flight: u64,
    /// Requests sent to it.
    attempts: u64,
    /// Of these, those that it answered with 5xx or not at all.
    failed: u64,
    /// Of these, those that were given to another one.
    retries: u64,
    /// Whole answers, and how long they took together in microseconds.
    timed: u64,
    total_us: u64,
}

/// `GET /v1/trivet/routes/counts`: what came of requests, by route and instance.
pub(super) async fn counts(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let table = proxy(&api)?.table();
    let rows = table.routes().flat_map(|route| {
        route.targets().iter().map(move |target| {
            let reading = target.meter().read();
            Counts {
                route: format!("{}{}", route.host(), route.path()),
                service: target.service(),
                version: target.version(),
                instance: target.instance(),
                address: target.address().to_string(),
                share: target.share(),
                in_flight: target.upstream().in_flight(),
                attempts: reading.attempts(),
                failed: reading.outcomes[4] + reading.outcomes[5],
                retries: reading.retries,
                timed: reading.timed,
                total_us: reading.total_us,
            }
        })
    });
    query.json(&rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn urls_hosts_and_paths_are_taken() {
        for (url, expected) in [
            (
                "http://shop.io:9999/a/b?c=d",
                ("shop.io:9999", "/a/b", "c=d"),
            ),
            ("shop.io", ("shop.io", "/", "")),
            ("shop.io?x", ("shop.io", "/", "x")),
            ("/a", ("", "/a", "")),
        ] {
            assert_eq!(parts(url), expected);
        }
    }
}
