//! The catalog as it is written to a file: row by row, so that neither writing nor reading holds it
//! twice.

use std::iter;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{
    Authority, Check, ConfigEntry, Index, KvEntry, Node, NodeName, PreparedQuery, QueryId,
    RouteOverrides, Service, ServiceName, Session, SessionId, Split, Timestamp,
};
use crate::view::ServiceIndex;

use super::State;
use super::kv::Tombstone;
use super::snapshot::Snapshot;

/// One piece of a catalog in a file: a row, or what belongs to the whole catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SavedRow {
    /// The last index, that of each table, and when any service or node vanished last.
    Indexes {
        /// Of the whole catalog.
        last: Index,
        /// Of nodes.
        nodes: Index,
        /// Of services.
        services: Index,
        /// Of checks.
        checks: Index,
        /// Of the operator's route text.
        route_overrides: Index,
        /// When a service vanished last.
        service_vanished: Index,
        /// When a node vanished last.
        node_vanished: Index,
    },
    /// A node.
    Node(Arc<Node>),
    /// A service instance.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
    /// The operator's route text.
    RouteOverrides(Arc<RouteOverrides>),
    /// The share of some targets of a route.
    Split(Arc<Split>),
    /// A configuration entry.
    ConfigEntry(Arc<ConfigEntry>),
    /// The last change of any configuration entry.
    ConfigIndex(Index),
    /// The number of the address that stands for a service.
    Virtual(ServiceName, u32),
    /// The last such number that was given.
    LastVirtual(u32),
    /// A prepared query.
    PreparedQuery(Arc<PreparedQuery>),
    /// The last change of any prepared query.
    PreparedQueryIndex(Index),
    /// The session that a prepared query lives with: id of the query, id of the session.
    QuerySession(QueryId, SessionId),
    /// Index of a service: of its instances, and of their health.
    ServiceIndex(ServiceName, Index, Index),
    /// Index of a node, by name.
    NodeIndex(NodeName, Index),
    /// The newest forgotten deletion of a key, and the last change of a session.
    StoreIndexes {
        /// Of keys.
        forgotten: Index,
        /// Of sessions.
        sessions: Index,
    },
    /// A key.
    Key(Arc<KvEntry>),
    /// A deleted key.
    Tombstone(String, Tombstone),
    /// A key that cannot be locked before that time.
    LockDelay(String, Timestamp),
    /// A session.
    Session(Arc<Session>),
    /// The certificate authority.
    Authority(Arc<Authority>),
}

impl SavedRow {
    /// Names the table that it belongs to.
    #[must_use]
    pub fn table(&self) -> &'static str {
        match self {
            Self::Indexes { .. } => "indexes",
            Self::Node(_) => "nodes",
            Self::Service(_) => "services",
            Self::Check(_) => "checks",
            Self::RouteOverrides(_) => "route overrides",
            Self::Split(_) => "splits",
            Self::ConfigEntry(_) => "config entries",
            Self::ConfigIndex(_) => "config index",
            Self::Virtual(..) | Self::LastVirtual(_) => "virtual addresses",
            Self::PreparedQuery(_) => "prepared queries",
            Self::PreparedQueryIndex(_) => "prepared query index",
            Self::QuerySession(..) => "sessions of prepared queries",
            Self::ServiceIndex(..) => "service indexes",
            Self::NodeIndex(..) => "node indexes",
            Self::StoreIndexes { .. } => "store indexes",
            Self::Key(_) => "keys",
            Self::Tombstone(..) => "deleted keys",
            Self::LockDelay(..) => "lock delays",
            Self::Session(_) => "sessions",
            Self::Authority(_) => "certificate authority",
        }
    }
}

impl Snapshot {
    /// Everything, to be written to a file: rows table by table.
    pub fn saved_rows(&self) -> impl Iterator<Item = SavedRow> {
        let view = self.view();
        let indexes = &view.indexes;
        let of_tables = SavedRow::Indexes {
            last: indexes.last,
            nodes: indexes.nodes,
            services: indexes.services,
            checks: indexes.checks,
            route_overrides: indexes.route_overrides,
            service_vanished: indexes.service_vanished,
            node_vanished: indexes.node_vanished,
        };
        let of_services = indexes
            .by_service
            .iter()
            .map(|(name, of)| SavedRow::ServiceIndex(name.clone(), of.instances, of.health));
        let of_nodes = indexes
            .by_node
            .iter()
            .map(|(name, index)| SavedRow::NodeIndex(name.clone(), *index));
        let config_index =
            (indexes.config_entries > 0).then_some(SavedRow::ConfigIndex(indexes.config_entries));
        let query_index = (indexes.prepared_queries > 0)
            .then_some(SavedRow::PreparedQueryIndex(indexes.prepared_queries));
        let queries = view.prepared_queries.iter().cloned();
        let overrides = SavedRow::RouteOverrides(Arc::clone(&view.route_overrides));
        iter::once(of_tables)
            .chain(view.nodes.iter().cloned().map(SavedRow::Node))
            .chain(view.services.iter().cloned().map(SavedRow::Service))
            .chain(view.checks.iter().cloned().map(SavedRow::Check))
            .chain(iter::once(overrides))
            .chain(view.splits.iter().cloned().map(SavedRow::Split))
            .chain(config_index)
            .chain(
                view.config_entries
                    .iter()
                    .cloned()
                    .map(SavedRow::ConfigEntry),
            )
            .chain(
                view.virtuals
                    .iter()
                    .map(|(service, number)| SavedRow::Virtual(service.clone(), number)),
            )
            .chain((view.virtuals.last > 0).then_some(SavedRow::LastVirtual(view.virtuals.last)))
            .chain(query_index)
            .chain(queries.map(SavedRow::PreparedQuery))
            .chain(of_services)
            .chain(of_nodes)
            .chain(self.saved_store())
    }

