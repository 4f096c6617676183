//! Takes a service instance out of every view.

use serde::{Deserialize, Serialize};

use crate::model::{NodeName, Service, ServiceId, ServiceKey};
use crate::state::transaction::Transaction;

/// Marks a service instance as draining: out of catalog, health, DNS and routes from this index on.
///
/// The row stays until the instance is deregistered. An unknown instance is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainService {
    /// Name of the node.
    pub node: NodeName,
    /// Id of the instance.
    pub id: ServiceId,
}

impl DrainService {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) {
        let key = ServiceKey {
            node: self.node,
            id: self.id,
        };
        let Some(row) = transaction.tables.services.row(&key) else {
            return;
        };
        let service = Service {
            draining: true,
            ..(**row).clone()
        };
        transaction.put_service(service);
    }
}
