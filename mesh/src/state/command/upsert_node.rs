//! Registers a node or changes its facts.

use serde::{Deserialize, Serialize};

use crate::model::{
    Check, CheckKey, Node, NodeName, SERF_HEALTH, Service, ServiceKey, Status, bound_output,
};
use crate::state::transaction::Transaction;
use crate::state::{CHECKS_PER_REGISTRATION_MAX, Noun, Rejected};

use super::{RemoveNode, require_count, require_meta, require_name};

/// Registers a node or changes its facts, with node-level checks.
///
/// A known id under a new name renames the node with everything on it. A new id under the name of a
/// node that is not alive replaces that node, whose services and checks go. The given checks are
/// stored with the status that they carry, others stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpsertNode {
    /// The node; its indexes are ignored.
    pub node: Node,
    /// Node-level checks to store; their `node`, service fields and indexes are ignored.
    pub checks: Vec<Check>,
}

impl UpsertNode {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        self.validate(transaction)?;
        let Self { node, checks } = self;
        let name = node.name.clone();
        if transaction
            .tables
            .nodes
            .row(&name)
            .is_some_and(|holder| holder.id != node.id)
        {
            RemoveNode { name: name.clone() }.apply(transaction);
        }
        let old_name = transaction.tables.nodes.name_of(&node.id).cloned();
        transaction.put_node(node);
        if let Some(old_name) = old_name.filter(|old| *old != name) {
            move_rows(transaction, &old_name, &name);
        }
        for check in checks {
            transaction.put_check(Check {
                node: name.clone(),
                service_id: None,
                service_name: None,
                output: bound_output(check.output),
                ..check
            });
        }
        Ok(())
    }

    fn validate(&self, transaction: &Transaction<'_>) -> Result<(), Rejected> {
        let node = &self.node;
        require_name(Noun::NodeId, &node.id)?;
        require_name(Noun::NodeName, &node.name)?;
        require_meta(&node.meta)?;
        require_meta(&node.tagged_addresses)?;
        require_count(Noun::Check, self.checks.len(), CHECKS_PER_REGISTRATION_MAX)?;
        let tables = &*transaction.tables;
        let old_name = tables.nodes.name_of(&node.id).unwrap_or(&node.name);
        for check in &self.checks {
            require_name(Noun::CheckId, &check.id)?;
            let is_of_service = |name: &NodeName| {
                let key = CheckKey {
                    node: name.clone(),
                    id: check.id.clone(),
                };
                tables
                    .checks
                    .row(&key)
                    .is_some_and(|row| row.service_id.is_some())
            };
            if is_of_service(&node.name) || is_of_service(old_name) {
                return Err(Rejected::CheckIdTaken {
                    node: node.name.clone(),
                    id: check.id.clone(),
                });
            }
        }
        require_free_name(transaction, node)
    }
}

/// Refuses the name of another node that is alive.
pub(super) fn require_free_name(
    transaction: &Transaction<'_>,
    node: &Node,
) -> Result<(), Rejected> {
    let Some(holder) = transaction.tables.nodes.row(&node.name) else {
        return Ok(());
    };
    let health = CheckKey {
        node: node.name.clone(),
        id: SERF_HEALTH.into(),
    };
    let health = transaction.tables.checks.row(&health);
    let is_alive = health.is_some_and(|row| row.status == Status::Passing);
    if holder.id != node.id && is_alive {
        return Err(Rejected::NodeNameTaken {
            name: node.name.clone(),
            id: holder.id.clone(),
        });
    }
    Ok(())
}

/// Moves services and checks from one node name to another and removes the old node row.
fn move_rows(transaction: &mut Transaction<'_>, from: &NodeName, to: &NodeName) {
    let services: Vec<Service> = transaction
        .tables
        .services
        .of_node(from)
        .map(|row| (**row).clone())
        .collect();
    let checks: Vec<Check> = transaction
        .tables
        .checks
        .of_node(from)
        .map(|row| (**row).clone())
        .collect();
    for service in services {
        let old_key = ServiceKey {
            node: from.clone(),
            id: service.id.clone(),
        };
        transaction.put_service(Service {
            node: to.clone(),
            ..service
        });
        transaction.remove_service(&old_key);
    }
    for check in checks {
        transaction.remove_check(&check.key());
        transaction.put_check(Check {
            node: to.clone(),
            ..check
        });
    }
    transaction.remove_node(from);
}
