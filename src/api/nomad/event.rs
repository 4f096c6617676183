//! The event stream: a line of JSON for each log entry that changed something, and a sign of life
//! in between.
//!
//! Besides the published topics there are some of our own, which are told only to those who name
//! them: `Rollout`, `CatalogService`, `Key`, `RouteOverrides`, and `Traffic`, which is told once a
//! second and stands in no log entry.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use jobs::wire;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    task::yield_now,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{query::Query, service};
use crate::{Api, error::Error, listener::Stopping, live::Live};
use server::{
    Snapshot,
    events::{Batch, Event, Follower, Row, Start, Topic},
};

/// How long the stream may be silent before it says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two looks at the counts of the ingress.
const TRAFFIC_INTERVAL: Duration = Duration::from_secs(1);
/// The most topics that a request may name.
const TOPICS_MAX: usize = 64;
/// Events that are written before others get their turn on the thread.
const EVENTS_AT_ONCE: usize = 32;
/// A sign of life.
const ALIVE: &[u8] = b"{}\n";

/// The endpoint of the event stream.
pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/event/stream", get(stream_events))
}

/// A topic by the name that a request gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// One that log entries tell of.
    Of(Topic),
    /// What the ingress counts.
    Traffic,
    /// A published one of which nothing is told here.
    Never,
    /// All published ones.
    All,
}

fn named(name: &str) -> Option<Named> {
    Some(match name {
        "*" => Named::All,
        "Traffic" => Named::Traffic,
        "Job" => Named::Of(Topic::Job),
        "Evaluation" => Named::Of(Topic::Evaluation),
        "Allocation" => Named::Of(Topic::Allocation),
        "Deployment" => Named::Of(Topic::Deployment),
        "Node" => Named::Of(Topic::Node),
        "Service" => Named::Of(Topic::Service),
        "Variable" => Named::Of(Topic::Variable),
        "Rollout" => Named::Of(Topic::Rollout),
        "CatalogService" => Named::Of(Topic::CatalogService),
        "Key" => Named::Of(Topic::Key),
        "RouteOverrides" => Named::Of(Topic::RouteOverrides),
        "NodePool" | "HostVolume" | "CSIVolume" | "CSIPlugin" | "Operator" | "ACLPolicy"
        | "ACLToken" | "ACLRole" | "ACLAuthMethod" | "ACLBindingRule" => Named::Never,
        _ => return None,
    })
}

fn name(topic: Topic) -> &'static str {
    match topic {
        Topic::Job => "Job",
        Topic::Evaluation => "Evaluation",
        Topic::Allocation => "Allocation",
        Topic::Deployment => "Deployment",
        Topic::Node => "Node",
        Topic::Service => "Service",
        Topic::Variable => "Variable",
        Topic::Rollout => "Rollout",
        Topic::CatalogService => "CatalogService",
        Topic::Key => "Key",
        Topic::RouteOverrides => "RouteOverrides",
    }
}

/// Whether the published API has the topic.
fn is_published(topic: Topic) -> bool {
    match topic {
        Topic::Job
        | Topic::Evaluation
        | Topic::Allocation
        | Topic::Deployment
        | Topic::Node
        | Topic::Service
        | Topic::Variable => true,
        Topic::Rollout | Topic::CatalogService | Topic::Key | Topic::RouteOverrides => false,
    }
}

/// What a request wants to hear of.
#[derive(Clone, Debug)]
struct Wish {
    /// A topic, and the key that its events must have; none for any.
    topics: Vec<(Named, Option<String>)>,
    /// None for every namespace.
    namespace: Option<String>,
    /// Whether rows are wanted too.
    payload: bool,
}

impl Wish {
    fn of(query: &Query) -> Result<Self, Error> {
        let mut topics = Vec::new();
        for text in query.all("topic") {
            let (topic, key) = text.split_once(':').unwrap_or((text, "*"));
            let named = named(topic).ok_or_else(|| {
                Error::bad_request(format!("Invalid key value pair for topic: {text:?}"))
            })?;
            topics.push((named, (key != "*").then(|| key.to_owned())));
        }
        if topics.len() > TOPICS_MAX {
            let message = format!("more than {TOPICS_MAX} topics");
            return Err(Error::bad_request(message));
        }
        if topics.is_empty() {
            topics.push((Named::All, None));
        }
        Ok(Self {
            topics,
            namespace: query.namespace.clone(),
            payload: query.switch("payload", true)?,
        })
    }

