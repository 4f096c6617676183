//! Figures about this agent for those who draw them: as JSON in the published shape, and as text
//! that Prometheus reads.
//!
//! Each agent tells of itself: what its ingress counts, what the machine and its tasks use if that
//! is asked for, and, on a server, where the log and the state stand. What one server knows alone
//! is told by the one that leads, so that nothing is there twice when all agents are asked. All
//! values are levels or sums since the start, so that in JSON they are gauges. Whoever is pushed
//! figures gets those of the JSON.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use client::{AllocUsage, CpuTimes, DiskStats, HostStats, ResourceUsage};
use jobs::model::{Allocation, Deployment, JobKey, Node, RolloutPhase, Timestamp};
use proxy::route::{self, OUTCOME_NAMES, quoted};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};
use sys::clock;
use telemetry::statsd::Figure;

use super::query::Query;
use crate::{Api, error::Error};
use server::{Handle, Snapshot};

/// The most values of all kinds; what is beyond is left out.
const VALUES_MAX: usize = 20_000;

/// Labels and their values.
type Labels = Vec<(&'static str, String)>;

/// What is told, in groups of one name.
#[derive(Debug, Default)]
struct Told(Vec<Figure>);

impl Told {
    fn add(&mut self, name: &'static str, labels: Labels, value: f64) {
        if self.0.len() < VALUES_MAX {
            self.0.push(Figure {
                name,
                labels,
                value,
            });
        }
    }

    /// How many of something there are by their status.
    fn count(
        &mut self,
        name: &'static str,
        statuses: impl Iterator<Item = &'static str>,
        always: &[&'static str],
    ) {
        let mut counts: BTreeMap<&str, u64> = always.iter().map(|status| (*status, 0)).collect();
        for status in statuses {
            *counts.entry(status).or_default() += 1;
        }
        for (status, count) in counts {
            self.add(name, vec![("status", status.to_owned())], whole(count));
        }
    }

    /// As Prometheus reads it.
    fn text(&self) -> String {
        let mut out = String::new();
        let mut last = "";
        for figure in &self.0 {
            let plain = figure.name.replace('.', "_");
            let kind = if figure.is_sum() { "counter" } else { "gauge" };
            let labels: Vec<String> = figure
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={}", quoted(value)))
                .collect();
            let labels = match labels.as_slice() {
                [] => String::new(),
                labels => format!("{{{}}}", labels.join(",")),
            };
            if std::mem::replace(&mut last, figure.name) != figure.name {
                // Writing to a text cannot fail.
                writeln!(out, "# TYPE {plain} {kind}").ok();
            }
            writeln!(out, "{plain}{labels} {}", figure.value).ok();
        }
        out
    }
}

/// The published shape.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    timestamp: String,
    gauges: Vec<Gauge<'a>>,
    points: [(); 0],
    counters: [(); 0],
    samples: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Gauge<'a> {
    name: &'a str,
    value: f64,
    labels: BTreeMap<&'static str, &'a str>,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures are drawn, not calculated with"
)]
fn whole(count: u64) -> f64 {
    count as f64
}