    /// What stands beside the view.
    fn saved_store(&self) -> impl Iterator<Item = SavedRow> {
        let of_store = SavedRow::StoreIndexes {
            forgotten: self.keys.tombstones.forgotten(),
            sessions: self.sessions.index,
        };
        let gone = self.keys.tombstones.iter();
        let delayed = self.keys.delays.iter();
        let bound = self.query_sessions.iter();
        iter::once(of_store)
            .chain(self.keys.iter().cloned().map(SavedRow::Key))
            .chain(gone.map(|(key, mark)| SavedRow::Tombstone(key.clone(), *mark)))
            .chain(delayed.map(|(key, end)| SavedRow::LockDelay(key.clone(), *end)))
            .chain(self.sessions.iter().cloned().map(SavedRow::Session))
            .chain(self.authority.iter().cloned().map(SavedRow::Authority))
            .chain(
                bound
                    .map(|(query, session)| SavedRow::QuerySession(query.clone(), session.clone())),
            )
    }
}

/// A catalog that is read back row by row.
#[derive(Debug, Default)]
pub struct Loading {
    state: Snapshot,
}

impl Loading {
    /// Takes over one row, in the order of [`Snapshot::saved_rows`].
    pub fn add(&mut self, row: SavedRow) {
        let Snapshot {
            view: tables,
            keys,
            sessions,
            authority,
            query_sessions,
        } = &mut self.state;
        match row {
            SavedRow::Indexes {
                last,
                nodes,
                services,
                checks,
                route_overrides,
                service_vanished,
                node_vanished,
            } => {
                let indexes = &mut tables.indexes;
                indexes.last = last;
                indexes.nodes = nodes;
                indexes.services = services;
                indexes.checks = checks;
                indexes.route_overrides = route_overrides;
                indexes.service_vanished = service_vanished;
                indexes.node_vanished = node_vanished;
            }
            SavedRow::Node(node) => tables.nodes.put(node),
            SavedRow::Service(service) => tables.services.put(service),
            SavedRow::Check(check) => tables.checks.put(check),
            SavedRow::RouteOverrides(overrides) => tables.route_overrides = overrides,
            SavedRow::Split(split) => tables.splits.put(split),
            SavedRow::ConfigEntry(entry) => tables.config_entries.put(entry),
            SavedRow::ConfigIndex(index) => tables.indexes.config_entries = index,
            SavedRow::Virtual(service, number) => tables.virtuals.put(service, number),
            SavedRow::LastVirtual(number) => tables.virtuals.last = number,
            SavedRow::PreparedQuery(query) => tables.prepared_queries.put(query),
            SavedRow::PreparedQueryIndex(index) => tables.indexes.prepared_queries = index,
            SavedRow::QuerySession(query, session) => {
                query_sessions.insert(query, session);
            }
            SavedRow::ServiceIndex(name, instances, health) => {
                let index = ServiceIndex { instances, health };
                tables.indexes.by_service.insert(name, index);
            }
            SavedRow::NodeIndex(name, index) => {
                tables.indexes.by_node.insert(name, index);
            }
            SavedRow::StoreIndexes {
                forgotten,
                sessions: of_sessions,
            } => {
                keys.tombstones.set_forgotten(forgotten);
                sessions.index = of_sessions;
            }
            SavedRow::Key(entry) => keys.put(entry),
            SavedRow::Tombstone(key, mark) => keys.tombstones.put(key, mark),
            SavedRow::LockDelay(key, end) => keys.delays.put(key, end),
            SavedRow::Session(session) => sessions.put(session),
            SavedRow::Authority(row) => *authority = Some(row),
        }
    }

    /// The catalog, after the last row.
    #[must_use]
    pub fn finish(self) -> State {
        State::restore(self.state)
    }
}
