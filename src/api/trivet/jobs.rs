//! All jobs in short: what a list of very many shows, in one answer.

use axum::{extract::State, response::Response};
use jobs::model::{
    AllocId, Allocation, ClientStatus, Deployment, GroupSummary, Index, Job, JobType,
};
use jobs::state::Table;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::{Api, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic};

/// A job in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    namespace: String,
    name: String,
    #[serde(rename = "Type")]
    job_type: JobType,
    priority: i32,
    status: &'static str,
    stop: bool,
    version: u64,
    submit_time: i64,
    modify_index: Index,
    /// Allocations that it asks for, all groups together; 0 where that follows from the nodes.
    wanted: u32,
    /// Its allocations by state, all groups together.
    counts: GroupSummary,
    /// Its allocations by version, the newest first.
    versions: Vec<Version>,
    /// Allocations that failed and were not replaced.
    failing: u32,
    /// Restarts of tasks that run.
    restarts: u64,
    deployment: Option<Rollout>,
}

/// Allocations of one version by state.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: u64,
    running: u32,
    starting: u32,
    failed: u32,
    lost: u32,
    unknown: u32,
    complete: u32,
}

/// The newest deployment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rollout {
    #[serde(rename = "ID")]
    id: String,
    job_version: u64,
    status: &'static str,
    status_description: String,
    create_time: i64,
    modify_time: i64,
    desired: u32,
    placed: u32,
    healthy: u32,
    unhealthy: u32,
    /// Whether it waits for somebody to promote its canaries, which are healthy.
    needs_promotion: bool,
}

/// `GET /v1/trivet/jobs`
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    const TABLES: [Table; 4] = [
        Table::Jobs,
        Table::Summaries,
        Table::Allocs,
        Table::Deployments,
    ];
    let index_of = |snapshot: &Snapshot| {
        let of = |table| snapshot.jobs.table_index(table);
        TABLES.into_iter().map(of).max().unwrap_or_default()
    };
    let view = |snapshot: &Snapshot| {
        let jobs = snapshot
            .jobs
            .jobs(query.namespace.as_deref(), &query.prefix);
        Ok(jobs.map(|job| row(snapshot, job)).collect::<Vec<_>>())
    };
    api.read(&query, TABLES.map(Topic::Jobs), index_of, view)
        .await
}

fn row(snapshot: &Snapshot, job: &Job) -> Row {
    let key = job.key();
    let allocs: Vec<&Allocation> = snapshot
        .jobs
        .allocs_of_job(&key)
        .map(|alloc| &**alloc)
        .filter(|alloc| alloc.job.create_index == job.create_index)
        .collect();
    let wanted = match job.job_type {
        JobType::Service | JobType::Batch if !job.stop => {
            job.task_groups.iter().map(|group| group.count).sum()
        }
        _ => 0,
    };
    let deployment = snapshot.jobs.latest_deployment(&key);
    let deployment = deployment.filter(|row| row.job_create_index == job.create_index);
    Row {
        id: job.id.to_string(),
        namespace: job.namespace.to_string(),
        name: job.name.to_string(),
        job_type: job.job_type,
        priority: job.priority,
        status: job.status.as_str(),
        stop: job.stop,
        version: job.version,
        submit_time: job.submit_time.as_nanos(),
        modify_index: job.modify_index,
        wanted,
        counts: counts(snapshot, job),
        versions: versions(&allocs),
        failing: failing(&allocs),
        restarts: restarts(&allocs),
        deployment: deployment.map(|row| rollout(snapshot, row)),
    }
}

fn counts(snapshot: &Snapshot, job: &Job) -> GroupSummary {
    let summary = snapshot.jobs.summary(&job.key());
    let groups = summary.iter().flat_map(|summary| summary.summary.values());
    groups.fold(GroupSummary::default(), |sum, group| GroupSummary {
        queued: sum.queued + group.queued,
        complete: sum.complete + group.complete,
        failed: sum.failed + group.failed,
        running: sum.running + group.running,
        starting: sum.starting + group.starting,
        lost: sum.lost + group.lost,
        unknown: sum.unknown + group.unknown,
    })
}

fn versions(allocs: &[&Allocation]) -> Vec<Version> {
    let mut versions: BTreeMap<u64, Version> = BTreeMap::new();
    for alloc in allocs {
        let version = versions.entry(alloc.job_version).or_default();
        let count = match alloc.client_status {
            ClientStatus::Running => &mut version.running,
            ClientStatus::Pending => &mut version.starting,
            ClientStatus::Failed => &mut version.failed,
            ClientStatus::Lost => &mut version.lost,
            ClientStatus::Unknown => &mut version.unknown,
            ClientStatus::Complete => &mut version.complete,
        };
        *count += 1;
    }
    let newest_first = versions.into_iter().rev();
    newest_first
        .map(|(version, counts)| Version { version, ..counts })
        .collect()
}

/// Those that nobody wants to stop, that failed, and that no other one stands for.
fn failing(allocs: &[&Allocation]) -> u32 {
    let replaced: BTreeSet<AllocId> = allocs
        .iter()
        .filter_map(|alloc| alloc.previous_allocation)
        .collect();
    let live: BTreeSet<&str> = allocs
        .iter()
        .filter(|alloc| !alloc.is_terminal())
        .map(|alloc| alloc.name.as_ref())
        .collect();
    let failed = allocs.iter().filter(|alloc| {
        alloc.client_status == ClientStatus::Failed
            && !alloc.server_terminal()
            && !replaced.contains(&alloc.id)
            && !live.contains(alloc.name.as_ref())
    });
    u32::try_from(failed.count()).unwrap_or(u32::MAX)
}

fn restarts(allocs: &[&Allocation]) -> u64 {
    let running = allocs.iter().filter(|alloc| !alloc.is_terminal());
    let states = running.flat_map(|alloc| alloc.task_states.values());
    states.map(|state| state.restarts).sum()
}

fn rollout(snapshot: &Snapshot, row: &Deployment) -> Rollout {
    let groups = || row.task_groups.values();
    Rollout {
        id: row.id.to_string(),
        job_version: row.job_version,
        status: row.status.as_str(),
        status_description: row.status_description.clone(),
        create_time: row.create_time.as_nanos(),
        modify_time: row.modify_time.as_nanos(),
        desired: groups().map(|group| group.desired_total).sum(),
        placed: groups().map(|group| group.placed_allocs).sum(),
        healthy: groups().map(|group| group.healthy_allocs).sum(),
        unhealthy: groups().map(|group| group.unhealthy_allocs).sum(),
        needs_promotion: snapshot.jobs.awaits_promotion(row),
    }
}
