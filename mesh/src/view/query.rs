//! Reading a [`View`].
//!
//! A draining instance, one that its job keeps to itself, and their checks are in none of these
//! views; [`View::service`] and [`View::all_services`] alone still show its row.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::model::{
    Check, CheckKey, ConfigEntry, ConfigKey, Index, Node, NodeName, PreparedQuery, RouteOverrides,
    SERF_HEALTH, Service, ServiceId, ServiceKey, ServiceName, Split, Status,
};

use super::virtuals::address;
use super::{Table, View};

/// A service instance with its node and everything that is known about its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The node that hosts it.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
    /// Node-level checks of the node first, then the instance's own, each by check id.
    pub checks: Vec<Arc<Check>>,
    /// The worst of `checks`; passing if there are none.
    pub status: Status,
}

/// What two views do not have alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Names of nodes whose rows differ or that only one view has.
    pub nodes: BTreeSet<NodeName>,
    /// Keys of instances that only one view has, or whose row, checks, node or checks of their node
    /// differ.
    pub instances: BTreeSet<ServiceKey>,
}

impl Instance {
    /// Whether the instance has every one of `tags`, compared without case.
    #[must_use]
    pub fn has_tags(&self, tags: &[String]) -> bool {
        tags.iter()
            .all(|tag| self.service.tags.iter().any(|own| eq_ignore_case(own, tag)))
    }

    /// Whether the instance may get new traffic: every check of it and of its node passes.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.status == Status::Passing
    }

    /// Address to reach the instance: its own, or its node's if it has none.
    #[must_use]
    pub fn address(&self) -> &str {
        if self.service.address.is_empty() {
            &self.node.address
        } else {
            &self.service.address
        }
    }
}

/// The key of an entry that differs between two maps.
pub(super) fn key_of<'a, K, V>(item: DiffItem<'a, 'a, K, V>) -> &'a K {
    match item {
        DiffItem::Add(key, _)
        | DiffItem::Remove(key, _)
        | DiffItem::Update { new: (key, _), .. } => key,
    }
}

fn eq_ignore_case(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}

impl View {
    /// Returns the log index of the last command that changed the catalog.
    #[must_use]
    pub fn index(&self) -> Index {
        self.indexes.last
    }

    /// Returns the log index of the last change of a table.
    #[must_use]
    pub fn table_index(&self, table: Table) -> Index {
        self.indexes.table(table)
    }

    /// Returns the log index of the last change of a service's instances or of their nodes.
    ///
    /// For a name without instances: when any service last vanished. Never goes backwards.
    #[must_use]
    pub fn service_index(&self, name: &str) -> Index {
        self.indexes
            .by_service
            .get(name)
            .map_or(self.indexes.service_vanished, |row| row.instances)
    }

    /// As [`View::service_index`], and also moved by checks of the instances and of their nodes.
    #[must_use]
    pub fn health_index(&self, name: &str) -> Index {
        self.indexes
            .by_service
            .get(name)
            .map_or(self.indexes.service_vanished, |row| row.health)
    }

    /// Returns the log index of the last change of a node, its services or its checks.
    ///
    /// For an unknown node: when any node last vanished. Never goes backwards.
    #[must_use]
    pub fn node_index(&self, name: &str) -> Index {
        self.indexes
            .by_node
            .get(name)
            .copied()
            .unwrap_or(self.indexes.node_vanished)
    }

