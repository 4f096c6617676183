//! Removes a node.

use serde::{Deserialize, Serialize};

use crate::model::{CheckKey, NodeName, ServiceKey};
use crate::state::transaction::Transaction;

/// Removes a node with its services and checks; an unknown node is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoveNode {
    /// Name of the node.
    pub name: NodeName,
}

impl RemoveNode {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) {
        let services: Vec<ServiceKey> = transaction
            .tables
            .services
            .of_node(&self.name)
            .map(|row| row.key())
            .collect();
        for key in &services {
            transaction.remove_service(key);
        }
        let checks: Vec<CheckKey> = transaction
            .tables
            .checks
            .of_node(&self.name)
            .map(|row| row.key())
            .collect();
        for key in &checks {
            transaction.remove_check(key);
        }
        transaction.remove_node(&self.name);
    }
}
