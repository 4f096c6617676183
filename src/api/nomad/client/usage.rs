//! What an allocation and its machine use, and how checks stand.

use axum::{
    extract::{Path, State},
    response::Response,
};
use jobs::model::UnixSeconds;
use jobs::wire;
use mesh::model::{CheckId, ServiceName, Status};
use serde::Serialize;
use std::collections::BTreeMap;

use super::{of_alloc, of_node};
use crate::{Api, error::Error, nomad::query::Query, repeated};
use client::{self, CheckStatus, Handle};

/// `GET /v1/client/allocation/:id/stats`; `follow=true` measures again and again, a line each time,
/// until nobody reads or the allocation is forgotten.
pub(super) async fn alloc(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let client = of_alloc(&api, &id)?.clone();
    let task = query.get("task").map(str::to_owned);
    let first = measured(&client, &id, task.as_deref()).await?;
    if !query.flag("follow")? {
        return query.json(&first);
    }
    Ok(repeated::respond(query.stopping(), move || {
        let (client, id, task) = (client.clone(), id.clone(), task.clone());
        async move { measured(&client, &id, task.as_deref()).await.ok() }
    }))
}

async fn measured(
    client: &Handle,
    id: &str,
    task: Option<&str>,
) -> Result<wire::AllocResourceUsage, Error> {
    let usage = client.alloc_usage(id, task).await?;
    let timestamp = usage.timestamp;
    let task = |task: client::TaskUsage| wire::TaskResourceUsage {
        resource_usage: resources(task.total),
        timestamp,
        pids: task
            .processes
            .into_iter()
            .map(|(pid, usage)| (pid.to_string(), resources(usage)))
            .collect(),
    };
    Ok(wire::AllocResourceUsage {
        resource_usage: resources(usage.total),
        tasks: usage
            .tasks
            .into_iter()
            .map(|(name, usage)| (name, task(usage)))
            .collect(),
        timestamp,
    })
}

fn resources(usage: client::ResourceUsage) -> wire::ResourceUsage {
    let words =
        |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let (memory, cpu) = (usage.memory, usage.cpu);
    let mut of_memory = words(&["RSS", "Swap"]);
    for (word, measured) in [
        ("Cache", memory.cache),
        ("Usage", memory.usage),
        ("Max Usage", memory.max_usage),
    ] {
        of_memory.extend(measured.map(|_| word.to_owned()));
    }
    let mut of_cpu = words(&["System Mode", "User Mode", "Percent"]);
    if memory.usage.is_some() {
        of_cpu.extend(words(&["Throttled Periods", "Throttled Time"]));
    }
    wire::ResourceUsage {
        memory_stats: wire::MemoryStats {
            rss: memory.rss,
            swap: memory.swap,
            cache: memory.cache.unwrap_or(0),
            usage: memory.usage.unwrap_or(0),
            max_usage: memory.max_usage.unwrap_or(0),
            measured: of_memory,
            ..wire::MemoryStats::default()
        },
        cpu_stats: wire::CpuStats {
            system_mode: cpu.system_mode,
            user_mode: cpu.user_mode,
            percent: cpu.percent,
            total_ticks: cpu.total_ticks,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
            measured: of_cpu,
        },
        device_stats: Vec::new(),
    }
}

/// `GET /v1/client/stats`
pub(super) async fn host(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let client = of_node(&api, &query)?;
    let stats = client.host_stats().await?;
    let core = |core: client::CpuTimes| wire::HostCpu {
        cpu: core.cpu,
        user: core.user,
        system: core.system,
        idle: core.idle,
    };
    let disk = |disk: client::DiskStats| wire::HostDisk {
        device: disk.device,
        mountpoint: disk.mountpoint,
        size: disk.size,
        used: disk.used,
        available: disk.available,
        used_percent: disk.used_percent,
        inodes_used_percent: disk.inodes_used_percent,
    };
    query.json(&wire::HostStats {
        memory: wire::HostMemory {
            total: stats.memory.total,
            available: stats.memory.available,
            used: stats.memory.used,
            free: stats.memory.free,
        },
        cpu: stats.cpu.into_iter().map(core).collect(),
        disk_stats: stats.disks.into_iter().map(disk).collect(),
        alloc_dir_stats: disk(stats.alloc_dir),
        device_stats: Vec::new(),
        uptime: stats.uptime_s,
        cpu_ticks_consumed: stats.cpu_ticks,
        timestamp: server::log::propose::now(),
    })
}

/// A check as the jobs dialect shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AllocCheckStatus {
    #[serde(rename = "ID")]
    id: CheckId,
    check: String,
    group: String,
    mode: &'static str,
    output: String,
    service: ServiceName,
    task: String,
    status: &'static str,
    status_code: u16,
    timestamp: UnixSeconds,
}

impl From<CheckStatus> for AllocCheckStatus {
    fn from(check: CheckStatus) -> Self {
        let status = match check.status {
            _ if !check.has_result => "pending",
            Status::Passing => "success",
            Status::Warning if check.on_update == "ignore_warnings" => "success",
            Status::Warning | Status::Critical => "failure",
        };
        // A check that does not count for a deployment says whether to send traffic.
        let mode = if check.on_update == "ignore" {
            "readiness"
        } else {
            "healthiness"
        };
        Self {
            id: check.id,
            check: check.name,
            group: check.group,
            mode,
            output: check.output,
            service: check.service,
            task: check.task.map(String::from).unwrap_or_default(),
            status,
            status_code: 0,
            timestamp: check.timestamp,
        }
    }
}

/// `GET /v1/client/allocation/:id/checks`: those of services with `provider = "nomad"`; the others
/// stand in the catalog.
pub(super) async fn checks(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let client = of_alloc(&api, &id)?;
    let checks: BTreeMap<CheckId, AllocCheckStatus> = client
        .checks(&id)?
        .into_iter()
        .filter(|(_, check)| check.native)
        .map(|(id, check)| (id, check.into()))
        .collect();
    query.json(&checks)
}
