//! Everything that is spoken over HTTP, one folder per dialect.
//!
//! [`serve`] carries any of the routers; [`jobs_router`] has the jobs dialect (`nomad`), our own
//! endpoints (`trivet`) and the web UI (`ui`), [`consul`] is the catalog dialect, [`fabio`] the
//! ingress admin dialect. `live` tells what the ingress counts.
//! `read` has what reads share, `auth` says who may ask, `body` reads bodies within bounds, `heavy`
//! keeps work on large ones off the async threads, `forward` carries requests to the leader or to
//! the agent of a node, `own_node` is what an agent asks about its own node, `repeated` answers
//! line by line, `error` is where a failure gets its status and text.

mod auth;
mod autopilot;
mod body;
pub mod consul;
mod encoding;
mod error;
pub mod fabio;
mod forward;
mod gossip_keys;
mod health;
mod heavy;
mod listener;
mod live;
mod names;
mod nomad;
mod overrides;
mod own_node;
mod read;
mod repeated;
mod tasks;
#[cfg(test)]
mod tests;
mod trivet;
mod ui;

pub use auth::Access;
pub use body::Bodies;
pub use listener::{Carried, Common, Listener, Stopping, carried, own, serve};
pub use names::{Named, Names};
pub use own_node::{Drained, OwnNode, Unasked};
pub use tasks::tasks;

pub use axum::Router;
use axum::middleware;
use forward::Forward;
use heavy::Heavy;
use jobs::model::NodeId;
use read::wait::Spread;
use server::Dialect;
use std::{future::ready, sync::Arc};
use tokio_util::sync::CancellationToken;

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
    heavy: Heavy,
    waits: Spread,
}

/// Which figures of an agent are told.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToldFigures {
    /// None in the format of Prometheus, by the jobs API.
    pub hides_prometheus: bool,
    /// What running tasks use, too.
    pub has_allocations: bool,
    /// What the machine uses, too.
    pub has_node: bool,
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
    /// Its configuration under the names of the jobs API.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The configuration of its ingress, without secrets.
    pub ingress: serde_json::Value,
    /// Its name service; none when it answers no DNS.
    pub names: Option<Arc<dyn Names>>,
    /// Whether the admin API of its ingress neither shows nor changes the operator's texts.
    pub admin_is_read_only: bool,
    /// Which of its figures are told.
    pub told: ToldFigures,
    /// Canceled when the ingress has its routes for the first time.
    pub routed: CancellationToken,
    /// Canceled when the agent begins to stop.
    pub stopping: CancellationToken,
}

/// Makes the router of the jobs API: the jobs dialect, our own endpoints and the web UI; `catalog`
/// is the router of the catalog dialect, which the pages reach below `/v1/trivet/catalog`: they may
/// ask no other origin.
pub fn jobs_router(api: Api, catalog: Option<Router>) -> Router {
    let forward = api.forward(Dialect::Jobs);
    let router = nomad::router(api.clone())
        .merge(trivet::router(api.clone()))
        .layer(middleware::from_fn_with_state(forward, forward::forward))
        .merge(ui::router(api));
    match catalog {
        Some(catalog) => router.nest_service("/v1/trivet/catalog", catalog),
        None => router,
    }
}

/// Makes a router that answers every request with 500 and `reason`: for the time before there is
/// anything to answer from.
pub fn refusing(reason: &str) -> Router {
    let error = error::Error::internal(reason.to_owned());
    Router::new().fallback(move || ready(error.clone()))
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
                heavy: Heavy::start(),
                waits: Spread::default(),
            }),
        }
    }

    fn forward(&self, dialect: Dialect) -> Forward {
        let shared = &self.shared;
        Forward::new(shared.server.clone(), shared.client.clone(), dialect)
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

    fn heavy(&self) -> &Heavy {
        &self.shared.heavy
    }

    fn facts(&self) -> &Facts {
        &self.shared.facts
    }
}
