//! Registers a service instance or changes it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Check, CheckId, CheckKey, Service, bound_output};
use crate::state::transaction::Transaction;
use crate::state::{CHECKS_PER_REGISTRATION_MAX, Noun, Rejected, TAGS_PER_SERVICE_MAX};

use super::{require_count, require_meta, require_name};

/// Registers a service instance with all its checks, or changes it.
///
/// An instance that exists keeps whether it is draining, and its checks keep status and output;
/// checks of the instance that are not listed any more are removed. Repeating a registration
/// changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisterService {
    /// The instance; its indexes and `draining` are ignored.
    pub service: Service,
    /// All checks of the instance; `node`, `service_id`, `service_name` and indexes are filled in.
    pub checks: Vec<Check>,
}

impl RegisterService {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        self.validate(transaction)?;
        let Self { service, checks } = self;
        let key = service.key();
        let name = service.name.clone();
        let draining = transaction
            .tables
            .services
            .row(&key)
            .is_some_and(|row| row.draining);
        transaction.put_service(Service {
            draining,
            ..service
        });

        let kept: BTreeSet<CheckId> = checks.iter().map(|check| check.id.clone()).collect();
        let dropped: Vec<CheckKey> = transaction
            .tables
            .checks
            .of_owner(&key)
            .filter(|row| !kept.contains(&row.id))
            .map(|row| row.key())
            .collect();
        for check in &dropped {
            transaction.remove_check(check);
        }
        for check in checks {
            let mut check = Check {
                node: key.node.clone(),
                service_id: Some(key.id.clone()),
                service_name: Some(name.clone()),
                output: bound_output(check.output),
                ..check
            };
            if let Some(row) = transaction.tables.checks.row(&check.key()) {
                check.status = row.status;
                check.output.clone_from(&row.output);
            }
            transaction.put_check(check);
        }
        Ok(())
    }

    fn validate(&self, transaction: &Transaction<'_>) -> Result<(), Rejected> {
        let service = &self.service;
        require_name(Noun::NodeName, &service.node)?;
        require_name(Noun::ServiceId, &service.id)?;
        require_name(Noun::ServiceName, &service.name)?;
        require_meta(&service.meta)?;
        require_count(Noun::Tag, service.tags.len(), TAGS_PER_SERVICE_MAX)?;
        for tag in &service.tags {
            super::require_length(Noun::Tag, tag.len(), crate::state::NAME_BYTES_MAX)?;
        }
        require_count(Noun::Check, self.checks.len(), CHECKS_PER_REGISTRATION_MAX)?;
        if transaction.tables.nodes.row(&service.node).is_none() {
            return Err(Rejected::UnknownNode {
                node: service.node.clone(),
            });
        }
        let mut ids = BTreeSet::new();
        for check in &self.checks {
            require_name(Noun::CheckId, &check.id)?;
            let key = CheckKey {
                node: service.node.clone(),
                id: check.id.clone(),
            };
            let is_foreign = transaction
                .tables
                .checks
                .row(&key)
                .is_some_and(|row| !row.is_of(&service.id));
            if is_foreign || !ids.insert(&check.id) {
                return Err(Rejected::CheckIdTaken {
                    node: key.node,
                    id: key.id,
                });
            }
        }
        Ok(())
    }
}
