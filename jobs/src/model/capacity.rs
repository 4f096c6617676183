//! Does an allocation fit on a node? The one answer for the scheduler and for the plan's
//! verification.

use super::{
    AllocatedCpu, AllocatedMemory, AllocatedResources, AllocatedTask, Node, NodeUsage, TaskGroup,
};
use thin_vec::ThinVec;

/// What a node can give in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// MHz.
    pub(crate) cpu: i64,
    /// MB.
    pub(crate) memory_mb: i64,
    /// MB.
    pub(crate) disk_mb: i64,
}

impl Capacity {
    /// What the node has, less what it keeps back.
    pub(crate) fn of(node: &Node) -> Self {
        let (has, kept) = (&node.node_resources, &node.reserved_resources);
        Self {
            cpu: has.cpu.cpu_shares - kept.cpu.cpu_shares,
            memory_mb: has.memory.memory_mb - kept.memory.memory_mb,
            disk_mb: has.disk.disk_mb - kept.disk.disk_mb,
        }
    }

    /// The first dimension in which `used` and `ask` together are too much.
    pub(crate) fn exhausted(&self, used: &NodeUsage, ask: &Ask) -> Option<&'static str> {
        if used.cpu + ask.cpu > self.cpu {
            Some("cpu")
        } else if used.memory_mb + ask.memory_mb > self.memory_mb {
            Some("memory")
        } else if used.disk_mb + ask.disk_mb > self.disk_mb {
            Some("disk")
        } else {
            None
        }
    }
}

/// What one allocation of a group takes on a node, ports aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    /// MHz.
    pub(crate) cpu: i64,
    /// MB.
    pub(crate) memory_mb: i64,
    /// MB.
    pub(crate) disk_mb: i64,
    /// Whole cores, whose MHz depend on the node; part of no other figure here.
    pub(crate) cores: i64,
}

impl Ask {
    pub(crate) fn of_group(group: &TaskGroup) -> Self {
        let mut ask = Self {
            disk_mb: group.ephemeral_disk.size_mb,
            ..Self::default()
        };
        for task in &group.tasks {
            if task.resources.cores > 0 {
                ask.cores += task.resources.cores;
            } else {
                ask.cpu += task.resources.cpu;
            }
            ask.memory_mb += task.resources.memory_mb;
        }
        ask
    }

    /// The ask with its cores turned into the node's MHz.
    pub(crate) fn on(&self, node: &Node) -> Self {
        Self {
            cpu: self.cpu + self.cores.saturating_mul(core_mhz(node)),
            ..*self
        }
    }
}

fn core_mhz(node: &Node) -> i64 {
    let cpu = &node.node_resources.cpu;
    cpu.cpu_shares / i64::from(cpu.total_cpu_cores.max(1))
}

/// What an allocation of the group is given on the node, ports aside.
pub(crate) fn allocate_without_ports(group: &TaskGroup, node: &Node) -> AllocatedResources {
    let mut given = AllocatedResources::default();
    for task in &group.tasks {
        let wants = &task.resources;
        let cpu_shares = if wants.cores > 0 {
            wants.cores.saturating_mul(core_mhz(node))
        } else {
            wants.cpu
        };
        let part = AllocatedTask {
            cpu: AllocatedCpu { cpu_shares },
            memory: AllocatedMemory {
                memory_mb: wants.memory_mb,
                memory_max_mb: wants.memory_max_mb,
            },
            networks: ThinVec::new(),
        };
        given.tasks.insert(task.name.clone(), part);
    }
    given.shared.disk_mb = group.ephemeral_disk.size_mb;
    given
}

/// Why the node cannot give `given` beside what is used; none when it can.
pub(crate) fn refusal(node: &Node, used: &NodeUsage, given: &AllocatedResources) -> Option<String> {
    let ask = Ask {
        cpu: given.tasks.values().map(|t| t.cpu.cpu_shares).sum(),
        memory_mb: given.tasks.values().map(|t| t.memory.memory_mb).sum(),
        disk_mb: given.shared.disk_mb,
        cores: 0,
    };
    if let Some(dimension) = Capacity::of(node).exhausted(used, &ask) {
        return Some(dimension.into());
    }
    let (label, at) = given.host_ports().find(|(_, port)| used.holds(*port))?;
    let port = at.port;
    Some(format!("network: reserved port collision {label}={port}"))
}
