//! Events that users fire, and the last of them.
//!
//! They are kept by the agent in memory: nobody is promised that an event arrives, and none
//! outlives the agent. One server is all there is, so whoever fires and whoever listens meet here.

use std::collections::VecDeque;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::query::{Query, add_index_headers, json};
use super::{Catalog, read, write};
use crate::body::Raw;
use crate::error::Error;

/// Events that are kept.
const KEPT_MAX: usize = 256;
/// Longest event, with its name and filters, bytes.
const EVENT_BYTES_MAX: usize = 512;
/// Version of the form of events.
const VERSION: u8 = 1;
/// Largest compiled filter, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 18;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/event/fire/", write(missing_name))
        .route("/v1/event/fire/{*name}", write(fire))
        .route("/v1/event/list", read(list))
}

async fn missing_name() -> Error {
    Error::bad_request("Missing name")
}

/// An event. Source: event API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(rename = "ID")]
    id: uuid::Uuid,
    name: String,
    /// Base64; null when it is empty.
    payload: Option<String>,
    node_filter: String,
    service_filter: String,
    tag_filter: String,
    version: u8,
    #[serde(rename = "LTime")]
    time: u64,
}

/// The last events that concern this agent, and whoever waits for the next one.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: Mutex<VecDeque<Event>>,
    fired: watch::Sender<u64>,
}

impl Events {
    fn fire(&self, event: Event) {
        let mut kept = self.kept.lock();
        let mut time = 0;
        self.fired.send_modify(|count| {
            *count += 1;
            time = *count;
        });
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Event { time, ..event });
    }

    /// The last events, or those of one name, oldest first.
    fn named(&self, name: Option<&str>) -> Vec<Event> {
        let kept = self.kept.lock();
        let wanted = |event: &&Event| name.is_none_or(|name| event.name == name);
        kept.iter().filter(wanted).cloned().collect()
    }
}

/// What a reader of events waits on: no number that grows, but one that the last event has.
fn index(events: &[Event]) -> u64 {
    events.last().map_or(0, |event| {
        let (high, low) = event.id.as_u64_pair();
        high ^ low
    })
}

async fn fire(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let parameter = |name| query.parameters.get(name).unwrap_or_default().to_owned();
    let event = Event {
        id: uuid::Uuid::new_v4(),
        name,
        payload: (body.len() > 0).then(|| STANDARD.encode(body.bytes())),
        node_filter: parameter("node"),
        service_filter: parameter("service"),
        tag_filter: parameter("tag"),
        version: VERSION,
        time: 0,
    };
    let filters = [&event.node_filter, &event.service_filter, &event.tag_filter];
    let lengths = filters.map(String::len).iter().sum::<usize>();
    if event.name.len() + body.len() + lengths > EVENT_BYTES_MAX {
        return Err(Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("user event exceeds sane limit of {EVENT_BYTES_MAX} bytes before encoding"),
        ));
    }
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(Error::internal(
            "Cannot provide tag filter without service filter",
        ));
    }
    if concerns(&catalog, &event)? {
        catalog.shared.events.fire(event.clone());
    }
    json(&query, &event)
}

fn pattern(kind: &str, text: &str) -> Result<Regex, Error> {
    let built = RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    built.map_err(|error| Error::internal(format!("Invalid {kind} filter: {error}")))
}

/// Whether this agent, or a service of it, is meant.
fn concerns(catalog: &Catalog, event: &Event) -> Result<bool, Error> {
    let node = pattern("node", &event.node_filter)?;
    let service = pattern("service", &event.service_filter)?;
    let tag = pattern("tag", &event.tag_filter)?;
    let agent = catalog.agent();
    let is_node = node.is_match(&agent.node_name);
    if event.service_filter.is_empty() {
        return Ok(is_node);
    }
    let snapshot = catalog.snapshot();
    let mut services = snapshot.services_of_node(&agent.node_name);
    let has_tag =
        |tags: &[String]| event.tag_filter.is_empty() || tags.iter().any(|own| tag.is_match(own));
    let is_meant = services.any(|row| service.is_match(&row.name) && has_tag(&row.tags));
    Ok(is_node && is_meant)
}

async fn list(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let events = &catalog.shared.events;
    let mut fired = events.fired.subscribe();
    let end = Instant::now() + query.wait_with_jitter(&catalog);
    let name = query.parameters.get("name");
    loop {
        fired.mark_unchanged();
        let found = events.named(name);
        let index = index(&found);
        let is_news = query.index() == 0 || query.index() != index.max(1);
        if is_news || Instant::now() >= end || query.is_stopping() {
            let mut response = json(&query, &found)?;
            add_index_headers(response.headers_mut(), &catalog, &query, index);
            return Ok(response);
        }
        tokio::select! {
            _ = fired.changed() => {}
            () = sleep_until(end) => {}
            () = query.stopped() => {}
        }
    }
}
