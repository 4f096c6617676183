//! Brings back what a snapshot of the catalog held.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{CheckKey, KvEntry, NodeName, QueryId, SERF_HEALTH, SessionId};
use crate::state::SavedRow;
use crate::state::transaction::Transaction;

use super::RemoveNode;

/// Brings back what users wrote: keys, sessions, configuration entries, prepared queries, route
/// texts and splits, and the nodes without an agent with what is on them. What is not in the rows
/// goes.
///
/// Nodes with an agent, then or now, are left to their agents, and instances of allocations to
/// these. Rows get new indexes, so that no index goes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreCatalog {
    /// The rows, as they were saved.
    pub rows: Vec<SavedRow>,
}

impl RestoreCatalog {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) {
        let mut agents: BTreeSet<NodeName> = transaction
            .tables
            .checks
            .iter()
            .filter(|check| check.id == SERF_HEALTH)
            .map(|check| check.node.clone())
            .collect();
        remove_nodes(transaction, &self.rows, &agents);
        let restored = self.rows.iter().filter_map(|row| match row {
            SavedRow::Check(check) if check.id == SERF_HEALTH => Some(check.node.clone()),
            _ => None,
        });
        agents.extend(restored);
        remove_rows(transaction, &self.rows);
        let (sessions, rest): (Vec<_>, Vec<_>) = self
            .rows
            .into_iter()
            .partition(|row| matches!(row, SavedRow::Session(_)));
        let (catalog, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|row| {
            matches!(
                row,
                SavedRow::Node(_) | SavedRow::Service(_) | SavedRow::Check(_)
            )
        });
        // Sessions need nodes and checks, keys and queries need sessions.
        for row in catalog.into_iter().chain(sessions).chain(rest) {
            put(transaction, row, &agents);
        }
    }
}

/// Removes the nodes without an agent that the snapshot does not have, and from the others what it
/// does not have on them.
fn remove_nodes(transaction: &mut Transaction<'_>, rows: &[SavedRow], agents: &BTreeSet<NodeName>) {
    let mut nodes = BTreeSet::new();
    let (mut services, mut checks) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        match row {
            SavedRow::Node(node) => drop(nodes.insert(node.name.clone())),
            SavedRow::Service(service) => drop(services.insert(service.key())),
            SavedRow::Check(check) => drop(checks.insert(check.key())),
            _ => {}
        }
    }
    let tables = &*transaction.tables;
    let gone: Vec<NodeName> = tables
        .nodes
        .iter()
        .map(|node| node.name.clone())
        .filter(|name| !agents.contains(name) && !nodes.contains(name))
        .collect();
    for name in gone {
        RemoveNode { name }.apply(transaction);
    }
    let tables = &*transaction.tables;
    let of_users = |node: &NodeName| !agents.contains(node);
    let gone: Vec<_> = tables
        .services
        .iter()
        .filter(|row| row.origin.is_none() && of_users(&row.node))
        .map(|row| row.key())
        .filter(|key| !services.contains(key))
        .collect();
    let gone_checks: Vec<CheckKey> = tables
        .checks
        .iter()
        .filter(|row| of_users(&row.node))
        .map(|row| row.key())
        .filter(|key| !checks.contains(key))
        .collect();
    for key in gone {
        transaction.remove_service(&key);
    }
    for key in gone_checks {
        transaction.remove_check(&key);
    }
}

