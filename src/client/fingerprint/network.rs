use super::set;
use crate::Config;
use config::Found;
use jobs::model::{HostNetwork, NetworkResource, Node, NodeAddress, NodeNetwork};
use std::{fs, net::IpAddr};

/// Addresses and ports that allocations get.
pub(super) fn add(node: &mut Node, config: &Config) {
    let ip = config.address.to_string();
    set(node, "unique.network.ip-address", ip.clone());
    let bits = if config.address.is_ipv4() { 32 } else { 128 };
    let usual = config.networks.usual.as_ref();
    let device = match usual {
        Some(usual) => usual.device.clone(),
        None if config.address.is_loopback() => "lo".into(),
        None => String::new(),
    };
    add_host_networks(node, config, &device);
    let resources = &mut node.node_resources;
    resources.networks = vec![NetworkResource {
        mode: "host".into(),
        device,
        cidr: format!("{ip}/{bits}"),
        ip,
        ..NetworkResource::default()
    }];
    (resources.min_dynamic_port, resources.max_dynamic_port) = config.dynamic_ports;
}

/// The addresses that ports may ask for by name, when there are any: then the usual one has a name
/// too.
fn add_host_networks(node: &mut Node, config: &Config, device: &str) {
    let named = &config.networks.named;
    if named.is_empty() {
        return;
    }
    let mut networks = vec![network(device)];
    let mut add = |alias: &str, device: &str, address: IpAddr, reserved_ports: &str| {
        // In the order of the configuration, because of one name the first counts.
        if networks.last().is_none_or(|last| last.device != device) {
            networks.push(network(device));
        }
        if let Some(last) = networks.last_mut() {
            last.addresses.push(NodeAddress {
                family: if address.is_ipv4() { "ipv4" } else { "ipv6" }.into(),
                alias: alias.into(),
                address: address.to_string(),
                reserved_ports: reserved_ports.into(),
                ..NodeAddress::default()
            });
        }
    };
    add("default", device, config.address, "");
    for (name, network) in named {
        for Found { device, address } in &network.addresses {
            add(name, device, *address, &network.reserved_ports);
        }
    }
    node.node_resources.node_networks = networks;
    let written = named.iter().map(|(name, network)| {
        let written = HostNetwork {
            name: name.clone(),
            cidr: network.cidr.clone(),
            interface: network.interface.clone(),
            reserved_ports: network.reserved_ports.clone(),
        };
        (name.clone(), written)
    });
    node.host_networks = written.collect();
}

/// A network of that interface, without addresses.
fn network(device: &str) -> NodeNetwork {
    let fact = |name: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{device}/{name}"));
        text.map_or_else(|_| String::new(), |text| text.trim().to_owned())
    };
    NodeNetwork {
        mode: "host".into(),
        device: device.into(),
        mac_address: fact("address"),
        // Interfaces that are no cables say that they do not know.
        speed: fact("speed").parse().unwrap_or_default(),
        addresses: Vec::new(),
    }
}
