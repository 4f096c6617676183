//! Removes an instance, a check or a node.

use serde::{Deserialize, Serialize};

use crate::model::{CheckId, CheckKey, NodeName, ServiceId, ServiceKey};
use crate::state::Rejected;
use crate::state::transaction::Transaction;

use super::RemoveNode;
use super::register::{require_own, require_own_check};

/// Removes an instance with its checks, a check, or a node with everything on it; what is not there
/// is no error. An allocation's instance is not touched.
///
/// Source: catalog API, "Deregister Entity".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deregister {
    /// Name of the node.
    pub node: NodeName,
    /// Id of the instance.
    #[serde(with = "crate::model::or_none")]
    pub service_id: Option<ServiceId>,
    /// Id of the check, which counts when no instance is named.
    #[serde(with = "crate::model::or_none")]
    pub check_id: Option<CheckId>,
}

impl Deregister {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        let Self {
            node,
            service_id,
            check_id,
        } = self;
        match (service_id, check_id) {
            (Some(id), _) => {
                require_own(transaction, &node, &id)?;
                transaction.remove_service(&ServiceKey { node, id });
            }
            (None, Some(id)) => {
                require_own_check(transaction, &node, &id)?;
                transaction.remove_check(&CheckKey { node, id });
            }
            (None, None) => RemoveNode { name: node }.apply(transaction),
        }
        Ok(())
    }
}
