//! The catalog view: what every agent may hold, and what DNS, routes and the catalog API are drawn
//! from.
//!
//! Nodes, instances, checks and what operators lay over the routes; never keys, sessions, tokens or
//! the key of the certificate authority.
//! A [`View`] and its [`Change`]s are all of the catalog that crosses to agents. The state machine
//! records a change for each row that a command really changed; a view that carries out the same
//! changes at the same indexes is the same view, without knowing any command.

mod change;
mod checks;
mod config_entries;
mod indexes;
mod nodes;
mod prepared_queries;
mod query;
mod services;
mod splits;
mod stored;
mod virtuals;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{NodeName, RouteOverrides, ServiceName};

pub use change::Change;
pub use query::{Differences, Instance};

pub(crate) use indexes::ServiceIndex;

use checks::Checks;
use config_entries::ConfigEntries;
use indexes::Indexes;
use nodes::Nodes;
use prepared_queries::PreparedQueries;
use services::Services;
use splits::Splits;
use stored::Stored;
use virtuals::Virtuals;

pub(crate) use virtuals::NUMBERS_MAX;

/// The catalog at one moment; cloning shares structure. Queries are in the methods.
///
/// Serialized, it is a list of rows per table plus the indexes, with field names; secondary indexes
/// are rebuilt on load. A restored view equals the one that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct View {
    pub(crate) nodes: Nodes,
    pub(crate) services: Services,
    pub(crate) checks: Checks,
    pub(crate) route_overrides: Arc<RouteOverrides>,
    pub(crate) splits: Splits,
    pub(crate) config_entries: ConfigEntries,
    pub(crate) virtuals: Virtuals,
    pub(crate) prepared_queries: PreparedQueries,
    pub(crate) indexes: Indexes,
}

/// A table of the catalog, as far as watchers tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// [`crate::model::Node`] rows.
    Nodes,
    /// [`crate::model::Service`] rows.
    Services,
    /// [`crate::model::Check`] rows.
    Checks,
    /// What operators lay over the routes: the one [`RouteOverrides`] row and the
    /// [`crate::model::Split`] rows.
    RouteOverrides,
    /// [`crate::model::ConfigEntry`] rows.
    ConfigEntries,
    /// [`crate::model::PreparedQuery`] rows.
    PreparedQueries,
}

/// What changes touched, for those who wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Tables with at least one changed row.
    pub tables: BTreeSet<Table>,
    /// Names of services whose instances, checks or host nodes changed.
    pub services: BTreeSet<ServiceName>,
    /// Names of nodes whose row, services or checks changed.
    pub nodes: BTreeSet<NodeName>,
}
