//! The commands of the catalog, one file each.

mod create_session;
mod delete_config_entry;
mod delete_key;
mod delete_prepared_query;
mod deregister;
mod deregister_service;
mod destroy_session;
mod drain_service;
mod on_row;
mod operation;
mod put_config_entry;
mod put_key;
mod put_prepared_query;
mod register;
mod register_service;
mod remove_node;
mod restore_catalog;
mod run_transaction;
mod set_authority;
mod set_route_overrides;
mod set_split;
mod update_checks;
mod upsert_node;

use serde::{Deserialize, Serialize};

use super::transaction::Transaction;
use super::{Applied, META_PAIRS_MAX, NAME_BYTES_MAX, Noun, Rejected, Snapshot, Stamp};

pub use create_session::CreateSession;
pub use delete_config_entry::DeleteConfigEntry;
pub use delete_key::DeleteKey;
pub use delete_prepared_query::DeletePreparedQuery;
pub use deregister::Deregister;
pub use deregister_service::DeregisterService;
pub use destroy_session::DestroySession;
pub use drain_service::DrainService;
pub use operation::{
    CheckOperation, Failure, KeyOperation, KeyVerb, NodeOperation, Operation, OperationFailure,
    OperationResult, RowVerb, ServiceOperation,
};
pub use put_config_entry::PutConfigEntry;
pub use put_key::{KeyCondition, PutKey};
pub use put_prepared_query::PutPreparedQuery;
pub use register::Register;
pub use register_service::RegisterService;
pub use remove_node::RemoveNode;
pub use restore_catalog::RestoreCatalog;
pub use run_transaction::RunTransaction;
pub use set_authority::SetAuthority;
pub use set_route_overrides::SetRouteOverrides;
pub use set_split::SetSplit;
pub use update_checks::{CheckResult, UpdateChecks};
pub use upsert_node::UpsertNode;

/// One change of the catalog, as it is stored in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Registers a node or changes its facts.
    UpsertNode(UpsertNode),
    /// Removes a node with its services and checks.
    RemoveNode(RemoveNode),
    /// Registers a service instance with its checks, or changes it.
    RegisterService(Box<RegisterService>),
    /// Removes a service instance with its checks.
    DeregisterService(DeregisterService),
    /// Takes a service instance out of every view, keeping its row.
    DrainService(DrainService),
    /// Stores results of checks.
    UpdateChecks(UpdateChecks),
    /// Replaces the operator's route text.
    SetRouteOverrides(SetRouteOverrides),
    /// Fixes or frees the share of some targets of a route.
    SetSplit(SetSplit),
    /// Registers what somebody says of a node, an instance and checks.
    Register(Box<Register>),
    /// Removes an instance, a check or a node that was registered so.
    Deregister(Deregister),
    /// Writes, locks or unlocks a key.
    PutKey(PutKey),
    /// Deletes a key, or all keys with a prefix.
    DeleteKey(DeleteKey),
    /// Begins a session.
    CreateSession(CreateSession),
    /// Ends a session.
    DestroySession(DestroySession),
    /// Carries out several operations, entirely or not at all.
    RunTransaction(RunTransaction),
    /// Writes a configuration entry.
    PutConfigEntry(PutConfigEntry),
    /// Removes a configuration entry.
    DeleteConfigEntry(DeleteConfigEntry),
    /// Configures the certificate authority.
    SetAuthority(Box<SetAuthority>),
    /// Writes a prepared query.
    PutPreparedQuery(Box<PutPreparedQuery>),
    /// Removes a prepared query.
    DeletePreparedQuery(DeletePreparedQuery),
    /// Brings back what a snapshot of the catalog held.
    RestoreCatalog(RestoreCatalog),
}

impl Command {
    /// Carries out the command on `tables`, entirely or not at all.
    pub(super) fn apply(self, tables: &mut Snapshot, at: Stamp) -> Result<Applied, Rejected> {
        if let Self::RunTransaction(command) = self {
            return command.apply(tables, at);
        }
        let mut transaction = Transaction::new(tables, at);
        match self {
            Self::UpsertNode(command) => command.apply(&mut transaction)?,
            Self::RemoveNode(command) => command.apply(&mut transaction),
            Self::RegisterService(command) => command.apply(&mut transaction)?,
            Self::DeregisterService(command) => command.apply(&mut transaction),
            Self::DrainService(command) => command.apply(&mut transaction),
            Self::UpdateChecks(command) => command.apply(&mut transaction)?,
            Self::SetRouteOverrides(command) => command.apply(&mut transaction)?,
            Self::SetSplit(command) => command.apply(&mut transaction)?,
            Self::Register(command) => command.apply(&mut transaction)?,
            Self::Deregister(command) => command.apply(&mut transaction)?,
            Self::PutKey(command) => command.apply(&mut transaction)?,
            Self::DeleteKey(command) => command.apply(&mut transaction)?,
            Self::CreateSession(command) => command.apply(&mut transaction)?,
            Self::DestroySession(command) => command.apply(&mut transaction),
            Self::PutConfigEntry(command) => command.apply(&mut transaction)?,
            Self::DeleteConfigEntry(command) => command.apply(&mut transaction)?,
            Self::SetAuthority(command) => command.apply(&mut transaction)?,
            Self::PutPreparedQuery(command) => command.apply(&mut transaction)?,
            Self::DeletePreparedQuery(command) => command.apply(&mut transaction)?,
            Self::RestoreCatalog(command) => command.apply(&mut transaction),
            Self::RunTransaction(_) => {}
        }
        Ok(transaction.finish())
    }
}

/// Refuses an empty or overlong name or id.
fn require_name(noun: Noun, name: &str) -> Result<(), Rejected> {
    if name.is_empty() {
        return Err(Rejected::Empty { noun });
    }
    require_length(noun, name.len(), NAME_BYTES_MAX)
}

fn require_length(noun: Noun, bytes: usize, bytes_max: usize) -> Result<(), Rejected> {
    if bytes > bytes_max {
        return Err(Rejected::TooLong {
            noun,
            bytes,
            bytes_max,
        });
    }
    Ok(())
}

fn require_count(noun: Noun, count: usize, count_max: usize) -> Result<(), Rejected> {
    if count > count_max {
        return Err(Rejected::TooMany {
            noun,
            count,
            count_max,
        });
    }
    Ok(())
}

fn require_meta(meta: &std::collections::BTreeMap<String, String>) -> Result<(), Rejected> {
    require_count(Noun::Meta, meta.len(), META_PAIRS_MAX)?;
    for (key, value) in meta {
        require_length(Noun::Meta, key.len(), NAME_BYTES_MAX)?;
        require_length(Noun::Meta, value.len(), NAME_BYTES_MAX)?;
    }
    Ok(())
}
