//! Instances as another catalog shows them, for those who route to them.
//!
//! What runs here is registered there too. It is known better here: whether it drains, which job it
//! is of, how its checks stand; so the row of this catalog takes the place of the other one's
//! ([`merged`]). Pure: whoever uses it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::external::OWNER_META;
use crate::model::{
    Check, CheckId, Node, NodeId, NodeName, Service, ServiceId, ServiceKey, ServiceName, Status,
    Weights,
};
use crate::view::{Instance, View};

/// An instance as the health endpoints list it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FoundInstance {
    node: FoundNode,
    service: FoundService,
    checks: Vec<FoundCheck>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FoundNode {
    #[serde(rename = "ID")]
    id: NodeId,
    node: NodeName,
    address: String,
    datacenter: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FoundService {
    #[serde(rename = "ID")]
    id: ServiceId,
    service: ServiceName,
    address: String,
    port: u16,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
}

/// A check as the health endpoints list it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FoundCheck {
    node: NodeName,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
    status: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    service_name: ServiceName,
}

impl FoundCheck {
    /// The services whose instances stand otherwise in `new` than in `old`; nothing when that may
    /// be any, because a check of a node changed.
    #[must_use]
    pub fn changed_services(old: &[Self], new: &[Self]) -> Option<BTreeSet<ServiceName>> {
        fn keyed(all: &[FoundCheck]) -> BTreeMap<(&str, &str), &FoundCheck> {
            let keyed = all.iter();
            keyed
                .map(|check| ((check.node.as_str(), check.check_id.as_str()), check))
                .collect()
        }
        let (old, new) = (keyed(old), keyed(new));
        let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
        let other = new
            .iter()
            .filter(|(key, check)| old.get(*key) != Some(*check));
        let mut changed = BTreeSet::new();
        for (_, check) in gone.chain(other) {
            if check.service_id.is_empty() {
                return None;
            }
            changed.insert(check.service_name.clone());
        }
        Some(changed)
    }
}

impl From<FoundCheck> for Check {
    fn from(found: FoundCheck) -> Self {
        Self {
            node: found.node,
            id: found.check_id,
            // A word that is not known is nothing to send requests to.
            status: found.status.parse().unwrap_or(Status::Critical),
            service_id: found.service_id,
            service_name: found.service_name,
            ..Self::default()
        }
    }
}

impl From<FoundInstance> for Instance {
    fn from(found: FoundInstance) -> Self {
        let checks: Vec<Arc<Check>> = found
            .checks
            .into_iter()
            .map(|check| Arc::new(check.into()))
            .collect();
        let status = checks.iter().map(|check| check.status).max();
        let service = Service {
            id: found.service.id,
            node: found.node.node.clone(),
            name: found.service.service,
            address: found.service.address,
            port: found.service.port,
            tags: found.service.tags.unwrap_or_default(),
            meta: found.service.meta.unwrap_or_default(),
            weights: Weights::default(),
            ..Service::default()
        };
        let node = Node {
            id: found.node.id,
            name: found.node.node,
            address: found.node.address,
            datacenter: found.node.datacenter,
            ..Node::default()
        };
        Self {
            node: Arc::new(node),
            service: Arc::new(service),
            checks,
            status: status.unwrap_or(Status::Passing),
        }
    }
}

/// What was found elsewhere. An instance that a node of `view` registered there is as `view` has
/// it, at best as well as it is said to be there, and left out when `view` does not show it any
/// more.
#[must_use]
pub fn merged(view: &View, found: &[Instance]) -> Vec<Instance> {
    let merged = found.iter().filter_map(|instance| {
        let owner = instance.service.meta.get(OWNER_META);
        let Some(node) = owner.and_then(|id| view.node_by_id(id)) else {
            return Some(instance.clone());
        };
        let key = ServiceKey {
            node: node.name.clone(),
            id: instance.service.id.clone(),
        };
        let mut own = view.instance_of(&key)?;
        own.status = own.status.max(instance.status);
        Some(own)
    });
    merged.collect()
}