/// Removes what users wrote and the snapshot does not have.
fn remove_rows(transaction: &mut Transaction<'_>, rows: &[SavedRow]) {
    let (mut keys, mut sessions) = (BTreeSet::new(), BTreeSet::new());
    let (mut entries, mut queries, mut splits) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for row in rows {
        match row {
            SavedRow::Key(entry) => drop(keys.insert(entry.key.clone())),
            SavedRow::Session(session) => drop(sessions.insert(session.id.clone())),
            SavedRow::ConfigEntry(entry) => drop(entries.insert(entry.key.clone())),
            SavedRow::PreparedQuery(query) => drop(queries.insert(query.id.clone())),
            SavedRow::Split(split) => drop(splits.insert(split.key.clone())),
            _ => {}
        }
    }
    let ids = transaction.sessions.iter().map(|row| row.id.clone());
    let gone: Vec<SessionId> = ids.filter(|id| !sessions.contains(id)).collect();
    for id in gone {
        transaction.end_session(&id);
    }
    let names = transaction.keys.iter().map(|row| row.key.clone());
    let gone: Vec<String> = names.filter(|key| !keys.contains(key)).collect();
    for key in gone {
        transaction.remove_key(&key);
    }
    let tables = &*transaction.tables;
    let of_entries = tables.config_entries.iter().map(|row| row.key.clone());
    let gone_entries: Vec<_> = of_entries.filter(|key| !entries.contains(key)).collect();
    let of_queries = tables.prepared_queries.iter().map(|row| row.id.clone());
    let gone_queries: Vec<_> = of_queries.filter(|id| !queries.contains(id)).collect();
    let of_splits = tables.splits.iter().map(|row| row.key.clone());
    let gone_splits: Vec<_> = of_splits.filter(|key| !splits.contains(key)).collect();
    for key in gone_entries {
        transaction.remove_config_entry(&key);
    }
    for id in gone_queries {
        transaction.remove_prepared_query(&id);
    }
    for key in gone_splits {
        transaction.remove_split(&key);
    }
}

fn put(transaction: &mut Transaction<'_>, row: SavedRow, agents: &BTreeSet<NodeName>) {
    match row {
        SavedRow::Node(node) if !agents.contains(&node.name) => {
            transaction.put_node((*node).clone());
        }
        SavedRow::Service(service)
            if service.origin.is_none() && !agents.contains(&service.node) =>
        {
            transaction.put_service((*service).clone());
        }
        SavedRow::Check(check) if !agents.contains(&check.node) => {
            let services = &transaction.tables.services;
            let owner = check.owner();
            // That of an allocation's instance did not come back.
            if owner.is_none_or(|owner| services.row(&owner).is_some()) {
                transaction.put_check((*check).clone());
            }
        }
        SavedRow::Session(session) => {
            let has_node = transaction.tables.nodes.row(&session.node).is_some();
            let mut checks = session.checks();
            let has_checks = checks.all(|key| transaction.tables.checks.row(&key).is_some());
            let is_known = transaction.sessions.row(&session.id).is_some();
            if has_node && has_checks && !is_known {
                transaction.put_session((*session).clone());
            }
        }
        SavedRow::Key(entry) => {
            let session = entry.session.clone();
            let lives = |id: &SessionId| transaction.sessions.row(id).is_some();
            transaction.put_key(KvEntry {
                session: session.filter(lives),
                ..(*entry).clone()
            });
        }
        SavedRow::RouteOverrides(overrides) => {
            transaction.put_route_overrides(overrides.text.clone());
        }
        SavedRow::Split(split) => transaction.put_split((*split).clone()),
        SavedRow::ConfigEntry(entry) => transaction.put_config_entry((*entry).clone()),
        SavedRow::PreparedQuery(query) => {
            transaction.put_prepared_query((*query).clone(), None);
        }
        SavedRow::QuerySession(query, session) => bind(transaction, &query, session),
        SavedRow::Node(_)
        | SavedRow::Service(_)
        | SavedRow::Check(_)
        | SavedRow::Indexes { .. }
        | SavedRow::ConfigIndex(_)
        | SavedRow::PreparedQueryIndex(_)
        // Addresses follow from what is brought back; the authority is the cluster's own.
        | SavedRow::Virtual(..)
        | SavedRow::LastVirtual(_)
        | SavedRow::Authority(_)
        | SavedRow::ServiceIndex(..)
        | SavedRow::NodeIndex(..)
        | SavedRow::StoreIndexes { .. }
        | SavedRow::Tombstone(..)
        | SavedRow::LockDelay(..) => {}
    }
}

/// Lets a query live with its session again; without it, it goes.
fn bind(transaction: &mut Transaction<'_>, query: &QueryId, session: SessionId) {
    let Some(row) = transaction.tables.prepared_queries.row(query) else {
        return;
    };
    let row = (**row).clone();
    if transaction.sessions.row(&session).is_some() {
        transaction.put_prepared_query(row, Some(session));
    } else {
        transaction.remove_prepared_query(query);
    }
}
