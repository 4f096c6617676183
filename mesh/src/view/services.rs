//! The services table: keyed by node and instance id, found by service name.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Service, ServiceKey};

/// Rows by key. Invariant: `by_name` holds the same rows, without empty inner maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Services {
    rows: OrdMap<ServiceKey, Arc<Service>>,
    by_name: OrdMap<String, OrdMap<ServiceKey, Arc<Service>>>,
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
            node: node.to_owned(),
            id: String::new(),
        };
        self.rows
            .range(first..)
            .map(|(_, row)| row)
            .take_while(move |row| row.node == node)
    }

    pub(crate) fn of_name(&self, name: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.get(name).into_iter().flat_map(OrdMap::values)
    }

    pub(crate) fn names(
        &self,
    ) -> impl Iterator<Item = (&String, impl Iterator<Item = &Arc<Service>>)> {
        self.by_name
            .iter()
            .map(|(name, rows)| (name, rows.values()))
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn put(&mut self, service: Arc<Service>) {
        let key = service.key();
        self.remove(&key);
        let mut named = self.by_name.get(&service.name).cloned().unwrap_or_default();
        named.insert(key.clone(), Arc::clone(&service));
        self.by_name.insert(service.name.clone(), named);
        self.rows.insert(key, service);
    }

    pub(crate) fn remove(&mut self, key: &ServiceKey) -> Option<Arc<Service>> {
        let row = self.rows.remove(key)?;
        if let Some(named) = self.by_name.get_mut(&row.name) {
            named.remove(key);
            if named.is_empty() {
                self.by_name.remove(&row.name);
            }
        }
        Some(row)
    }
}