/// `GET /v1/metrics?format=prometheus`
pub(super) async fn metrics(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    match query.get("format") {
        None => {}
        Some("prometheus") if api.facts().told.hides_prometheus => {
            let message = "Prometheus is not enabled";
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        Some("prometheus") => {
            let mut told = Told::default();
            about_server(&mut told, api.server());
            about_usage(&mut told, &api).await;
            let mut text = told.text();
            if let Some(proxy) = api.proxy() {
                text.push_str(&proxy.metrics());
            }
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            return Ok(([(header::CONTENT_TYPE, kind)], text).into_response());
        }
        Some(other) => {
            let message = format!("format is {other:?}; it must be \"prometheus\", or left out");
            return Err(Error::bad_request(message));
        }
    }
    let figures = api.figures().await;
    let seconds = clock::now().as_nanos().div_euclid(1_000_000_000);
    let gauges = figures.iter().map(|own| Gauge {
        name: own.name,
        value: own.value,
        labels: own
            .labels
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect(),
    });
    query.json(&Shown {
        timestamp: published(Timestamp::from_secs(seconds)),
        gauges: gauges.collect(),
        points: [],
        counters: [],
        samples: [],
    })
}

impl Api {
    /// What the JSON of `GET /v1/metrics` has, for those who are told without asking.
    pub async fn figures(&self) -> Vec<Figure> {
        let mut told = Told::default();
        about_server(&mut told, self.server());
        if let Some(proxy) = self.proxy() {
            about_ingress(&mut told, proxy);
        }
        about_usage(&mut told, self).await;
        told.0
    }
}

/// `2026-01-01 00:00:00 +0000 UTC`
fn published(at: Timestamp) -> String {
    let text = at.to_string();
    let plain = text.trim_end_matches('Z').replace('T', " ");
    format!("{plain} +0000 UTC")
}

/// The log, the state, and rollouts.
fn about_server(told: &mut Told, server: &Handle) {
    if !server.has_copy() {
        return;
    }
    let stats = server.stats();
    for (name, value) in [
        ("trivet.raft.is_leader", u64::from(stats.log.is_leader)),
        ("trivet.raft.term", stats.log.term),
        ("trivet.raft.last_log_index", stats.log.last_log_index),
        ("trivet.raft.applied_index", stats.log.applied_index),
        ("trivet.raft.snapshot_index", stats.log.snapshot_index),
        ("trivet.raft.voters", stats.voters as u64),
        ("trivet.evaluations.ready", stats.ready_evals as u64),
    ] {
        told.add(name, Vec::new(), whole(value));
    }
    if server.leads() {
        let snapshot = server.snapshot();
        about_state(told, &snapshot);
        about_rollouts(told, &snapshot, server);
    }
}

fn about_state(told: &mut Told, snapshot: &Snapshot) {
    let first = JobKey::new("", "");
    let jobs = snapshot.jobs.jobs_from(&first);
    told.count(
        "trivet.jobs",
        jobs.map(|row| row.status.as_str()),
        &["dead", "pending", "running"],
    );
    let allocs = snapshot.jobs.allocs("");
    told.count(
        "trivet.allocations",
        allocs.map(|row| row.client_status.as_str()),
        &["pending", "running"],
    );
    let nodes = snapshot.jobs.nodes("");
    told.count(
        "trivet.nodes",
        nodes.map(|row| row.status.as_str()),
        &["down", "ready"],
    );
    let deployments = snapshot.jobs.deployments("");
    told.count(
        "trivet.deployments",
        deployments.map(|row| row.status.as_str()),
        &["failed", "running", "successful"],
    );
    let instances = snapshot.mesh.view().all_instances();
    told.count(
        "trivet.instances",
        instances.map(|row| row.status.as_str()),
        &["critical", "passing", "warning"],
    );
}

/// Rollouts of canaries that are under way.
fn about_rollouts(told: &mut Told, snapshot: &Snapshot, server: &Handle) {
    let active = snapshot.jobs.deployments("").filter(|row| row.is_active());
    let groups: Vec<_> = active
        .flat_map(|row| {
            row.task_groups
                .iter()
                .map(move |(name, own)| (row, name, own))
        })
        .filter_map(|(row, name, own)| Some((row, name, own, own.rollout.as_deref()?)))
        .collect();
    let labels = |row: &Deployment, name: &str| -> Labels {
        vec![
            ("namespace", row.namespace.to_string()),
            ("job", row.job_id.to_string()),
            ("group", name.to_owned()),
        ]
    };
    for (row, name, _, rollout) in &groups {
        let configured = f64::from(rollout.share.ten_thousandths()) / 10_000.0;
        let standing = server.rollout_standing(row.id, name);
        let effective = standing.map_or(0.0, |own| whole(own.effective) / 1e6);
        for (kind, share) in [("configured", configured), ("effective", effective)] {
            let mut labels = labels(row, name);
            labels.push(("kind", kind.to_owned()));
            told.add("trivet.rollout.share", labels, share);
        }
    }
    for (row, name, _, rollout) in &groups {
        told.add(
            "trivet.rollout.step",
            labels(row, name),
            f64::from(rollout.step),
        );
    }
    for (row, name, own, rollout) in &groups {
        for phase in RolloutPhase::ALL {
            let mut labels = labels(row, name);
            labels.push(("state", phase.as_str().to_owned()));
            let is_own = rollout.phase == phase && !own.promoted;
            told.add("trivet.rollout.state", labels, f64::from(u8::from(is_own)));
        }
    }
    for (cause, count) in server.rollout_aborts() {
        told.add(
            "trivet.rollout.aborts_total",
            vec![("cause", cause.as_str().to_owned())],
            whole(count),
        );
    }
}

/// What the machine and its tasks use, where that is asked for, under the published names.
async fn about_usage(told: &mut Told, api: &Api) {
    let Some(client) = api.client() else { return };
    let wanted = api.facts().told;
    if wanted.has_node {
        match client.host_stats().await {
            Ok(stats) => about_host(told, &client.node(), &stats),
            Err(error) => tracing::debug!(%error, "what the machine uses cannot be told"),
        }
    }
    if wanted.has_allocations {
        about_allocations(told, &client.usages().await);
    }
}

fn about_host(told: &mut Told, node: &Node, stats: &HostStats) {
    let class = match &*node.node_class {
        "" => "none",
        class => class,
    };
    let labels = |more: Option<(&'static str, &str)>| -> Labels {
        let own = [
            ("node_id", node.id.to_string()),
            ("datacenter", node.datacenter.clone()),
            ("node_class", class.to_owned()),
            ("node_pool", node.node_pool.clone()),
        ];
        let more = more.map(|(key, value)| (key, value.to_owned()));
        own.into_iter().chain(more).collect()
    };
    let memory = stats.memory;
    for (name, value) in [
        ("nomad.client.uptime", stats.uptime_s),
        ("nomad.client.host.memory.total", memory.total),
        ("nomad.client.host.memory.available", memory.available),
        ("nomad.client.host.memory.used", memory.used),
        ("nomad.client.host.memory.free", memory.free),
    ] {
        told.add(name, labels(None), whole(value));
    }
    let of_cores: [Named<CpuTimes>; 4] = [
        ("nomad.client.host.cpu.total_percent", |core| {
            core.user + core.system
        }),
        ("nomad.client.host.cpu.user", |core| core.user),
        ("nomad.client.host.cpu.system", |core| core.system),
        ("nomad.client.host.cpu.idle", |core| core.idle),
    ];
    for (name, value) in of_cores {
        for core in &stats.cpu {
            told.add(name, labels(Some(("cpu", &core.cpu))), value(core));
        }
    }
    let of_disks: [Named<DiskStats>; 5] = [
        ("nomad.client.host.disk.size", |disk| whole(disk.size)),
        ("nomad.client.host.disk.available", |disk| {
            whole(disk.available)
        }),
        ("nomad.client.host.disk.used", |disk| whole(disk.used)),
        ("nomad.client.host.disk.used_percent", |disk| {
            disk.used_percent
        }),
        ("nomad.client.host.disk.inodes_percent", |disk| {
            disk.inodes_used_percent
        }),
    ];
    // One that is mounted at several places is told of once.
    let mut seen = BTreeSet::new();
    let disks: Vec<&DiskStats> = stats
        .disks
        .iter()
        .filter(|disk| seen.insert(&disk.device))
        .collect();
    for (name, value) in of_disks {
        for disk in &disks {
            told.add(name, labels(Some(("disk", &disk.device))), value(disk));
        }
    }
}

/// A name, and what has it of something.
type Named<T, Value = f64> = (&'static str, fn(&T) -> Value);

fn about_allocations(told: &mut Told, usages: &[(Arc<Allocation>, AllocUsage)]) {
    let tasks: Vec<_> = usages
        .iter()
        .flat_map(|(alloc, usage)| {
            usage
                .tasks
                .iter()
                .map(move |(task, used)| (alloc, task, used))
        })
        .collect();
    let always: [Named<ResourceUsage>; 8] = [
        ("nomad.client.allocs.cpu.system", |used| {
            used.cpu.system_mode
        }),
        ("nomad.client.allocs.cpu.user", |used| used.cpu.user_mode),
        ("nomad.client.allocs.cpu.total_percent", |used| {
            used.cpu.percent
        }),
        ("nomad.client.allocs.cpu.total_ticks", |used| {
            used.cpu.total_ticks
        }),
        ("nomad.client.allocs.cpu.throttled_periods", |used| {
            whole(used.cpu.throttled_periods)
        }),
        ("nomad.client.allocs.cpu.throttled_time", |used| {
            whole(used.cpu.throttled_time)
        }),
        ("nomad.client.allocs.memory.rss", |used| {
            whole(used.memory.rss)
        }),
        ("nomad.client.allocs.memory.swap", |used| {
            whole(used.memory.swap)
        }),
    ];
    let counted: [Named<ResourceUsage, Option<u64>>; 3] = [
        ("nomad.client.allocs.memory.cache", |used| used.memory.cache),
        ("nomad.client.allocs.memory.usage", |used| used.memory.usage),
        ("nomad.client.allocs.memory.max_usage", |used| {
            used.memory.max_usage
        }),
    ];
    let labels = |alloc: &Allocation, task: &str| -> Labels {
        vec![
            ("job", alloc.job_id.to_string()),
            ("task_group", alloc.task_group.to_string()),
            ("alloc_id", alloc.id.to_string()),
            ("task", task.to_owned()),
            ("namespace", alloc.namespace.to_string()),
        ]
    };
    for (name, value) in always {
        for (alloc, task, used) in &tasks {
            told.add(name, labels(alloc, task), value(&used.total));
        }
    }
    for (name, value) in counted {
        for (alloc, task, used) in &tasks {
            if let Some(value) = value(&used.total) {
                told.add(name, labels(alloc, task), whole(value));
            }
        }
    }
}

/// What the ingress of this agent was asked, by service and version.
fn about_ingress(told: &mut Told, proxy: &proxy::Handle) {
    let table = proxy.table();
    let mut sums: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
    for target in table.routes().flat_map(route::Route::targets) {
        let outcomes = target.meter().read().outcomes;
        for (outcome, count) in OUTCOME_NAMES.into_iter().zip(outcomes) {
            if count > 0 {
                let (service, version) = (target.service(), target.version());
                let who = (service.to_owned(), version.to_owned(), outcome);
                *sums.entry(who).or_default() += count;
            }
        }
    }
    for ((service, version, outcome), count) in sums {
        let labels = vec![
            ("service", service),
            ("version", version),
            ("outcome", outcome.to_owned()),
        ];
        told.add("trivet.ingress.attempts_total", labels, whole(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_lines_and_gauges() {
        let mut told = Told::default();
        told.count("trivet.jobs", ["dead", "dead"].into_iter(), &["running"]);
        told.add(
            "trivet.rollout.aborts_total",
            vec![("cause", "a \"b\"\n\\".to_owned())],
            2.0,
        );
        assert_eq!(
            told.text(),
            "# TYPE trivet_jobs gauge\ntrivet_jobs{status=\"dead\"} 2\ntrivet_jobs{status=\"running\"} 0\n\
             # TYPE trivet_rollout_aborts_total counter\n\
             trivet_rollout_aborts_total{cause=\"a \\\"b\\\"\\n\\\\\"} 2\n"
        );
        for at in 0..VALUES_MAX {
            told.add("trivet.jobs", Vec::new(), whole(at as u64));
        }
        assert_eq!(told.0.len(), VALUES_MAX);
        assert_eq!(
            published(Timestamp::from_secs(1_767_225_600)),
            "2026-01-01 00:00:00 +0000 UTC"
        );
    }

    #[test]
    fn what_is_used_has_the_published_names() {
        let node = Node {
            datacenter: "dc1".into(),
            node_pool: "default".into(),
            ..Node::default()
        };
        let core = |name: &str, user: f64| CpuTimes {
            cpu: name.into(),
            user,
            system: 2.0,
            idle: 90.0,
        };
        let disk = DiskStats {
            device: "/dev/sda".into(),
            size: 100,
            ..DiskStats::default()
        };
        let stats = HostStats {
            cpu: vec![core("cpu0", 8.0), core("cpu1", 4.0)],
            // Mounted at two places.
            disks: vec![disk.clone(), disk],
            uptime_s: 7,
            ..HostStats::default()
        };
        let mut told = Told::default();
        about_host(&mut told, &node, &stats);
        assert_eq!(told.0.len(), 5 + 2 * 4 + 5);
        let id = node.id;
        let of = format!(
            "node_id=\"{id}\",datacenter=\"dc1\",node_class=\"none\",node_pool=\"default\""
        );
        let text = told.text();
        for line in [
            "# TYPE nomad_client_host_memory_total gauge\n".to_owned(),
            format!("nomad_client_uptime{{{of}}} 7\n"),
            format!("nomad_client_host_cpu_total_percent{{{of},cpu=\"cpu1\"}} 6\n"),
            format!("nomad_client_host_disk_size{{{of},disk=\"/dev/sda\"}} 100\n"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }

        let mut used = client::TaskUsage::default();
        used.total.memory.rss = 4096;
        used.total.memory.usage = Some(8192);
        let usage = AllocUsage {
            tasks: [("server".into(), used)].into(),
            ..AllocUsage::default()
        };
        let alloc = Allocation {
            job_id: "web".into(),
            task_group: "front".into(),
            ..Allocation::default()
        };
        let (id, namespace) = (alloc.id, alloc.namespace.clone());
        let mut told = Told::default();
        about_allocations(&mut told, &[(Arc::new(alloc), usage)]);
        // Neither the cache nor the most that was used is known.
        assert_eq!(told.0.len(), 8 + 1);
        let of = format!(
            "job=\"web\",task_group=\"front\",alloc_id=\"{id}\",task=\"server\",namespace=\"{namespace}\""
        );
        let text = told.text();
        for (name, value) in [("rss", 4096), ("usage", 8192)] {
            let line = format!("nomad_client_allocs_memory_{name}{{{of}}} {value}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
