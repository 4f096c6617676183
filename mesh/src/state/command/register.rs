//! Registers what somebody says of a node, an instance and checks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{
    Check, CheckId, CheckKey, Node, NodeName, Service, ServiceId, ServiceKey, bound_output,
};
use crate::state::transaction::Transaction;
use crate::state::{
    CHECKS_PER_REGISTRATION_MAX, NAME_BYTES_MAX, Noun, Rejected, TAGS_PER_SERVICE_MAX,
};

use super::upsert_node::require_free_name;
use super::{UpsertNode, require_count, require_length, require_meta, require_name};

/// Registers a node, and on it an instance and checks, each with the status that it carries. What
/// is there and not named stays. An allocation's instance is not touched: it changes with its
/// allocation.
///
/// Source: catalog API, "Register Entity".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Register {
    /// The node; an empty id leaves the one that is known.
    pub node: Node,
    /// Whether a node that is known stays as it is.
    pub keep_node: bool,
    /// The instance; its node, origin and indexes are ignored.
    pub service: Option<Service>,
    /// The checks; one without `service_id` is of the node. Node, service name and indexes are
    /// ignored.
    pub checks: Vec<Check>,
}

impl Register {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        self.validate(transaction)?;
        let Self {
            node,
            keep_node,
            service,
            checks,
        } = self;
        let name = node.name.clone();
        put_node(transaction, node, keep_node)?;
        if let Some(service) = service {
            let service = Service {
                node: name.clone(),
                origin: None,
                draining: false,
                ..service
            };
            transaction.put_service(service);
        }
        for check in checks {
            let check = Check {
                node: name.clone(),
                output: bound_output(check.output),
                ..check
            };
            let owner = check.owner();
            let of = owner.and_then(|key| transaction.tables.services.row(&key));
            let service_name = of.map(|row| row.name.clone());
            transaction.put_check(Check {
                service_name,
                ..check
            });
        }
        Ok(())
    }

    fn validate(&self, transaction: &Transaction<'_>) -> Result<(), Rejected> {
        let node = &self.node;
        require_name(Noun::NodeName, &node.name)?;
        require_length(Noun::NodeId, node.id.len(), NAME_BYTES_MAX)?;
        require_meta(&node.meta)?;
        require_meta(&node.tagged_addresses)?;
        require_count(Noun::Check, self.checks.len(), CHECKS_PER_REGISTRATION_MAX)?;
        if let Some(service) = &self.service {
            require_name(Noun::ServiceId, &service.id)?;
            require_name(Noun::ServiceName, &service.name)?;
            require_meta(&service.meta)?;
            require_count(Noun::Tag, service.tags.len(), TAGS_PER_SERVICE_MAX)?;
            for tag in &service.tags {
                require_length(Noun::Tag, tag.len(), NAME_BYTES_MAX)?;
            }
            require_own(transaction, &node.name, &service.id)?;
        }
        let mut ids = BTreeSet::new();
        for check in &self.checks {
            self.validate_check(transaction, check)?;
            if !ids.insert(&check.id) {
                let (node, id) = (node.name.clone(), check.id.clone());
                return Err(Rejected::CheckIdTaken { node, id });
            }
        }
        Ok(())
    }

    fn validate_check(&self, transaction: &Transaction<'_>, check: &Check) -> Result<(), Rejected> {
        require_name(Noun::CheckId, &check.id)?;
        let node = &self.node.name;
        require_own_check(transaction, node, &check.id)?;
        let Some(id) = &check.service_id else {
            return Ok(());
        };
        require_own(transaction, node, id)?;
        let key = ServiceKey {
            node: node.clone(),
            id: id.clone(),
        };
        let is_new = self.service.as_ref().is_some_and(|new| new.id == key.id);
        if !is_new && transaction.tables.services.row(&key).is_none() {
            let ServiceKey { node, id } = key;
            return Err(Rejected::UnknownService { node, id });
        }
        Ok(())
    }
}

fn put_node(
    transaction: &mut Transaction<'_>,
    mut node: Node,
    keep_node: bool,
) -> Result<(), Rejected> {
    let known = transaction.tables.nodes.row(&node.name);
    if keep_node && known.is_some() {
        return Ok(());
    }
    if node.id.is_empty() {
        node.id = known.map(|row| row.id.clone()).unwrap_or_default();
        transaction.put_node(node);
        return Ok(());
    }
    // What is on the node stays when the node itself gets another id.
    let is_new_id = transaction.tables.nodes.name_of(&node.id).is_none();
    if is_new_id && known.is_some() {
        require_free_name(transaction, &node)?;
        transaction.put_node(node);
        return Ok(());
    }
    let checks = Vec::new();
    UpsertNode { node, checks }.apply(transaction)
}

/// Refuses an instance that belongs to an allocation.
pub(super) fn require_own(
    transaction: &Transaction<'_>,
    node: &NodeName,
    id: &ServiceId,
) -> Result<(), Rejected> {
    let key = ServiceKey {
        node: node.clone(),
        id: id.clone(),
    };
    let row = transaction.tables.services.row(&key);
    if row.is_some_and(|row| row.origin.is_some()) {
        let ServiceKey { node, id } = key;
        return Err(Rejected::OfAllocation {
            node,
            id: id.into(),
        });
    }
    Ok(())
}

/// Refuses a check of an instance that belongs to an allocation.
pub(super) fn require_own_check(
    transaction: &Transaction<'_>,
    node: &NodeName,
    id: &CheckId,
) -> Result<(), Rejected> {
    let key = CheckKey {
        node: node.clone(),
        id: id.clone(),
    };
    let row = transaction.tables.checks.row(&key);
    let Some(owner) = row.and_then(|row| row.service_id.as_ref()) else {
        return Ok(());
    };
    let refused = require_own(transaction, node, owner);
    refused.map_err(|_| Rejected::OfAllocation {
        node: key.node,
        id: key.id.into(),
    })
}
