//! What the ingresses of all agents count, as news once a second.

use bytes::Bytes;
use proxy::route::{BOUNDS_MS, OUTCOME_NAMES, Who, who};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::Api;
use server::{
    Snapshot, alloc_of,
    traffic::{self, RECENT_TIME},
};
use sys::clock;

/// The most rows that are told; those beyond it are left out.
const ROWS_MAX: usize = 4096;
/// What came of the requests to one instance at one route since they are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    route: String,
    service: String,
    version: String,
    /// Its id, or its address without one.
    instance: String,
    /// The allocation that it belongs to, with its job; empty for others.
    #[serde(rename = "AllocID")]
    alloc_id: String,
    #[serde(rename = "JobID")]
    job_id: String,
    namespace: String,
    job_version: u64,
    /// Part of the route's requests, 0 to 1.
    share: f64,
    in_flight: u64,
    attempts: u64,
    /// Of these, those that it answered with 5xx or not at all.
    failed: u64,
    /// Attempts by how they ended.
    outcomes: BTreeMap<&'static str, u64>,
    /// Whole answers.
    timed: u64,
    /// Whole answers that took no longer than each bound of the ingress's histogram.
    within: Vec<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Traffic<'a> {
    /// When it was counted, nanoseconds since 1970.
    time: i64,
    /// Whether these are all rows; otherwise those that changed.
    whole: bool,
    rows: Vec<&'a Row>,
}

/// What somebody was told of the counts.
#[derive(Debug)]
pub(crate) struct Live {
    /// None for every service.
    services: Option<Vec<String>>,
    told: Option<BTreeMap<Who, Row>>,
    /// Whether the last news had rows: afterwards it is told once that there are none.
    had_news: bool,
}

impl Live {
    /// Tells of these services, or of all.
    pub(crate) fn new(services: Option<Vec<String>>) -> Self {
        Self {
            services,
            told: None,
            had_news: true,
        }
    }

    /// A line for the event stream with what changed since the last; none if nothing did.
    pub(crate) fn news(&mut self, api: &Api) -> Option<Bytes> {
        let snapshot = api.server().snapshot();
        let rows = self.rows(api, &snapshot);
        let told = self.told.replace(rows);
        let rows = self.told.as_ref()?;
        let whole = told
            .as_ref()
            .is_none_or(|told| told.keys().any(|who| !rows.contains_key(who)));
        let is_news = |who: &Who, row: &Row| {
            whole || told.as_ref().and_then(|told| told.get(who)) != Some(row)
        };
        let news: Vec<&Row> = rows
            .iter()
            .filter(|(who, row)| is_news(who, row))
            .map(|(_, row)| row)
            .collect();
        let has_news = whole || !news.is_empty();
        let was_silent = !std::mem::replace(&mut self.had_news, has_news);
        if !has_news && was_silent {
            return None;
        }
        let traffic = Traffic {
            time: clock::now().as_nanos(),
            whole,
            rows: news,
        };
        let event = serde_json::json!({
            "Index": snapshot.index,
            "Events": [{
                "Topic": "Traffic",
                "Type": "TrafficCounted",
                "Key": "",
                "Namespace": "",
                "FilterKeys": [],
                "Index": snapshot.index,
                "Payload": { "Traffic": traffic },
            }],
        });
        Some(format!("{event}\n").into())
    }

    /// Whoever has a route here, and whoever an ingress elsewhere asked something lately; with what
    /// all ingresses counted.
    fn rows(&self, api: &Api, snapshot: &Snapshot) -> BTreeMap<Who, Row> {
        let mut rows: BTreeMap<Who, Row> = BTreeMap::new();
        let mut row_of = |who: Who| {
            if !self.wants(&who.1) || (rows.len() >= ROWS_MAX && !rows.contains_key(&who)) {
                return;
            }
            rows.entry(who)
                .or_insert_with_key(|who| named(snapshot, who));
        };
        let table = api.proxy().map(proxy::Handle::table);
        let targets = || {
            let routes = table.iter().flat_map(|table| table.routes());
            routes.flat_map(|route| route.targets().iter().map(move |own| (route, own)))
        };
        for (route, target) in targets() {
            row_of(who(route, target));
        }
        for row in api.server().recent_traffic(RECENT_TIME, None) {
            row_of(of(&row));
        }
        for (route, target) in targets() {
            if let Some(row) = rows.get_mut(&who(route, target)) {
                row.share += target.share();
            }
        }
        for counted in api.server().traffic(None) {
            if let Some(row) = rows.get_mut(&of(&counted)) {
                row.count(&counted);
            }
        }
        rows
    }

    fn wants(&self, service: &str) -> bool {
        let services = self.services.as_ref();
        services.is_none_or(|names| names.iter().any(|name| name == service))
    }
}

fn of(row: &traffic::Row) -> Who {
    let who = &row.who;
    (
        who.route.clone(),
        who.service.clone(),
        who.version.clone(),
        who.instance.clone(),
    )
}

/// A row without counts, with the allocation that the instance belongs to.
fn named(snapshot: &Snapshot, (route, service, version, instance): &Who) -> Row {
    let alloc = alloc_of(instance).and_then(|id| snapshot.jobs.alloc(id));
    Row {
        route: route.clone(),
        service: service.clone(),
        version: version.clone(),
        instance: instance.clone(),
        alloc_id: alloc.map(|alloc| alloc.id.to_string()).unwrap_or_default(),
        job_id: alloc
            .map(|alloc| alloc.job_id.to_string())
            .unwrap_or_default(),
        namespace: alloc
            .map(|alloc| alloc.namespace.to_string())
            .unwrap_or_default(),
        job_version: alloc.map_or(0, |alloc| alloc.job_version),
        ..Row::default()
    }
}

impl Row {
    fn count(&mut self, counted: &traffic::Row) {
        let counts = &counted.counts;
        let [ones, twos, threes, fours, fives] = counts.answers;
        // In the order of their names.
        let outcomes = [
            ones,
            twos,
            threes,
            fours,
            fives,
            counts.refused,
            counts.failed,
            counts.left,
            counts.passed,
        ];
        self.in_flight = counts.in_flight;
        self.attempts = counts.attempts();
        self.failed = fives + counts.refused + counts.failed;
        let named = OUTCOME_NAMES.into_iter().zip(outcomes);
        self.outcomes = named.filter(|(_, count)| *count > 0).collect();
        self.timed = counts.times.iter().map(|(_, count)| count).sum();
        let within = |bound: &u64| -> u64 {
            let fast = counts.times.iter().filter(|(us, _)| *us <= bound * 1000);
            fast.map(|(_, count)| count).sum()
        };
        self.within = BOUNDS_MS.iter().map(within).collect();
    }
}
