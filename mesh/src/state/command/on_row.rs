//! What an operation of a transaction does to a node, an instance or a check.

use std::sync::Arc;

use crate::model::{Check, CheckKey, Index, Node, Service, ServiceKey};
use crate::state::Rejected;
use crate::state::transaction::Transaction;

use super::operation::{
    CheckOperation, Failure, NodeOperation, OperationResult, RowVerb, ServiceOperation,
};
use super::put_config_entry::require_version;
use super::{Deregister, Register};

/// Carries out an operation on a node.
pub(super) fn node(
    transaction: &mut Transaction<'_>,
    operation: NodeOperation,
) -> Result<(), Failure> {
    let NodeOperation { verb, node, keep } = operation;
    let name = node.name.clone();
    let find = |transaction: &Transaction<'_>| -> Option<Arc<Node>> {
        let nodes = &transaction.tables.nodes;
        let by_id = nodes.name_of(&node.id);
        nodes.row(by_id.unwrap_or(&name)).map(Arc::clone)
    };
    let row = || format!("node {name:?}");
    let stored = transaction.tables.nodes.row(&name);
    let stored = stored.map(|row| row.modify_index);
    compare(verb, stored, node.modify_index, row)?;
    match verb {
        RowVerb::Get => {}
        RowVerb::Set | RowVerb::Cas => register(
            transaction,
            Register {
                node: node.clone(),
                keep_node: keep,
                ..Register::default()
            },
        )?,
        RowVerb::Delete | RowVerb::DeleteCas if keep => return Ok(()),
        RowVerb::Delete | RowVerb::DeleteCas => {
            let node = name.clone();
            return deregister(
                transaction,
                Deregister {
                    node,
                    ..Deregister::default()
                },
            );
        }
    }
    let found = find(transaction).ok_or_else(|| Failure::NoRow { row: row() })?;
    transaction
        .applied
        .results
        .push(OperationResult::Node(found));
    Ok(())
}

/// Carries out an operation on an instance.
pub(super) fn service(
    transaction: &mut Transaction<'_>,
    operation: ServiceOperation,
) -> Result<(), Failure> {
    let ServiceOperation { verb, service } = operation;
    let key = service.key();
    let find = |transaction: &Transaction<'_>| -> Option<Arc<Service>> {
        let row = transaction.tables.services.row(&key)?;
        (!row.draining).then(|| Arc::clone(row))
    };
    let row = || format!("service {:?} on node {:?}", key.id, key.node);
    let stored = find(transaction).map(|row| row.modify_index);
    compare(verb, stored, service.modify_index, row)?;
    match verb {
        RowVerb::Get => {}
        RowVerb::Set | RowVerb::Cas => {
            let node = known_node(transaction, &key.node)?;
            register(
                transaction,
                Register {
                    node,
                    keep_node: true,
                    service: Some(service),
                    ..Register::default()
                },
            )?;
        }
        RowVerb::Delete | RowVerb::DeleteCas => {
            let ServiceKey { node, id } = key.clone();
            return deregister(
                transaction,
                Deregister {
                    node,
                    service_id: Some(id),
                    ..Deregister::default()
                },
            );
        }
    }
    let found = find(transaction).ok_or_else(|| Failure::NoRow { row: row() })?;
    transaction
        .applied
        .results
        .push(OperationResult::Service(found));
    Ok(())
}

/// Carries out an operation on a check.
pub(super) fn check(
    transaction: &mut Transaction<'_>,
    operation: CheckOperation,
) -> Result<(), Failure> {
    let CheckOperation { verb, check } = operation;
    let key = check.key();
    let find = |transaction: &Transaction<'_>| -> Option<Arc<Check>> {
        transaction.tables.checks.row(&key).map(Arc::clone)
    };
    let row = || format!("check {:?} on node {:?}", key.id, key.node);
    let stored = find(transaction).map(|row| row.modify_index);
    compare(verb, stored, check.modify_index, row)?;
    match verb {
        RowVerb::Get => {}
        RowVerb::Set | RowVerb::Cas => {
            let node = known_node(transaction, &key.node)?;
            register(
                transaction,
                Register {
                    node,
                    keep_node: true,
                    checks: vec![check],
                    ..Register::default()
                },
            )?;
        }
        RowVerb::Delete | RowVerb::DeleteCas => {
            let CheckKey { node, id } = key.clone();
            return deregister(
                transaction,
                Deregister {
                    node,
                    check_id: Some(id),
                    ..Deregister::default()
                },
            );
        }
    }
    let found = find(transaction).ok_or_else(|| Failure::NoRow { row: row() })?;
    let tags = transaction.tables.check_tags(&found).to_vec();
    let result = OperationResult::Check(found, tags);
    transaction.applied.results.push(result);
    Ok(())
}

/// Refuses a row of another version than a comparing operation expects.
fn compare(
    verb: RowVerb,
    stored: Option<Index>,
    expected: Index,
    row: impl Fn() -> String,
) -> Result<(), Failure> {
    match verb {
        RowVerb::Get | RowVerb::Set | RowVerb::Delete => Ok(()),
        RowVerb::Cas => {
            require_version(stored, Some(expected)).map_err(|_| Failure::StaleRow { row: row() })
        }
        RowVerb::DeleteCas if stored == Some(expected) => Ok(()),
        RowVerb::DeleteCas => Err(Failure::StaleRemoval { row: row() }),
    }
}

fn known_node(transaction: &Transaction<'_>, name: &str) -> Result<Node, Failure> {
    let row = transaction.tables.nodes.row(name);
    row.map(|row| (**row).clone()).ok_or(Failure::MissingNode)
}

fn register(transaction: &mut Transaction<'_>, command: Register) -> Result<(), Failure> {
    command
        .apply(transaction)
        .map_err(|rejected| match rejected {
            Rejected::UnknownService { .. } => Failure::MissingService,
            other => Failure::Refused(Box::new(other)),
        })
}

fn deregister(transaction: &mut Transaction<'_>, command: Deregister) -> Result<(), Failure> {
    let refused = |rejected| Failure::Refused(Box::new(rejected));
    command.apply(transaction).map_err(refused)
}
