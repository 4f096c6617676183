//! Catalog to the facts that DNS answers are drawn from.

use mesh::{
    model::Status,
    view::{Instance, View},
};

/// The facts of `catalog`, with those of its `instances` that DNS may name.
pub(super) fn facts(
    domain: &str,
    datacenter: &str,
    catalog: &View,
    instances: &[Instance],
) -> dns::Facts {
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
        domain: domain.to_owned(),
        datacenter: datacenter.to_owned(),
        nodes: nodes.collect(),
        instances: instances.iter().map(instance).collect(),
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
