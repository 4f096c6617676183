//! Nodes and jobs of simulated agents, for tests and measurements.

use jobs::model::{
    DriverInfo, Job, JobType, NetworkResource, Node, NodeCpu, NodeDisk, NodeId, NodeMemory,
    NodeResources, ReschedulePolicy, Resources, Task, TaskGroup,
};
use std::{collections::BTreeMap, time::Duration};

/// A node that runs programs and has a little of everything.
pub(super) fn node(id: &str) -> Node {
    Node {
        id: NodeId::named(id),
        name: id.into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        node_resources: NodeResources {
            cpu: NodeCpu {
                cpu_shares: 4000,
                total_cpu_cores: 2,
                ..NodeCpu::default()
            },
            memory: NodeMemory { memory_mb: 8000 },
            disk: NodeDisk { disk_mb: 50_000 },
            networks: vec![NetworkResource {
                ip: "127.0.0.1".into(),
                ..NetworkResource::default()
            }],
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            ..NodeResources::default()
        },
        drivers: BTreeMap::from([(
            "raw_exec".into(),
            DriverInfo {
                detected: true,
                healthy: true,
                ..DriverInfo::default()
            },
        )]),
        ..Node::default()
    }
}

/// A job of `count` equal allocations with one task, `main`.
pub(super) fn job(id: &str, job_type: JobType, count: u32) -> Job {
    let task = Task {
        name: "main".into(),
        driver: "raw_exec".into(),
        resources: Resources {
            cpu: 100,
            memory_mb: 64,
            ..Resources::default()
        },
        ..Task::default()
    };
    Job {
        region: "global".into(),
        namespace: "default".into(),
        id: id.into(),
        name: id.into(),
        job_type,
        priority: 50,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        task_groups: vec![TaskGroup {
            name: "work".into(),
            count,
            tasks: vec![task],
            // Soon, for tests that wait for it.
            reschedule_policy: (job_type == JobType::Service).then(|| ReschedulePolicy {
                delay: Duration::from_millis(5).into(),
                delay_function: "constant".into(),
                unlimited: true,
                ..ReschedulePolicy::default()
            }),
            ..TaskGroup::default()
        }]
        .into(),
        ..Job::default()
    }
}
