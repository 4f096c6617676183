//! From a node of the jobs tables to its catalog row.

use jobs::model::{Node, NodeStatus};
use mesh::{model::Check, state::UpsertNode};

use super::Rules;

/// Labels of a node that its row carries, the first by name.
const LABELS_MAX: usize = 254;
/// Bytes of a name or a value of a label that its row carries; longer ones are left out.
const LABEL_BYTES_MAX: usize = 2048;
/// Fact of a node: the level of the catalog's API that its agent keeps.
const API_ATTRIBUTE: &str = "consul.version";
/// Label under which clients find that level.
const API_META: &str = "consul-version";
/// Label under which clients find the network segment of a node; there is one, without a name.
const SEGMENT_META: &str = "consul-network-segment";

/// The catalog's row of a node by the rules of the cluster, with the check that says whether its
/// agent is alive.
pub fn catalog_node(rules: Rules, node: &Node) -> UpsertNode {
    match rules {
        Rules::First => first_row(node),
        Rules::Second | Rules::Third | Rules::Fourth => second_row(node),
        #[cfg(feature = "next")]
        Rules::Fifth => second_row(node),
    }
}

fn second_row(node: &Node) -> UpsertNode {
    let mut row = first_row(node);
    let fits = |text: &str| text.len() <= LABEL_BYTES_MAX;
    let labels = node.meta.iter();
    let labels = labels.filter(|(name, value)| !name.is_empty() && fits(name) && fits(value));
    let level = node.attributes.get(API_ATTRIBUTE);
    let level = level
        .filter(|level| fits(level))
        .map(|level| (API_META.to_owned(), level.clone()));
    // What the agent says of itself comes last: no label of an operator hides it.
    row.node.meta = labels
        .take(LABELS_MAX)
        .map(|(name, value)| (name.clone(), value.clone()))
        .chain([(SEGMENT_META.to_owned(), String::new())])
        .chain(level)
        .collect();
    row
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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &[(&str, &str)]) -> Node {
        let pairs = labels.iter();
        Node {
            name: "one".into(),
            http_addr: "10.0.0.1:4646".into(),
            status: NodeStatus::Ready,
            attributes: [(API_ATTRIBUTE.into(), "1.22.0".into())].into(),
            meta: pairs
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..Node::default()
        }
    }

    fn labels(rules: Rules, node: &Node) -> Vec<String> {
        let meta = catalog_node(rules, node).node.meta;
        meta.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn labels_are_shown_by_the_second_rules() {
        let node = node(&[("rack", "r1"), ("consul-version", "9"), ("", "x")]);
        assert_eq!(labels(Rules::First, &node), [""; 0]);
        assert_eq!(
            labels(Rules::Second, &node),
            [
                "consul-network-segment=",
                "consul-version=1.22.0",
                "rack=r1"
            ]
        );
        let mut second = catalog_node(Rules::Second, &node);
        second.node.meta.clear();
        assert_eq!(
            second,
            catalog_node(Rules::First, &node),
            "nothing else changes"
        );
    }

    #[test]
    fn an_agent_that_does_not_say_its_level_has_none() {
        let node = Node {
            attributes: [(API_ATTRIBUTE.into(), "9".repeat(LABEL_BYTES_MAX + 1))].into(),
            ..node(&[])
        };
        assert_eq!(labels(Rules::Second, &node), ["consul-network-segment="]);
        assert_eq!(
            labels(Rules::Second, &Node::default()),
            ["consul-network-segment="]
        );
    }
}
