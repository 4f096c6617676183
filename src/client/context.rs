//! What the runners of all allocations and tasks on this machine use.

use super::{
    Config, checks::Checks, claims::Claims, drivers::Drivers, file_threads::FileThreads,
    reports::Reports, store::Store,
};
use crate::rpc::session;
use jobs::model::Node;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{Semaphore, watch};

/// What every runner on this machine uses.
#[derive(Debug)]
pub(in crate::client) struct Context {
    /// What allocations hold.
    pub(in crate::client) claims: Arc<Claims>,
    pub(in crate::client) config: Config,
    pub(in crate::client) drivers: Drivers,
    pub(in crate::client) node: watch::Sender<Arc<Node>>,
    pub(in crate::client) store: Store,
    pub(in crate::client) reports: Reports,
    pub(in crate::client) checks: Arc<Checks>,
    pub(in crate::client) files: FileThreads,
    pub(in crate::client) session: session::Handle,
    /// The agent's own environment, which tasks without isolation inherit.
    pub(in crate::client) host_env: BTreeMap<String, String>,
    /// Starts of tasks at a time; more would only take turns on the processors.
    pub(in crate::client) starts: Semaphore,
    /// True once the servers have said what they want.
    pub(in crate::client) contacted: watch::Sender<bool>,
}
