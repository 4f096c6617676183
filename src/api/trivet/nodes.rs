//! All nodes in short, with what they have and what is taken of it.

use axum::{extract::State, response::Response};
use jobs::model::{Allocation, ClientStatus, Node, NodeId, NodeUsage};
use jobs::state::Table;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

use crate::{Api, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic};

/// Allocations that are told one by one; of more, each node tells only how many are in which state.
const ALLOCS_MAX: usize = 2000;

/// A node in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(skip)]
    node: NodeId,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    datacenter: String,
    node_pool: String,
    node_class: String,
    status: &'static str,
    scheduling_eligibility: &'static str,
    drain: bool,
    /// What may be taken: what it has without what is reserved.
    capacity: Resources,
    used: Resources,
    /// Allocations that run.
    running: usize,
    /// Status to the number of allocations that are not over.
    live: BTreeMap<&'static str, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocs: Option<Vec<Alloc>>,
}

#[derive(Debug, Default, Serialize)]
struct Resources {
    /// MHz.
    #[serde(rename = "CpuShares")]
    cpu: i64,
    #[serde(rename = "MemoryMB")]
    memory: i64,
    #[serde(rename = "DiskMB")]
    disk: i64,
}

/// An allocation that is there, in short.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Alloc {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    client_status: &'static str,
    cpu_shares: i64,
    #[serde(rename = "MemoryMB")]
    memory: i64,
}

/// `GET /v1/trivet/nodes`; `allocs=true` adds the allocations that are not over, unless there are
/// more than [`ALLOCS_MAX`].
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    const TABLES: [Table; 2] = [Table::Nodes, Table::Allocs];
    let with_allocs = query.flag("allocs")?;
    let index_of = |snapshot: &Snapshot| {
        let of = |table| snapshot.jobs.table_index(table);
        TABLES.into_iter().map(of).max().unwrap_or_default()
    };
    let view = |snapshot: &Snapshot| {
        let nodes = snapshot.jobs.nodes_with_usage();
        let mut rows: Vec<Row> = nodes
            .map(|(node, usage)| row(snapshot, node, usage))
            .collect();
        let live: usize = rows.iter().flat_map(|row| row.live.values()).sum();
        if with_allocs && live <= ALLOCS_MAX {
            for row in &mut rows {
                row.allocs = Some(
                    live_of(snapshot, row.node)
                        .map(|alloc| short(alloc))
                        .collect(),
                );
            }
        }
        Ok(rows)
    };
    api.read(&query, TABLES.map(Topic::Jobs), index_of, view)
        .await
}

/// The allocations of a node that are not over.
fn live_of(snapshot: &Snapshot, node: NodeId) -> impl Iterator<Item = &Arc<Allocation>> {
    let allocs = snapshot.jobs.allocs_of_node(node);
    allocs.filter(|alloc| !alloc.client_terminal())
}

fn row(snapshot: &Snapshot, node: &Node, usage: Option<&Arc<NodeUsage>>) -> Row {
    let (has, kept) = (&node.node_resources, &node.reserved_resources);
    let mut live = BTreeMap::new();
    for alloc in live_of(snapshot, node.id) {
        *live.entry(alloc.client_status.as_str()).or_default() += 1;
    }
    Row {
        node: node.id,
        id: node.id.to_string(),
        name: node.name.to_string(),
        datacenter: node.datacenter.clone(),
        node_pool: node.node_pool.clone(),
        node_class: node.node_class.clone(),
        status: node.status.as_str(),
        scheduling_eligibility: node.scheduling_eligibility.as_str(),
        drain: node.drain,
        capacity: Resources {
            cpu: has.cpu.cpu_shares - kept.cpu.cpu_shares,
            memory: has.memory.memory_mb - kept.memory.memory_mb,
            disk: has.disk.disk_mb - kept.disk.disk_mb,
        },
        used: usage.map_or_else(Resources::default, |usage| Resources {
            cpu: usage.cpu,
            memory: usage.memory_mb,
            disk: usage.disk_mb,
        }),
        running: live
            .get(ClientStatus::Running.as_str())
            .copied()
            .unwrap_or(0),
        live,
        allocs: None,
    }
}

fn short(alloc: &Allocation) -> Alloc {
    let tasks = || alloc.allocated_resources.tasks.values();
    Alloc {
        id: alloc.id.to_string(),
        name: alloc.name.to_string(),
        client_status: alloc.client_status.as_str(),
        cpu_shares: tasks().map(|task| task.cpu.cpu_shares).sum(),
        memory: tasks().map(|task| task.memory.memory_mb).sum(),
    }
}
