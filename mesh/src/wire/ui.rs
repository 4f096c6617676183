//! Nodes and services as the web UI of the original asks for them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::gateway;
use crate::model::{Node, NodeName, ServiceName, Status};
use crate::view::{Instance, View};

use super::catalog::{CatalogNode, CatalogServiceEntry, Empty};
use super::health::HealthCheck;

/// Metadata of an instance that says which program registered it.
const EXTERNAL_SOURCE: &str = "external-source";

/// A node with everything on it. Source: the original's internal API, which has no page.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeOverview {
    /// The node.
    #[serde(flatten)]
    pub node: CatalogNode,
    /// The instances on it, by id.
    pub services: Vec<CatalogServiceEntry>,
    /// The checks of it and of them, by id.
    pub checks: Vec<HealthCheck>,
}

impl NodeOverview {
    /// Converts a node of a view.
    #[must_use]
    pub fn of(view: &View, node: &Node) -> Self {
        let services = view.services_of_node(&node.name);
        let checks = view.checks_of_node(&node.name);
        Self {
            node: node.into(),
            services: services.map(|row| row.as_ref().into()).collect(),
            checks: checks.map(|row| HealthCheck::of(view, row)).collect(),
        }
    }
}

/// What there is of a service, in numbers. Source: as of [`NodeOverview`].
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceOverview {
    /// What its instances are in the mesh; absent for ordinary ones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Name.
    pub name: ServiceName,
    /// Datacenter that its instances are in; that of the agent if they are in several.
    pub datacenter: String,
    /// Tags of all instances; null for none.
    pub tags: Option<BTreeSet<String>>,
    /// Nodes that they are on.
    pub nodes: BTreeSet<NodeName>,
    /// Programs that registered them; null for none.
    pub external_sources: Option<BTreeSet<String>>,
    /// Number of instances.
    pub instance_count: usize,
    /// Number of checks that pass, each once: those of the instances and of their nodes.
    pub checks_passing: usize,
    /// Number of checks that warn.
    pub checks_warning: usize,
    /// Number of checks that fail.
    pub checks_critical: usize,
    /// Always empty.
    pub gateway_config: Empty,
    /// Always false.
    pub transparent_proxy: bool,
    /// Whether an instance speaks the mesh's TLS itself.
    pub connect_native: bool,
    /// Whether there is a proxy for it.
    pub connected_with_proxy: bool,
    /// Whether a gateway leads to it.
    pub connected_with_gateway: bool,
}

impl ServiceOverview {
    /// Counts instances of a view by service; `datacenter` is that of the agent.
    #[must_use]
    pub fn all(view: &View, datacenter: &str, instances: &[Instance]) -> Vec<Self> {
        let mut of_service: BTreeMap<&ServiceName, Vec<&Instance>> = BTreeMap::new();
        for instance in instances {
            let of = of_service.entry(&instance.service.name).or_default();
            of.push(instance);
        }
        let services = of_service.into_iter();
        services
            .map(|(name, instances)| Self::of(view, datacenter, name, &instances))
            .collect()
    }

    fn of(view: &View, datacenter: &str, name: &ServiceName, instances: &[&Instance]) -> Self {
        let (mut tags, mut sources) = (BTreeSet::new(), BTreeSet::new());
        let mut checks = BTreeMap::new();
        let mut overview = Self {
            name: name.clone(),
            datacenter: common(instances).unwrap_or(datacenter).to_owned(),
            instance_count: instances.len(),
            connected_with_proxy: view
                .mesh_instances(name)
                .iter()
                .any(|row| row.service.name != *name),
            connected_with_gateway: !gateway::ingress_instances(view, name).is_empty(),
            ..Self::default()
        };
        for instance in instances {
            let service = &instance.service;
            overview.nodes.insert(instance.node.name.clone());
            service.kind().clone_into(&mut overview.kind);
            let is_native = service.role.as_ref().is_some_and(|role| role.is_native);
            overview.connect_native |= is_native;
            tags.extend(service.tags.iter().cloned());
            sources.extend(service.meta.get(EXTERNAL_SOURCE).cloned());
            checks.extend(
                instance
                    .checks
                    .iter()
                    .map(|check| (check.key(), check.status)),
            );
        }
        let count = |wanted| checks.values().filter(|status| **status == wanted).count();
        Self {
            tags: (!tags.is_empty()).then_some(tags),
            external_sources: (!sources.is_empty()).then_some(sources),
            checks_passing: count(Status::Passing),
            checks_warning: count(Status::Warning),
            checks_critical: count(Status::Critical),
            ..overview
        }
    }
}

/// The datacenter that all instances are in.
fn common<'a>(instances: &[&'a Instance]) -> Option<&'a str> {
    let mut names = instances.iter().map(|row| row.node.datacenter.as_str());
    let first = names.next().filter(|name| !name.is_empty())?;
    names.all(|name| name == first).then_some(first)
}
