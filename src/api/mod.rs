//! Everything that is spoken over HTTP, one folder per dialect.
//!
//! [`serve`] carries any of the routers; [`consul`] is the catalog dialect, [`nomad`] the jobs dialect,
//! [`fabio`] the ingress admin dialect. `query` reads parameters and waits for changes, `body` reads
//! bodies within bounds, `error` is where a failure gets its status and text.

mod body;
pub mod consul;
mod error;
pub mod fabio;
mod filter;
mod listener;
pub mod nomad;
mod overrides;
mod page;
mod query;
mod row_id;
#[cfg(test)]
mod tests;

pub use listener::{Stopping, serve};

use crate::{client, server};
use jobs::model::NodeId;
use std::sync::{Arc, atomic::AtomicU64};

/// What the jobs dialect answers from; cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: server::Handle,
    client: Option<client::Handle>,
    proxy: Option<proxy::Handle>,
    facts: Facts,
    /// Counts waits, to spread their ends.
    waits: AtomicU64,
}

/// What the agent says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name of the agent.
    pub name: String,
    /// Region.
    pub region: String,
    /// Datacenter.
    pub datacenter: String,
    /// Version of the program.
    pub version: String,
    /// RPC address that others reach this agent at, host:port.
    pub rpc_address: String,
    /// Id of this agent's node; none when it runs no tasks.
    pub node_id: Option<NodeId>,
}

impl Api {
    /// Answers from a server, and from a client and an ingress when this agent has them.
    pub fn new(
        server: server::Handle,
        client: Option<client::Handle>,
        proxy: Option<proxy::Handle>,
        facts: Facts,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                server,
                client,
                proxy,
                facts,
                waits: AtomicU64::new(0),
            }),
        }
    }

    fn server(&self) -> &server::Handle {
        &self.shared.server
    }

    fn client(&self) -> Option<&client::Handle> {
        self.shared.client.as_ref()
    }

    fn proxy(&self) -> Option<&proxy::Handle> {
        self.shared.proxy.as_ref()
    }

    fn facts(&self) -> &Facts {
        &self.shared.facts
    }
}
