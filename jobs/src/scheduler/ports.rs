//! Handing out ports, and with them what an allocation gets.

use crate::model::{
    AllocatedPort, AllocatedResources, HostPort, NetworkResource, Node, NodeUsage, Port, TaskGroup,
    allocate_without_ports, dynamic_ports,
};

/// Ports such as `22,80-90`, as ranges.
fn ranges(text: &str) -> Vec<(u16, u16)> {
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
    node: &'a Node,
    used: &'a NodeUsage,
    /// What the node keeps back on every address.
    reserved: Vec<(u16, u16)>,
    /// What it keeps back on one.
    reserved_at: Vec<(&'a str, Vec<(u16, u16)>)>,
    chosen: Vec<HostPort>,
    low: u16,
    high: u16,
    cursor: u16,
}

impl<'a> Chooser<'a> {
    fn new(node: &'a Node, used: &'a NodeUsage) -> Self {
        let (low, high) = dynamic_ports(node);
        let with_ports = node.addresses().filter(|at| !at.reserved_ports.is_empty());
        Self {
            node,
            used,
            reserved: ranges(&node.reserved_resources.networks.reserved_host_ports),
            reserved_at: with_ports
                .map(|at| (at.address.as_str(), ranges(&at.reserved_ports)))
                .collect(),
            chosen: Vec::new(),
            low,
            high,
            cursor: used.port_cursor,
        }
    }

    /// The address of the network that the port asks for.
    fn ip(&self, port: &Port) -> Result<&'a str, String> {
        self.node.ip_of(&port.host_network).map_err(|_| {
            let name = &port.host_network;
            format!("network: no addresses available for {name} network")
        })
    }

    fn is_reserved(&self, ip: &str, port: u16) -> bool {
        let here = self.reserved_at.iter().filter(|(at, _)| *at == ip);
        let mut ranges = self.reserved.iter().chain(here.flat_map(|(_, own)| own));
        ranges.any(|(low, high)| (*low..=*high).contains(&port))
    }

    fn take_static(&mut self, port: &Port) -> Result<(), String> {
        let ip = self.ip(port)?;
        let at = HostPort::new(ip, self.node.usual_ip(), port.value);
        if self.used.holds(at) || self.chosen.contains(&at) || self.is_reserved(ip, port.value) {
            let Port { label, value, .. } = port;
            return Err(format!("network: reserved port collision {label}={value}"));
        }
        self.chosen.push(at);
        Ok(())
    }

    /// The next free port behind the one handed out last, so that a released one rests. It is free
    /// on every address: programs may listen on all of them.
    fn take_dynamic(&mut self, ip: &str) -> Result<u16, String> {
        let width = u32::from(self.high - self.low) + 1;
        for _ in 0..width {
            let port = self.cursor.clamp(self.low, self.high);
            self.cursor = if port == self.high {
                self.low
            } else {
                port + 1
            };
            let is_taken = self.used.holds_anywhere(port)
                || self.chosen.iter().any(|chosen| chosen.port == port)
                || self.is_reserved(ip, port);
            if !is_taken {
                let at = HostPort::new(ip, self.node.usual_ip(), port);
                self.chosen.push(at);
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
    let mut chooser = Chooser::new(node, used);
    // Static ports first, so that no dynamic one is in their way.
    let of_tasks = group.tasks.iter().flat_map(|task| &task.resources.networks);
    for network in group.networks.iter().chain(of_tasks) {
        for port in &network.reserved_ports {
            chooser.take_static(port)?;
        }
    }
    for network in &group.networks {
        let network = fill(network, &mut chooser)?;
        for port in network.reserved_ports.iter().chain(&network.dynamic_ports) {
            given.shared.ports.push(AllocatedPort {
                label: port.label.clone(),
                value: port.value,
                to: port.to,
                host_ip: chooser.ip(port)?.to_owned(),
            });
        }
        given.shared.networks.push(network);
    }
    for task in &group.tasks {
        for network in &task.resources.networks {
            let network = fill(network, &mut chooser)?;
            if let Some(part) = given.tasks.get_mut(&task.name) {
                part.networks.push(network);
            }
        }
    }
    Ok(())
}

fn fill(network: &NetworkResource, chooser: &mut Chooser<'_>) -> Result<NetworkResource, String> {
    let mut filled = network.clone();
    if let Some(host) = chooser.node.node_resources.networks.first() {
        filled.ip.clone_from(&host.ip);
        filled.device.clone_from(&host.device);
    }
    for port in &mut filled.dynamic_ports {
        port.value = chooser.take_dynamic(chooser.ip(port)?)?;
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
    use crate::model::{
        AllocatedResources, HostPort, NetworkResource, Node, NodeAddress, NodeNetwork, NodeUsage,
        Port, TaskGroup,
    };

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

    #[test]
    fn a_port_is_on_the_first_address_of_the_network_that_it_asks_for() {
        let mut node = Node::default();
        node.node_resources.networks = vec![NetworkResource {
            ip: "10.0.0.1".into(),
            ..NetworkResource::default()
        }];
        let address = |alias: &str, address: &str, reserved_ports: &str| NodeAddress {
            alias: alias.into(),
            address: address.into(),
            reserved_ports: reserved_ports.into(),
            ..NodeAddress::default()
        };
        node.node_resources.node_networks = vec![NodeNetwork {
            addresses: vec![
                address("default", "10.0.0.1", ""),
                address("public", "192.0.2.1", "22,20000"),
                address("public", "192.0.2.2", ""),
                address("same", "10.0.0.1", "443"),
            ],
            ..NodeNetwork::default()
        }];
        node.meta.insert("net".into(), "public".into());
        let port = |value, host_network: &str| Port {
            label: "p".into(),
            value,
            host_network: host_network.into(),
            ..Port::default()
        };
        let group = |reserved_ports, dynamic_ports| TaskGroup {
            networks: vec![NetworkResource {
                reserved_ports,
                dynamic_ports,
                ..NetworkResource::default()
            }],
            ..TaskGroup::default()
        };
        let mut used = NodeUsage {
            port_cursor: 20_000,
            ..NodeUsage::default()
        };
        let given = |used: &NodeUsage, group: &TaskGroup| {
            let mut given = AllocatedResources::default();
            assign(group, &node, used, &mut given)?;
            Ok::<_, String>(given)
        };
        let asked = group(
            vec![port(80, ""), port(80, "public"), port(81, "${meta.net}")],
            vec![port(0, "public"), port(0, "same")],
        );
        let first = given(&used, &asked).unwrap();
        let places: Vec<String> = (first.shared.ports.iter())
            .map(|port| format!("{}:{}", port.host_ip, port.value))
            .collect();
        // Port 20000 is kept back on one address, and 20001 was given on the other.
        let expected = [
            "10.0.0.1:80",
            "192.0.2.1:80",
            "192.0.2.1:81",
            "192.0.2.1:20001",
            "10.0.0.1:20002",
        ];
        assert_eq!(places, expected);
        assert_eq!(first.shared.networks[0].ip, "10.0.0.1");
        used.add(&first);
        assert_eq!(used.ports, [80, 20_002]);
        let elsewhere = |port| HostPort::new("192.0.2.1", "", port);
        assert_eq!(used.ports_elsewhere, [80, 81, 20_001].map(elsewhere));
        for (value, host_network, fits) in [
            (80, "public", false),
            (80, "same", false),
            (81, "", true),
            (20_002, "public", true),
            (22, "public", false),
            (443, "", false),
            (443, "public", true),
        ] {
            let asked = group(vec![port(value, host_network)], Vec::new());
            let found = given(&used, &asked);
            assert_eq!(found.is_ok(), fits, "{value} {host_network}: {found:?}");
        }
        used.remove(&first);
        assert_eq!((used.ports.len(), used.ports_elsewhere.len()), (0, 0));
        let missing = given(&used, &group(vec![port(80, "lan")], Vec::new()));
        let expected = "network: no addresses available for lan network";
        assert_eq!(missing, Err(expected.to_owned()));
    }
}
