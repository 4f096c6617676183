//! Catalog to the facts that DNS answers are drawn from.

use jobs::model::Span;
use mesh::{
    model::Status,
    prepared::{self, Asker},
    view::{Instance, View},
};
use std::sync::Arc;

/// What names are made of besides the catalog.
#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct Zone {
    /// Name of the zone.
    pub domain: String,
    /// Another name of it; empty for none.
    pub alt_domain: String,
    /// Datacenter of this agent.
    pub datacenter: String,
    /// Name of this agent's node.
    pub node: String,
    /// Whether instances in warning are left out.
    pub only_passing: bool,
}

/// The facts of `catalog`, with those of its `instances` that DNS may name.
pub(super) fn facts(zone: &Zone, catalog: &View, instances: &[Instance]) -> dns::Facts {
    let nodes = catalog.nodes().map(|node| dns::Node {
        name: node.name.clone(),
        addresses: vec![node.address.clone()],
        meta: node
            .meta
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    });
    dns::Facts {
        domain: zone.domain.clone(),
        alt_domain: zone.alt_domain.clone(),
        datacenter: zone.datacenter.clone(),
        nodes: nodes.collect(),
        instances: instances
            .iter()
            .filter(|instance| !zone.only_passing || instance.status == Status::Passing)
            .map(instance)
            .collect(),
        servers: catalog.nodes().map(|node| node.name.clone()).collect(),
        queries: Some(Arc::new(Queries {
            catalog: catalog.clone(),
            node: zone.node.clone(),
        })),
    }
}

fn instance(instance: &Instance) -> dns::Instance {
    dns::Instance {
        service: instance.service.name.clone(),
        node: instance.node.name.clone(),
        address: instance.service.address.clone(),
        port: instance.service.port,
        tags: instance.service.tags.clone(),
        weight: match instance.status {
            Status::Warning => instance.service.weights.warning,
            _ => instance.service.weights.passing,
        },
        passing: true,
    }
}

/// The prepared queries of a catalog.
#[derive(Debug)]
struct Queries {
    catalog: View,
    /// Name of this agent's node.
    node: String,
}

impl dns::PreparedQueries for Queries {
    fn execute(&self, name: &str, seed: u64) -> Option<dns::Prepared> {
        // What cannot be rendered has no answer.
        let query = prepared::resolve(&self.catalog, name, "").ok()??;
        let near = match query.service.near.as_str() {
            // Whoever asked a resolver is not known.
            "" | "_ip" => None,
            "_agent" => Some(self.node.as_str()),
            node => Some(node),
        };
        let found = prepared::execute(&self.catalog, &query, Asker { near, seed });
        let ttl = Span::parse(&query.dns.ttl).ok();
        Some(dns::Prepared {
            service: query.service.service.clone(),
            instances: found.iter().map(instance).collect(),
            ttl: ttl.map(Span::to_std),
            is_ordered: near.is_some(),
        })
    }
}
