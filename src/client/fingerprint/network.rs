use super::set;
use crate::Config;
use jobs::model::{NetworkResource, Node};

/// Address and ports that allocations get.
pub(super) fn add(node: &mut Node, config: &Config) {
    let ip = config.address.to_string();
    set(node, "unique.network.ip-address", ip.clone());
    let bits = if config.address.is_ipv4() { 32 } else { 128 };
    let resources = &mut node.node_resources;
    resources.networks = vec![NetworkResource {
        mode: "host".into(),
        device: if config.address.is_loopback() {
            "lo".into()
        } else {
            String::new()
        },
        cidr: format!("{ip}/{bits}"),
        ip,
        ..NetworkResource::default()
    }];
    (resources.min_dynamic_port, resources.max_dynamic_port) = config.dynamic_ports;
}
