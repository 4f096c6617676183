//! What the runners of all allocations and tasks on this machine use.

use super::{
    Config, checks::Checks, claims::Claims, cores::Cores, drivers::Drivers,
    file_threads::FileThreads, network::Networks, opened::Opened, own_api::OwnApi, pins::Pins,
    reports::Reports, store::Store,
};
use jobs::model::Node;
use rpc::session;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{Semaphore, mpsc, watch};

/// What every runner on this machine uses.
#[derive(Debug)]
pub(crate) struct Context {
    /// Processors that tasks have for themselves.
    pub(crate) cores: Cores,
    /// Networks of allocations apart from the host's.
    pub(crate) networks: Networks,
    /// What allocations hold.
    pub(crate) claims: Arc<Claims>,
    pub(crate) config: Config,
    pub(crate) drivers: Drivers,
    pub(crate) node: watch::Sender<Arc<Node>>,
    pub(crate) store: Store,
    pub(crate) reports: Reports,
    pub(crate) checks: Arc<Checks>,
    pub(crate) files: FileThreads,
    pub(crate) session: session::Handle,
    /// The agent's own environment, which tasks without isolation inherit.
    pub(crate) host_env: BTreeMap<String, String>,
    /// Takes the connections that tasks open to the agent's API.
    pub(crate) opened: mpsc::Sender<Opened>,
    /// Asks the servers, and agents of other nodes through them.
    pub(crate) own_api: OwnApi,
    /// Directories that somebody reads.
    pub(crate) pins: Arc<Pins>,
    /// Data that comes from other nodes at a time: whoever asks for some has a thread for it, so
    /// that no two nodes wait for each other.
    pub(crate) fetches: Semaphore,
    /// Starts of tasks at a time; more would only take turns on the processors.
    pub(crate) starts: Semaphore,
    /// True once the servers have said what they want.
    pub(crate) contacted: watch::Sender<bool>,
}
