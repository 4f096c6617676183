//! Removes a service instance.

use serde::{Deserialize, Serialize};

use crate::model::{NodeName, ServiceId, ServiceKey};
use crate::state::transaction::Transaction;

/// Removes a service instance with its checks; an unknown instance is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeregisterService {
    /// Name of the node.
    pub node: NodeName,
    /// Id of the instance.
    pub id: ServiceId,
}

impl DeregisterService {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) {
        if self.id.is_empty() {
            return;
        }
        transaction.remove_service(&ServiceKey {
            node: self.node,
            id: self.id,
        });
    }
}
