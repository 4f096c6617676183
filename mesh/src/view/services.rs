//! The services table: keyed by node and instance id, found by service name.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Service, ServiceId, ServiceKey, ServiceName};

use super::query::key_of;

/// Rows by key. Invariant: `by_name` holds the same rows, `by_mesh` those that take connections of
/// the mesh, by the service that they take them for; both without empty inner maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Services {
    rows: OrdMap<ServiceKey, Arc<Service>>,
    by_name: Named,
    by_mesh: Named,
}

impl Services {
    pub(crate) fn row(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.rows.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.rows.values()
    }

    pub(crate) fn of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Service>> {
        let first = ServiceKey {
            node: node.into(),
            id: ServiceId::default(),
        };
        self.rows
            .range(first..)
            .map(|(_, row)| row)
            .take_while(move |row| row.node == node)
    }

    pub(crate) fn of_name(&self, name: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.get(name).into_iter().flat_map(OrdMap::values)
    }

    /// What takes connections of the mesh for a service.
    pub(crate) fn of_mesh(&self, name: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.by_mesh.get(name).into_iter().flat_map(OrdMap::values)
    }

    /// The services that something takes connections of the mesh for.
    pub(crate) fn mesh_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_mesh.keys()
    }

    pub(crate) fn has_mesh(&self, name: &str) -> bool {
        self.by_mesh.contains_key(name)
    }

    pub(crate) fn names(
        &self,
    ) -> impl Iterator<Item = (&ServiceName, impl Iterator<Item = &Arc<Service>>)> {
        self.by_name
            .iter()
            .map(|(name, rows)| (name, rows.values()))
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Keys of the rows that are not those of `newer`.
    pub(crate) fn changed(&self, newer: &Self) -> BTreeSet<ServiceKey> {
        let changed = self.rows.diff(&newer.rows);
        changed.map(key_of).cloned().collect()
    }

    pub(crate) fn put(&mut self, service: Arc<Service>) {
        let key = service.key();
        self.remove(&key);
        insert(&mut self.by_name, &service.name, &service);
        if let Some(destination) = service.takes_mesh_for() {
            insert(&mut self.by_mesh, destination, &service);
        }
        self.rows.insert(key, service);
    }

    pub(crate) fn remove(&mut self, key: &ServiceKey) -> Option<Arc<Service>> {
        let row = self.rows.remove(key)?;
        remove(&mut self.by_name, &row.name, key);
        if let Some(destination) = row.takes_mesh_for() {
            remove(&mut self.by_mesh, destination, key);
        }
        Some(row)
    }
}

/// Rows by a name, then by key.
type Named = OrdMap<ServiceName, OrdMap<ServiceKey, Arc<Service>>>;

fn insert(named: &mut Named, name: &ServiceName, row: &Arc<Service>) {
    let mut rows = named.get(name).cloned().unwrap_or_default();
    rows.insert(row.key(), Arc::clone(row));
    named.insert(name.clone(), rows);
}

fn remove(named: &mut Named, name: &str, key: &ServiceKey) {
    if let Some(rows) = named.get_mut(name) {
        rows.remove(key);
        if rows.is_empty() {
            named.remove(name);
        }
    }
}
