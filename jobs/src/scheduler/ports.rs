//! Handing out ports, and with them what an allocation gets.

use crate::model::{
    AllocatedPort, AllocatedResources, NetworkResource, Node, NodeUsage, Port, TaskGroup,
    allocate_without_ports, dynamic_ports,
};

/// Ports that a node keeps back, as ranges.
fn reserved(node: &Node) -> Vec<(u16, u16)> {
    let text = &node.reserved_resources.networks.reserved_host_ports;
    text.split(',')
        .filter_map(|part| {
            let part = part.trim();
            match part.split_once('-') {
                Some((low, high)) => Some((low.trim().parse().ok()?, high.trim().parse().ok()?)),
                None => part.parse().ok().map(|port| (port, port)),
            }
        })
        .collect()
}

/// The ports of one allocation while they are chosen.
struct Chooser<'a> {
    used: &'a NodeUsage,
    reserved: Vec<(u16, u16)>,
    chosen: Vec<u16>,
    low: u16,
    high: u16,
    cursor: u16,
}

impl Chooser<'_> {
    fn is_free(&self, port: u16) -> bool {
        !self.used.holds(port)
            && !self.chosen.contains(&port)
            && !self.reserved.iter().any(|(a, b)| (*a..=*b).contains(&port))
    }

    fn take_static(&mut self, port: &Port) -> Result<(), String> {
        if !self.is_free(port.value) {
            let Port { label, value, .. } = port;
            return Err(format!("network: reserved port collision {label}={value}"));
        }
        self.chosen.push(port.value);
        Ok(())
    }

    /// The next free port behind the one handed out last, so that a released one rests.
    fn take_dynamic(&mut self) -> Result<u16, String> {
        let width = u32::from(self.high - self.low) + 1;
        for _ in 0..width {
            let port = self.cursor.clamp(self.low, self.high);
            self.cursor = if port == self.high {
                self.low
            } else {
                port + 1
            };
            if self.is_free(port) {
                self.chosen.push(port);
                return Ok(port);
            }
        }
        Err("network: dynamic port selection failed".into())
    }
}

/// What the group gets on the node, ports included.
///
/// # Errors
/// The dimension that is exhausted.
pub(super) fn allocate(
    group: &TaskGroup,
    node: &Node,
    used: &NodeUsage,
) -> Result<AllocatedResources, String> {
    let mut given = allocate_without_ports(group, node);
    if wants_ports(group) || !group.networks.is_empty() {
        assign(group, node, used, &mut given)?;
    }
    Ok(given)
}

/// True when the group asks for any port.
fn wants_ports(group: &TaskGroup) -> bool {
    let asks = |n: &NetworkResource| !n.reserved_ports.is_empty() || !n.dynamic_ports.is_empty();
    group.networks.iter().any(asks)
        || group
            .tasks
            .iter()
            .any(|t| t.resources.networks.iter().any(asks))
}

/// Adds the group's networks with their ports to `given`.
///
/// # Errors
/// The dimension that is exhausted, as published.
fn assign(
    group: &TaskGroup,
    node: &Node,
    used: &NodeUsage,
    given: &mut AllocatedResources,
) -> Result<(), String> {
    let (low, high) = dynamic_ports(node);
    let mut chooser = Chooser {
        used,
        reserved: reserved(node),
        chosen: Vec::new(),
        low,
        high,
        cursor: used.port_cursor,
    };
    let of_tasks = || group.tasks.iter().flat_map(|task| &task.resources.networks);
    // Static ports first, so that no dynamic one is in their way.
    for network in group.networks.iter().chain(of_tasks()) {
        for port in &network.reserved_ports {
            chooser.take_static(port)?;
        }
    }
    for network in &group.networks {
        let network = fill(network, node, &mut chooser)?;
        for port in network.reserved_ports.iter().chain(&network.dynamic_ports) {
            given.shared.ports.push(AllocatedPort {
                label: port.label.clone(),
                value: port.value,
                to: port.to,
                host_ip: network.ip.clone(),
            });
        }
        given.shared.networks.push(network);
    }
    for task in &group.tasks {
        for network in &task.resources.networks {
            let network = fill(network, node, &mut chooser)?;
            if let Some(part) = given.tasks.get_mut(&task.name) {
                part.networks.push(network);
            }
        }
    }
    Ok(())
}

fn fill(
    network: &NetworkResource,
    node: &Node,
    chooser: &mut Chooser<'_>,
) -> Result<NetworkResource, String> {
    let mut filled = network.clone();
    if let Some(host) = node.node_resources.networks.first() {
        filled.ip.clone_from(&host.ip);
        filled.device.clone_from(&host.device);
    }
    for port in &mut filled.dynamic_ports {
        port.value = chooser.take_dynamic()?;
    }
    for port in filled
        .reserved_ports
        .iter_mut()
        .chain(&mut filled.dynamic_ports)
    {
        if port.to == -1 {
            port.to = i32::from(port.value);
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::assign;
    use crate::model::{AllocatedResources, NetworkResource, Node, NodeUsage, Port, TaskGroup};

    fn group(fixed: &[u16], dynamic: usize) -> TaskGroup {
        let port = |value| Port {
            label: format!("p{value}"),
            value,
            ..Port::default()
        };
        TaskGroup {
            networks: vec![NetworkResource {
                reserved_ports: fixed.iter().copied().map(port).collect(),
                dynamic_ports: vec![port(0); dynamic],
                ..NetworkResource::default()
            }],
            ..TaskGroup::default()
        }
    }

    fn ports(node: &Node, used: &NodeUsage, group: &TaskGroup) -> Result<Vec<u16>, String> {
        let mut given = AllocatedResources::default();
        assign(group, node, used, &mut given)?;
        Ok(given.ports().map(|(_, port)| port).collect())
    }

    #[test]
    fn dynamic_ports_go_round_and_skip_what_is_taken() {
        let mut node = Node::default();
        node.node_resources.min_dynamic_port = 100;
        node.node_resources.max_dynamic_port = 105;
        node.reserved_resources.networks.reserved_host_ports = "22,101-102".into();
        let used = NodeUsage {
            ports: vec![104],
            port_cursor: 103,
            ..NodeUsage::default()
        };
        assert_eq!(ports(&node, &used, &group(&[], 3)), Ok(vec![103, 105, 100]));
        let full = ports(&node, &used, &group(&[], 4));
        assert_eq!(full, Err("network: dynamic port selection failed".into()));
        let clash = ports(&node, &used, &group(&[104], 0));
        assert_eq!(
            clash,
            Err("network: reserved port collision p104=104".into())
        );
        assert_eq!(ports(&node, &used, &group(&[103], 1)), Ok(vec![103, 105]));
    }
}
