use super::{AllocatedResources, Node};

/// What the allocations of one node take, counted as they come and go.
///
/// Counts every allocation that its client may still run, wanted or not: room comes back with the proof
/// that the allocation is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// MHz.
    pub cpu: i64,
    /// MB.
    pub memory_mb: i64,
    /// MB.
    pub disk_mb: i64,
    /// Ports in ascending order; one that two allocations hold stands there twice.
    pub ports: Vec<u16>,
    /// Where the search for the next dynamic port begins, so that a port rests before it is used again.
    pub port_cursor: u16,
}

impl NodeUsage {
    /// Adds what an allocation takes.
    pub fn add(&mut self, resources: &AllocatedResources) {
        self.count(resources, 1);
        for (_, port) in resources.ports() {
            let at = self.ports.partition_point(|p| *p < port);
            self.ports.insert(at, port);
        }
    }

    /// Takes away what an allocation took.
    pub fn remove(&mut self, resources: &AllocatedResources) {
        self.count(resources, -1);
        for (_, port) in resources.ports() {
            if let Ok(at) = self.ports.binary_search(&port) {
                self.ports.remove(at);
            }
        }
    }

    fn count(&mut self, resources: &AllocatedResources, sign: i64) {
        for task in resources.tasks.values() {
            self.cpu += sign * task.cpu.cpu_shares;
            self.memory_mb += sign * task.memory.memory_mb;
        }
        self.disk_mb += sign * resources.shared.disk_mb;
    }

    /// True when some allocation holds the port.
    pub fn holds(&self, port: u16) -> bool {
        self.ports.binary_search(&port).is_ok()
    }
}

/// Lowest dynamic port of a node that names none.
const DYNAMIC_PORT_MIN: u16 = 20_000;
/// Highest dynamic port of a node that names none.
const DYNAMIC_PORT_MAX: u16 = 32_000;

/// The first and the last dynamic port of a node.
pub fn dynamic_ports(node: &Node) -> (u16, u16) {
    let or = |given: u16, default: u16| if given == 0 { default } else { given };
    let low = or(node.node_resources.min_dynamic_port, DYNAMIC_PORT_MIN);
    let high = or(node.node_resources.max_dynamic_port, DYNAMIC_PORT_MAX);
    (low, high.max(low))
}

/// Where a node's first dynamic port is looked for: differs between nodes, so that several agents on one
/// machine seldom choose the same.
pub fn first_port(node: &Node) -> u16 {
    let (low, high) = dynamic_ports(node);
    let hash = node
        .id
        .to_bytes()
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let width = u64::from(high - low) + 1;
    low + u16::try_from((hash >> 16) % width).unwrap_or(0)
}
