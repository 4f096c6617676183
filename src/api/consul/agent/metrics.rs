//! Figures of the agent and of the catalog that it holds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use mesh::model::Status;
use mesh::view::View;
use serde::Serialize;
use serde_json::json;

use crate::consul::Catalog;
use crate::consul::query::{Query, json as answer};
use crate::error::Error;
use sys::clock;

/// A figure that goes up and down.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Gauge {
    name: &'static str,
    value: u64,
    labels: serde_json::Map<String, serde_json::Value>,
}

pub(super) async fn metrics(
    State(catalog): State<Catalog>,
    query: Query,
) -> Result<Response, Error> {
    let gauges = gauges(&catalog);
    if query.parameters.value("format") == Some("prometheus") {
        let content_type = [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )];
        return Ok((content_type, exposition(&gauges)).into_response());
    }
    let now = clock::now();
    let second = now - jobs::model::Span::from_nanos(now.as_nanos() % 1_000_000_000);
    let none: [(); 0] = [];
    answer(
        &query,
        &json!({
            "Timestamp": timestamp(&second.to_string()),
            "Gauges": gauges,
            "Points": none,
            "Counters": none,
            "Samples": none,
        }),
    )
}

/// `2026-01-01T00:00:00Z` as `2026-01-01 00:00:00 +0000 UTC`.
fn timestamp(text: &str) -> String {
    let text = text.trim_end_matches('Z').replace('T', " ");
    format!("{text} +0000 UTC")
}

fn gauges(catalog: &Catalog) -> Vec<Gauge> {
    let snapshot = catalog.snapshot();
    let metrics = catalog.server().raft_metrics();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let of_status = |status| count(snapshot.checks(Some(status)).count());
    let figures = [
        ("consul.catalog.index", snapshot.index()),
        ("consul.raft.applied_index", metrics.applied_index),
        ("consul.raft.last_index", metrics.last_log_index),
        ("consul.server.isLeader", u64::from(metrics.is_leader)),
        ("consul.state.checks.critical", of_status(Status::Critical)),
        ("consul.state.checks.passing", of_status(Status::Passing)),
        ("consul.state.checks.warning", of_status(Status::Warning)),
        ("consul.state.nodes", count(snapshot.nodes().count())),
        (
            "consul.state.service_instances",
            count(instances(&snapshot)),
        ),
        ("consul.state.services", count(services(&snapshot))),
    ];
    let gauge = |(name, value)| Gauge {
        name,
        value,
        labels: serde_json::Map::new(),
    };
    figures.into_iter().map(gauge).collect()
}

fn instances(snapshot: &View) -> usize {
    snapshot.all_services().filter(|row| row.is_shown()).count()
}

fn services(snapshot: &View) -> usize {
    let rows = snapshot.all_services().filter(|row| row.is_shown());
    rows.map(|row| &row.name).collect::<BTreeSet<_>>().len()
}

/// The text form that monitoring systems scrape.
fn exposition(gauges: &[Gauge]) -> String {
    let mut text = String::new();
    for gauge in gauges {
        let name = gauge.name.replace('.', "_");
        // Writing to a text cannot fail.
        let _written = write!(
            text,
            "# HELP {name} {name}\n# TYPE {name} gauge\n{name} {}\n",
            gauge.value
        );
    }
    text
}