    fn wants(&self, event: &Event) -> bool {
        let is_there = match (&self.namespace, event.namespace()) {
            (Some(wanted), Some(namespace)) => wanted == namespace,
            (None, _) | (_, None) => true,
        };
        let topic = event.topic();
        let is_named = |(named, key): &(Named, Option<String>)| {
            let fits = match named {
                Named::All => is_published(topic),
                Named::Of(wanted) => *wanted == topic,
                Named::Traffic | Named::Never => false,
            };
            let has = |key: &String| *key == event.key() || event.filter_keys().contains(key);
            fits && key.as_ref().is_none_or(has)
        };
        is_there && self.topics.iter().any(is_named)
    }

    /// The services whose traffic is wanted, none for all; nothing without traffic.
    fn traffic(&self) -> Option<Option<Vec<String>>> {
        let keys: Vec<&Option<String>> = self
            .topics
            .iter()
            .filter(|(named, _)| *named == Named::Traffic)
            .map(|(_, key)| key)
            .collect();
        if keys.is_empty() {
            return None;
        }
        Some(keys.into_iter().cloned().collect())
    }
}

/// `GET /v1/event/stream?topic=…&index=…&namespace=…`; ours are `replay=false`, which begins with
/// what comes next, and `payload=false`, which leaves the rows out.
async fn stream_events(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let wish = Wish::of(&query)?;
    let start = match query.asked_index() {
        0 if query.switch("replay", true)? => Start::Oldest,
        0 => Start::Next,
        index => Start::At(index),
    };
    let follower = api.server().events(start);
    let ticks = |begin, every| {
        let mut ticks = interval_at(begin, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let now = Instant::now();
    let traffic = wish.traffic();
    let teller = Teller {
        traffic: traffic.map(|services| (Live::new(services), ticks(now, TRAFFIC_INTERVAL))),
        heartbeat: ticks(now + HEARTBEAT, HEARTBEAT),
        stopping: query.stopping(),
        follower,
        wish,
        api,
    };
    let pieces = stream::unfold(teller, |mut teller| async move {
        let piece = teller.next().await?;
        Some((Ok::<_, Infallible>(piece), teller))
    });
    // It says at once that it is open.
    let open = stream::once(async { Ok(Bytes::from_static(ALIVE)) });
    let pieces = open.chain(pieces);
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What one stream is told from. It holds a place among the events and nothing of them.
struct Teller {
    api: Api,
    wish: Wish,
    follower: Follower,
    traffic: Option<(Live, Interval)>,
    heartbeat: Interval,
    stopping: Stopping,
}

impl Teller {
    /// The next line; none at the end: the listener stops, or events were missed.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let traffic = async {
                match &mut self.traffic {
                    Some((live, ticks)) => {
                        ticks.tick().await;
                        live
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Those that come seldom go first, so that a flood of events keeps none of them
                // back.
                biased;
                () = self.stopping.0.cancelled() => return None,
                _ = self.heartbeat.tick() => return Some(Bytes::from_static(ALIVE)),
                live = traffic => {
                    if let Some(news) = live.news(&self.api) {
                        self.heartbeat.reset();
                        return Some(news);
                    }
                }
                batch = self.follower.next() => {
                    let batch = batch?;
                    if let Some(line) = line(&self.api, &self.wish, &batch).await {
                        self.heartbeat.reset();
                        return Some(line);
                    }
                }
            }
        }
    }
}

/// An event as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    topic: &'static str,
    #[serde(rename = "Type")]
    kind: &'static str,
    key: String,
    namespace: String,
    filter_keys: Vec<String>,
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

/// The line of a batch; none if nothing of it is wanted.
async fn line(api: &Api, wish: &Wish, batch: &Arc<Batch>) -> Option<Bytes> {
    let wanted: Vec<&Event> = batch
        .events
        .iter()
        .filter(|event| wish.wants(event))
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let snapshot = wish.payload.then(|| api.server().snapshot());
    let mut line = format!("{{\"Index\":{},\"Events\":[", batch.index).into_bytes();
    for (at, event) in wanted.into_iter().enumerate() {
        if at > 0 {
            line.push(b',');
            if at % EVENTS_AT_ONCE == 0 {
                yield_now().await;
            }
        }
        let shown = Shown {
            topic: name(event.topic()),
            kind: event.kind,
            key: event.key(),
            namespace: event.namespace().unwrap_or_default().to_owned(),
            filter_keys: event.filter_keys(),
            index: batch.index,
            payload: snapshot
                .as_ref()
                .map(|snapshot| payload(snapshot, &event.row)),
        };
        // Values have text keys only, so that this cannot fail.
        serde_json::to_writer(&mut line, &shown).ok()?;
    }
    line.extend_from_slice(b"]}\n");
    Some(line.into())
}

/// A row under its name.
fn payload(snapshot: &Snapshot, row: &Row) -> Value {
    let shown = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
    let mut out = Map::new();
    match row {
        Row::Job(job, deleted) => {
            let job = wire::Complete(job, &wire::shapes::JOB);
            out.insert("Job".into(), shown(serde_json::to_value(job)));
            if *deleted {
                out.insert("Deleted".into(), true.into());
            }
        }
        Row::Evaluation(eval) => {
            let eval = wire::Complete(eval, &wire::shapes::EVALUATION);
            out.insert("Evaluation".into(), shown(serde_json::to_value(eval)));
        }
        Row::Allocation(alloc) => {
            let alloc = super::alloc::whole(Arc::clone(alloc));
            let mut alloc = shown(serde_json::to_value(alloc));
            // The published stream leaves it out, because it is large.
            alloc["Job"] = Value::Null;
            out.insert("Allocation".into(), alloc);
        }
        Row::Deployment(deployment) => {
            out.insert("Deployment".into(), shown(serde_json::to_value(deployment)));
        }
        Row::Node(node) => {
            let node = wire::Complete(wire::Node::new(node), &wire::shapes::NODE);
            out.insert("Node".into(), shown(serde_json::to_value(node)));
        }
        Row::Service(instance) => {
            let registration = service::registration(snapshot, instance);
            out.insert("Service".into(), shown(serde_json::to_value(registration)));
        }
        Row::Variable(_, variable) => {
            let metadata = variable.as_ref().map(|row| wire::Variable::from(&**row));
            out.insert("Metadata".into(), shown(serde_json::to_value(metadata)));
            if variable.is_none() {
                out.insert("Deleted".into(), true.into());
            }
        }
        Row::Rollout(deployment, name, revision) => {
            let group = deployment.task_groups.get(name);
            let rollout = group.and_then(|group| group.rollout.as_ref());
            let mut transitions = rollout.into_iter().flat_map(|own| &own.transitions);
            let own = transitions.find(|own| own.revision == *revision);
            let mut transition = shown(serde_json::to_value(own));
            if let Value::Object(fields) = &mut transition {
                for (key, value) in [
                    ("Deployment", deployment.id.to_string()),
                    ("Job", deployment.job_id.to_string()),
                    ("Group", name.to_string()),
                ] {
                    fields.insert(key.into(), value.into());
                }
            }
            out.insert("Rollout".into(), transition);
        }
        Row::CatalogService(_) | Row::Key(_) | Row::RouteOverrides => {}
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::{Evaluation, Job, Node};

    fn wish(text: &str) -> Result<Wish, Error> {
        Wish::of(&Query::of_text(text)?)
    }

    fn event(row: Row) -> Event {
        Event {
            kind: "JobRegistered",
            row,
        }
    }

    #[test]
    fn topics_keys_and_namespaces_choose_events() {
        let job = |namespace: &str| {
            let job = Job {
                id: "web".into(),
                namespace: namespace.into(),
                ..Job::default()
            };
            event(Row::Job(Arc::new(job), false))
        };
        let eval = event(Row::Evaluation(Arc::new(Evaluation {
            job_id: "web".into(),
            namespace: "default".into(),
            ..Evaluation::default()
        })));
        let node = event(Row::Node(Arc::new(Node::default())));
        let key = event(Row::Key("a".into()));
        for (text, event, expected) in [
            ("", &job("default"), true),
            ("", &job("other"), false),
            ("namespace=*", &job("other"), true),
            ("topic=Job", &job("default"), true),
            ("topic=Job:web", &job("default"), true),
            ("topic=Job:*", &job("default"), true),
            ("topic=Job:we", &job("default"), false),
            ("topic=Node", &job("default"), false),
            ("topic=Node&topic=Job:web", &job("default"), true),
            ("topic=Evaluation:web", &eval, true),
            ("topic=Evaluation:other", &eval, false),
            // Rows outside of namespaces are told in each.
            ("namespace=other&topic=Node", &node, true),
            ("topic=NodePool", &node, false),
            ("topic=*:web", &eval, true),
            // Ours have to be named.
            ("", &key, false),
            ("topic=Key", &key, true),
            ("topic=Key:a", &key, true),
            ("topic=Key:b", &key, false),
            ("topic=Traffic", &key, false),
        ] {
            assert_eq!(wish(text).unwrap().wants(event), expected, "{text}");
        }
        assert!(wish("topic=Nothing").is_err());
        assert!(wish(&"topic=Job&".repeat(TOPICS_MAX + 1)).is_err());
    }

    #[test]
    fn traffic_is_of_all_services_or_of_those_named() {
        let traffic = |text: &str| wish(text).unwrap().traffic();
        assert_eq!(traffic("topic=Job"), None);
        assert_eq!(traffic("topic=Traffic"), Some(None));
        assert_eq!(traffic("topic=Traffic&topic=Traffic:web"), Some(None));
        let one = Some(Some(vec!["web".to_owned()]));
        assert_eq!(traffic("topic=Job&topic=Traffic:web"), one);
    }
}
