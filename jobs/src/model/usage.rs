use super::{AllocatedResources, Ask, Capacity, HostPort, Node, TaskGroup};

/// What the allocations of one node take, counted as they come and go.
///
/// Counts every allocation that its client may still run, wanted or not: room comes back with the
/// proof that the allocation is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// MHz.
    pub cpu: i64,
    /// MB.
    pub memory_mb: i64,
    /// MB.
    pub disk_mb: i64,
    /// Ports of the address that ports get unless they ask for a network, in ascending order; one
    /// that two allocations hold stands there twice.
    pub ports: Vec<u16>,
    /// Ports of other addresses, likewise.
    pub ports_elsewhere: Vec<HostPort>,
    /// Where the search for the next dynamic port begins, so that a port rests before it is used
    /// again.
    pub port_cursor: u16,
}

impl NodeUsage {
    /// Adds what an allocation takes.
    pub fn add(&mut self, resources: &AllocatedResources) {
        self.count(resources, 1);
        for (_, port) in resources.host_ports() {
            self.take(port);
        }
    }

    /// Takes away what an allocation took.
    pub fn remove(&mut self, resources: &AllocatedResources) {
        self.count(resources, -1);
        for (_, port) in resources.host_ports() {
            if port.address.is_some() {
                if let Ok(at) = self.ports_elsewhere.binary_search(&port) {
                    self.ports_elsewhere.remove(at);
                }
            } else if let Ok(at) = self.ports.binary_search(&port.port) {
                self.ports.remove(at);
            }
        }
    }

    fn take(&mut self, port: HostPort) {
        if port.address.is_some() {
            let at = self.ports_elsewhere.partition_point(|held| *held < port);
            self.ports_elsewhere.insert(at, port);
        } else {
            let at = self.ports.partition_point(|held| *held < port.port);
            self.ports.insert(at, port.port);
        }
    }

    fn count(&mut self, resources: &AllocatedResources, sign: i64) {
        for task in resources.tasks.values() {
            self.cpu += sign * task.cpu.cpu_shares;
            self.memory_mb += sign * task.memory.memory_mb;
        }
        self.disk_mb += sign * resources.shared.disk_mb;
    }

    /// Takes in each dimension what the greater of both takes.
    pub(crate) fn raise_to(&mut self, other: &Self) {
        self.cpu = self.cpu.max(other.cpu);
        self.memory_mb = self.memory_mb.max(other.memory_mb);
        self.disk_mb = self.disk_mb.max(other.disk_mb);
        for port in &other.ports {
            if let Err(at) = self.ports.binary_search(port) {
                self.ports.insert(at, *port);
            }
        }
        for port in &other.ports_elsewhere {
            if let Err(at) = self.ports_elsewhere.binary_search(port) {
                self.ports_elsewhere.insert(at, *port);
            }
        }
    }

    /// True when some allocation holds the port on its address.
    pub fn holds(&self, port: HostPort) -> bool {
        if port.address.is_some() {
            self.ports_elsewhere.binary_search(&port).is_ok()
        } else {
            self.ports.binary_search(&port.port).is_ok()
        }
    }

    /// True when some allocation holds the port on whatever address.
    pub(crate) fn holds_anywhere(&self, port: u16) -> bool {
        self.ports.binary_search(&port).is_ok()
            || self.ports_elsewhere.iter().any(|held| held.port == port)
    }
}

/// What one allocation of a group takes on a node, as far as it is known before it is placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// MHz.
    pub(crate) cpu: i64,
    /// MB.
    pub(crate) memory_mb: i64,
    /// MB.
    pub(crate) disk_mb: i64,
    /// Static ports, in any order.
    pub(crate) ports: Vec<HostPort>,
}

impl Room {
    /// What one allocation of the group takes on the node.
    pub(crate) fn of(group: &TaskGroup, node: &Node) -> Self {
        let ask = Ask::of_group(group).on(node);
        let of_tasks = group.tasks.iter().flat_map(|task| &task.resources.networks);
        let networks = group.networks.iter().chain(of_tasks);
        Self {
            cpu: ask.cpu,
            memory_mb: ask.memory_mb,
            disk_mb: ask.disk_mb,
            ports: networks
                .flat_map(|network| &network.reserved_ports)
                // One whose network is missing fits nowhere here, whatever is taken.
                .filter_map(|port| node.host_port(port).ok())
                .collect(),
        }
    }

    /// True when the node has that much beside `used`.
    pub(crate) fn fits(&self, node: &Node, used: &NodeUsage) -> bool {
        let ask = Ask {
            cpu: self.cpu,
            memory_mb: self.memory_mb,
            disk_mb: self.disk_mb,
            cores: 0,
        };
        Capacity::of(node).exhausted(used, &ask).is_none()
            && !self.ports.iter().any(|port| used.holds(*port))
    }
}

impl NodeUsage {
    /// Counts room that is promised.
    pub(crate) fn promise(&mut self, room: &Room) {
        self.cpu += room.cpu;
        self.memory_mb += room.memory_mb;
        self.disk_mb += room.disk_mb;
        for port in &room.ports {
            self.take(*port);
        }
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

/// Where a node's first dynamic port is looked for: differs between nodes, so that several agents
/// on one machine seldom choose the same.
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
