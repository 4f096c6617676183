//! Catalog to the facts that DNS answers are drawn from.

use mesh::{
    model::Status,
    view::{Instance, View},
};

/// What names are made of besides the catalog.
#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct Zone {
    /// Name of the zone.
    pub domain: String,
    /// Another name of it; empty for none.
    pub alt_domain: String,
    /// Datacenter of this agent.
    pub datacenter: String,
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
