//! Where requests go, and what came of them.

use axum::{extract::State, response::Response};
use proxy::route::{Facts, RequestPath};
use serde::Serialize;
use server::traffic::{Ingress, RECENT_TIME, Row};
use std::time::Duration;

use crate::{Api, error::Error, nomad::query::Query};

/// The most headers of a request that is tried.
const HEADERS_MAX: usize = 64;

fn proxy(api: &Api) -> Result<&proxy::Handle, Error> {
    let proxy = api.proxy();
    proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))
}

/// `GET /v1/trivet/route/test?url=…&method=…&header=Name:Value`: where a request would go, and
/// why.
pub(super) async fn test(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let url = query
        .get("url")
        .filter(|url| !url.is_empty())
        .ok_or_else(|| Error::bad_request("url is missing: give `host/path` or `/path`"))?;
    let (host, path, parameters) = parts(url);
    let mut headers = Vec::new();
    for line in query.all("header") {
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

/// What the ingresses of all agents counted.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Traffic {
    ingresses: Vec<Teller>,
    rows: Vec<Counted>,
}

/// An agent that carries traffic and counts it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Teller {
    agent_id: String,
    /// Empty if the agent runs no tasks.
    node_id: String,
    /// How long ago it told something, in milliseconds.
    told_ms: u64,
    /// It should have told something since: what it counts is unknown.
    silent: bool,
    /// How many intervals it left out.
    missing: u64,
}

/// What somebody was asked, and how it ended it, at all ingresses together.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counted {
    route: String,
    service: String,
    version: String,
    instance: String,
    /// Attempts at it, connections of TCP routes among them.
    attempts: u64,
    /// Of these, those that it answered, by the hundred of the status: from 1xx to 5xx.
    answers: [u64; 5],
    /// Of these, those for which no connection was made.
    refused: u64,
    /// Of these, those without a whole answer.
    failed: u64,
    /// Of these, those whose client left.
    left: u64,
    /// Of these, connections of TCP routes that ended in good order.
    passed: u64,
    /// Of these, those that were followed by one at another instance.
    retries: u64,
    /// What it has now, on all routes.
    in_flight: u64,
    /// How long answers took together, in microseconds.
    answers_us: u64,
    /// Milliseconds that half of the answers did not exceed, 90 and 99 of 100; 0 without answers.
    #[serde(rename = "P50Ms")]
    p50_ms: f64,
    #[serde(rename = "P90Ms")]
    p90_ms: f64,
    #[serde(rename = "P99Ms")]
    p99_ms: f64,
}

/// `GET /v1/trivet/traffic?service=…&seconds=…`: what the ingresses of all agents counted, since
/// this server is there or in the last seconds.
pub(super) async fn traffic(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let service = query.get("service").filter(|name| !name.is_empty());
    let rows = match query.get("seconds") {
        None => api.server().traffic(service),
        Some(seconds) => {
            let most = RECENT_TIME.as_secs();
            let seconds = seconds.parse().ok();
            let seconds = seconds.filter(|seconds| (1..=most).contains(seconds));
            let seconds = seconds.ok_or_else(|| {
                Error::bad_request(format!("seconds is not a number from 1 to {most}"))
            })?;
            api.server()
                .recent_traffic(Duration::from_secs(seconds), service)
        }
    };
    let ingresses = api.server().ingresses();
    query.json(&Traffic {
        ingresses: ingresses.into_iter().map(teller).collect(),
        rows: rows.into_iter().map(counted).collect(),
    })
}

fn teller(ingress: Ingress) -> Teller {
    Teller {
        agent_id: ingress.agent_id,
        node_id: ingress.node_id.map(|id| id.to_string()).unwrap_or_default(),
        told_ms: u64::try_from(ingress.told.as_millis()).unwrap_or(u64::MAX),
        silent: ingress.is_silent,
        missing: ingress.missing,
    }
}

fn counted(row: Row) -> Counted {
    let Row { who, counts } = row;
    let quantile = |per_mille| {
        let us = counts.quantile_us(per_mille).unwrap_or_default();
        Duration::from_micros(us).as_secs_f64() * 1000.0
    };
    Counted {
        route: who.route.clone(),
        service: who.service.clone(),
        version: who.version.clone(),
        instance: who.instance.clone(),
        attempts: counts.attempts(),
        answers: counts.answers,
        refused: counts.refused,
        failed: counts.failed,
        left: counts.left,
        passed: counts.passed,
        retries: counts.retries,
        in_flight: counts.in_flight,
        answers_us: counts.total_us,
        p50_ms: quantile(500),
        p90_ms: quantile(900),
        p99_ms: quantile(990),
    }
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
    /// Of these, those that it answered with 5xx or not at all, or that it refused.
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
                failed: reading.outcomes[4..=6].iter().sum(),
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
