//! From a node of the jobs tables to its catalog row.

use jobs::model::{Node, NodeStatus};
use mesh::{model::Check, state::UpsertNode};

use super::Rules;

/// The catalog's row of a node by the rules of the cluster, with the check that says whether its
/// agent is alive.
pub fn catalog_node(rules: Rules, node: &Node) -> UpsertNode {
    match rules {
        Rules::First => first_row(node),
    }
}

fn first_row(node: &Node) -> UpsertNode {
    let address = node_address(node);
    let tags = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
    let tagged_addresses = tags
        .into_iter()
        .filter(|tag| !tag.ends_with("ipv4") || !address.contains(':'))
        .map(|tag| (tag.to_owned(), address.clone()))
        .collect();
    let alive = node.status == NodeStatus::Ready;
    UpsertNode {
        node: mesh::model::Node {
            id: node.id.to_string().into(),
            name: node.name.as_str().into(),
            address,
            datacenter: node.datacenter.clone(),
            tagged_addresses,
            ..mesh::model::Node::default()
        },
        checks: vec![Check::serf_health(node.name.as_str(), alive)],
    }
}

/// Where the node's services are reached: its first network, else where its HTTP API listens.
fn node_address(node: &Node) -> String {
    let of_network = node
        .node_resources
        .networks
        .first()
        .map(|network| network.ip.clone())
        .filter(|ip| !ip.is_empty());
    of_network
        .or_else(|| node.attributes.get("unique.network.ip-address").cloned())
        .unwrap_or_else(|| {
            let host = node.http_addr.rsplit_once(':');
            host.map_or_else(String::new, |(host, _)| host.to_owned())
        })
}
