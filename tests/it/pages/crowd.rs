//! Nodes that are not there: they say that they run what is assigned to them, and that they stopped
//! what they are told to stop. Ten thousand allocations need no ten thousand processes then.

use jobs::{
    model::{
        ClientStatus, DesiredStatus, DriverInfo, FlatMap, NetworkResource, Node, NodeCpu, NodeDisk,
        NodeId, NodeMemory, NodeResources, TaskPhase, TaskState, Timestamp,
    },
    state::AllocUpdate,
};
use rpc::{
    message::{Assignment, Hello, Report, ToClient, ToServer},
    transport,
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::{task::JoinSet, time::interval};

/// The class of these nodes.
pub(super) const CLASS: &str = "crowd";
/// The one task that their allocations have.
pub(super) const TASK: &str = "main";

/// Much more often than the lease of a node demands.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Nodes that run everything, until dropped.
pub(super) struct Crowd {
    _running: JoinSet<()>,
}

impl Crowd {
    /// `count` nodes of the server that listens there.
    pub(super) fn start(server: SocketAddr, count: usize) -> Self {
        let mut running = JoinSet::new();
        for number in 0..count {
            running.spawn(agent(server, number));
        }
        Self { _running: running }
    }
}

async fn agent(server: SocketAddr, number: usize) {
    let mut link = transport::connect(server).await.expect("a stream");
    let hello = Hello {
        agent_id: format!("crowd-{number}"),
        version: env!("CARGO_PKG_VERSION").into(),
        rules: client::RULES,
        node: Some(node(number)),
        ..Hello::default()
    };
    let hello = ToServer::Hello(Box::new(hello));
    link.outgoing.send(hello).await.expect("the server listens");
    let mut beats = interval(HEARTBEAT);
    let mut reports = 0;
    loop {
        let told = tokio::select! {
            _ = beats.tick() => ToServer::Heartbeat,
            message = link.incoming.recv() => {
                let Some(message) = message else { return };
                let ToClient::Allocs { assignments, .. } = message else {
                    continue;
                };
                reports += 1;
                let updates = assignments.iter().filter_map(update).collect();
                ToServer::Report {
                    number: reports,
                    report: Report::Allocs(updates),
                }
            }
        };
        if link.outgoing.send(told).await.is_err() {
            return;
        }
    }
}

/// What there is to say of an allocation; nothing when that was said.
fn update(assignment: &Assignment) -> Option<AllocUpdate> {
    let alloc = &assignment.alloc;
    let (status, phase) = match alloc.desired_status {
        DesiredStatus::Run => (ClientStatus::Running, TaskPhase::Running),
        DesiredStatus::Stop | DesiredStatus::Evict => (ClientStatus::Complete, TaskPhase::Dead),
    };
    if alloc.client_terminal() || alloc.client_status == status {
        return None;
    }
    let state = TaskState {
        state: phase,
        ..TaskState::default()
    };
    Some(AllocUpdate {
        alloc_id: alloc.id,
        client_status: status,
        task_states: FlatMap::from([(TASK.into(), state)]),
        health: (status == ClientStatus::Running).then(|| (true, Timestamp::default())),
        ..AllocUpdate::default()
    })
}

fn node(number: usize) -> Node {
    let name = format!("crowd-{number:03}");
    let healthy = DriverInfo {
        detected: true,
        healthy: true,
        ..DriverInfo::default()
    };
    Node {
        id: NodeId::named(&name),
        name: name.into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        node_class: CLASS.into(),
        node_resources: NodeResources {
            cpu: NodeCpu {
                cpu_shares: 8000,
                total_cpu_cores: 4,
                ..NodeCpu::default()
            },
            memory: NodeMemory { memory_mb: 16_000 },
            disk: NodeDisk { disk_mb: 500_000 },
            networks: vec![NetworkResource {
                ip: "127.0.0.1".into(),
                ..NetworkResource::default()
            }],
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            ..NodeResources::default()
        },
        drivers: BTreeMap::from([("raw_exec".into(), healthy)]),
        ..Node::default()
    }
}