    /// Iterates all nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter()
    }

    /// Returns a node by name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.row(name)
    }

    /// Returns a node by id.
    #[must_use]
    pub fn node_by_id(&self, id: &str) -> Option<&Arc<Node>> {
        self.nodes.name_of(id).and_then(|name| self.nodes.row(name))
    }

    /// Iterates the datacenters that nodes are in, by name.
    pub fn datacenters(&self) -> impl Iterator<Item = &str> {
        self.nodes.datacenters()
    }

    /// Whether any node is in the datacenter.
    #[must_use]
    pub fn has_datacenter(&self, name: &str) -> bool {
        self.nodes.has_datacenter(name)
    }

    /// Returns the row of an instance, draining or not.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.row(key)
    }

    /// Iterates the rows of all instances, also those that are not shown, by node name and id.
    pub fn all_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// Returns a check by key, whoever it belongs to.
    #[must_use]
    pub fn check(&self, key: &CheckKey) -> Option<&Arc<Check>> {
        self.checks.row(key)
    }

    /// Returns the operator's route text.
    #[must_use]
    pub fn route_overrides(&self) -> &Arc<RouteOverrides> {
        &self.route_overrides
    }

    /// Returns the log index of the last change of the operator's route text or of any split; 0 if
    /// neither was ever set.
    #[must_use]
    pub fn route_overrides_version(&self) -> Index {
        self.indexes.route_overrides
    }

    /// Iterates the splits by key.
    pub fn splits(&self) -> impl Iterator<Item = &Arc<Split>> {
        self.splits.iter()
    }

    /// Iterates the configuration entries by kind and name.
    pub fn config_entries(&self) -> impl Iterator<Item = &Arc<ConfigEntry>> {
        self.config_entries.iter()
    }

    /// Returns a configuration entry.
    #[must_use]
    pub fn config_entry(&self, key: &ConfigKey) -> Option<&Arc<ConfigEntry>> {
        self.config_entries.row(key)
    }

    /// How near a node is to another: less is nearer. Distances are not measured: a node is nearest
    /// to itself, then come those with an agent, then the rest. All are alike from a node without
    /// an agent.
    #[must_use]
    pub fn nearness(&self, from: &str, to: &str) -> u8 {
        if !self.has_agent(from) {
            0
        } else if from == to {
            1
        } else if self.has_agent(to) {
            2
        } else {
            3
        }
    }

    /// Whether an agent looks after the node.
    #[must_use]
    pub fn has_agent(&self, node: &str) -> bool {
        let key = CheckKey {
            node: node.into(),
            id: SERF_HEALTH.into(),
        };
        self.checks.row(&key).is_some()
    }

    /// Iterates the prepared queries by id.
    pub fn prepared_queries(&self) -> impl Iterator<Item = &Arc<PreparedQuery>> {
        self.prepared_queries.iter()
    }

    /// Returns a prepared query by id.
    #[must_use]
    pub fn prepared_query(&self, id: &str) -> Option<&Arc<PreparedQuery>> {
        self.prepared_queries.row(id)
    }

    /// Returns every service name with the union of its instances' tags, both in order.
    #[must_use]
    pub fn service_tags(&self) -> BTreeMap<ServiceName, BTreeSet<String>> {
        let mut services = BTreeMap::new();
        for (name, rows) in self.services.names() {
            let mut shown = rows.filter(|row| row.is_shown()).peekable();
            if shown.peek().is_some() {
                services.insert(
                    name.clone(),
                    shown.flat_map(|row| row.tags.clone()).collect(),
                );
            }
        }
        services
    }

    /// Returns the instances of a service by node name and id, whatever their health.
    #[must_use]
    pub fn instances(&self, name: &str) -> Vec<Instance> {
        self.services
            .of_name(name)
            .filter_map(|row| self.instance(row))
            .collect()
    }

    /// Returns what takes connections of the mesh for a service, by node name and id.
    #[must_use]
    pub fn mesh_instances(&self, name: &str) -> Vec<Instance> {
        self.services
            .of_mesh(name)
            .filter_map(|row| self.instance(row))
            .collect()
    }

    /// Iterates the services that something takes connections of the mesh for.
    pub fn mesh_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.mesh_names()
    }

    /// Iterates the services for which an address stands, with it.
    pub fn virtual_addresses(&self) -> impl Iterator<Item = (&ServiceName, Ipv4Addr)> {
        let rows = self.virtuals.iter();
        rows.map(|(service, number)| (service, address(number)))
    }

    /// Returns the address that stands for a service.
    #[must_use]
    pub fn virtual_address(&self, service: &str) -> Option<Ipv4Addr> {
        self.virtuals.number(service).map(address)
    }

    /// Returns the log index of the last change of what readers of mesh instances and gateways
    /// see: that of the whole tables, since a proxy has another name than its service.
    #[must_use]
    pub fn mesh_index(&self) -> Index {
        let tables = [
            Table::Nodes,
            Table::Services,
            Table::Checks,
            Table::ConfigEntries,
        ];
        let indexes = tables.map(|table| self.table_index(table));
        indexes.into_iter().max().unwrap_or_default()
    }

    /// Returns what is not as it is in `older`; the cost grows with the differences.
    #[must_use]
    pub fn differences(&self, older: &Self) -> Differences {
        let nodes = older.nodes.changed(&self.nodes);
        let mut instances = older.services.changed(&self.services);
        let mut hosts = nodes.clone();
        for owner in older.checks.changed(&self.checks) {
            if owner.id.is_empty() {
                hosts.insert(owner.node);
            } else {
                instances.insert(owner);
            }
        }
        for view in [older, self] {
            let on_hosts = hosts.iter().flat_map(|node| view.services.of_node(node));
            instances.extend(on_hosts.map(|row| row.key()));
        }
        Differences { nodes, instances }
    }

    /// Returns the instances of a service whose every check is passing.
    #[must_use]
    pub fn passing_instances(&self, name: &str) -> Vec<Instance> {
        let mut instances = self.instances(name);
        instances.retain(Instance::is_usable);
        instances
    }

    /// Returns the instances of a service that have every one of `tags`, compared without case.
    #[must_use]
    pub fn instances_tagged(&self, name: &str, tags: &[String]) -> Vec<Instance> {
        let mut instances = self.instances(name);
        instances.retain(|instance| instance.has_tags(tags));
        instances
    }

    /// Iterates every instance that is shown, by service name, then node name and id.
    pub fn all_instances(&self) -> impl Iterator<Item = Instance> {
        self.services
            .names()
            .flat_map(|(_, rows)| rows.filter_map(|row| self.instance(row)))
    }

    /// Iterates the instances on a node by id.
    pub fn services_of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Service>> {
        self.services.of_node(node).filter(|row| row.is_shown())
    }

    /// Iterates the checks of all instances of a service, without node-level checks.
    pub fn checks_of_service(&self, name: &str) -> impl Iterator<Item = &Arc<Check>> {
        self.services
            .of_name(name)
            .filter(|row| row.is_shown())
            .flat_map(|row| self.checks.of_owner(&row.key()).collect::<Vec<_>>())
    }

    /// Iterates the checks of a node and of the instances on it by check id.
    pub fn checks_of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Check>> {
        self.checks
            .of_node(node)
            .filter(|check| self.is_shown(check))
    }

    /// Iterates all checks by node name and check id, or only those in one status.
    pub fn checks(&self, status: Option<Status>) -> impl Iterator<Item = &Arc<Check>> {
        self.checks
            .iter()
            .filter(move |check| status.is_none_or(|status| check.status == status))
            .filter(|check| self.is_shown(check))
    }

    /// Returns the tags of the instance that a check belongs to; empty for a node-level check.
    #[must_use]
    pub fn check_tags(&self, check: &Check) -> &[String] {
        let owner = check.owner().and_then(|key| self.services.row(&key));
        owner.map_or(&[], |row| &row.tags)
    }

    /// Whether the check belongs to a node or to an instance that is shown.
    fn is_shown(&self, check: &Check) -> bool {
        check.owner().is_none_or(|key| {
            let owner = self.services.row(&key);
            owner.is_some_and(|row| row.is_shown())
        })
    }

    /// Returns an instance by its key; nothing if it is not shown or not there.
    #[must_use]
    pub fn instance_of(&self, key: &ServiceKey) -> Option<Instance> {
        self.services.row(key).and_then(|row| self.instance(row))
    }

    /// Joins an instance with its node and checks; nothing if it is not shown.
    fn instance(&self, service: &Arc<Service>) -> Option<Instance> {
        if !service.is_shown() {
            return None;
        }
        let node = Arc::clone(self.nodes.row(&service.node)?);
        let of_node = ServiceKey {
            node: service.node.clone(),
            id: ServiceId::default(),
        };
        let checks: Vec<Arc<Check>> = self
            .checks
            .of_owner(&of_node)
            .chain(self.checks.of_owner(&service.key()))
            .cloned()
            .collect();
        let status = checks
            .iter()
            .map(|check| check.status)
            .max()
            .unwrap_or(Status::Passing);
        Some(Instance {
            node,
            service: Arc::clone(service),
            checks,
            status,
        })
    }
}
