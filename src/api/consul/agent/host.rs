//! The machine that the agent runs on.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::consul::Catalog;
use crate::consul::query::{Query, json as answer};
use crate::error::Error;
use client::{CpuTimes, HostStats};
use sys::clock;

pub(super) async fn host(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let Some(client) = &catalog.shared.client else {
        return Err(Error::new(
            StatusCode::NOT_IMPLEMENTED,
            "this agent has no client part, which measures the machine",
        ));
    };
    let stats = client
        .host_stats()
        .await
        .map_err(|error| Error::internal(error.to_string()))?;
    answer(&query, &facts(&catalog, &stats))
}

fn facts(catalog: &Catalog, stats: &HostStats) -> Value {
    let now = clock::now();
    let memory = &stats.memory;
    let disk = &stats.alloc_dir;
    let core = |core: &CpuTimes| {
        json!({
            "cpu": core.cpu,
            "user": core.user,
            "system": core.system,
            "idle": core.idle,
        })
    };
    json!({
        "Memory": {
            "total": memory.total,
            "available": memory.available,
            "used": memory.used,
            "free": memory.free,
        },
        "CPU": stats.cpu.iter().map(core).collect::<Vec<_>>(),
        "Host": {
            "hostname": catalog.agent().node_name,
            "hostid": catalog.agent().node_id,
            "os": std::env::consts::OS,
            "uptime": stats.uptime_s,
        },
        "Disk": {
            "path": disk.mountpoint,
            "total": disk.size,
            "free": disk.available,
            "used": disk.used,
            "usedPercent": disk.used_percent,
            "inodesUsedPercent": disk.inodes_used_percent,
        },
        "CollectionTime": now.as_nanos(),
        "Errors": null,
    })
}
