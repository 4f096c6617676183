//! Serves the one stream of each agent.
//!
//! One follower ([`follow`]) looks at applied entries for all streams; [`history`] holds what it
//! found of the catalog, [`streams`] what it found for each node. Two loops per stream: `outgoing`
//! pushes catalog changes, allocations and answers; `incoming` takes heartbeats, confirmations and
//! reports. Neither waits for the other, so that a full queue on one way cannot stop the other. An
//! agent that reads slowly gets more at a time; one that reads nothing loses its stream.

mod admission;
#[cfg(test)]
mod fixtures;
pub(super) mod follow;
pub(super) mod history;
mod incoming;
mod outgoing;
mod reports;
pub(super) mod streams;
#[cfg(test)]
mod tests;
mod watches;

use jobs::model::NodeId;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Core, data_planes};
use registration::Version;
use rpc::{
    message::{Held, Hello, ToClient, ToServer},
    transport::ServerLink,
};
use streams::{Key, Stream};

/// How long an agent may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers to reports that may wait for the stream.
const ANSWERS_MAX: usize = 1024;

/// Who is at the other end.
#[derive(Debug)]
struct Agent {
    agent_id: String,
    node_id: Option<NodeId>,
    data_plane: bool,
    counts: bool,
    /// The rules that it was told to derive by.
    rules: Version,
    /// How long it was told that it may be silent.
    lease: Duration,
    held: Held,
    stream: Arc<Stream>,
}

/// Serves one stream to its end.
pub(super) async fn serve(core: Arc<Core>, mut link: ServerLink, stop: CancellationToken) {
    let Ok(Some(ToServer::Hello(hello))) = timeout(HELLO_TIMEOUT, link.incoming.recv()).await
    else {
        tracing::debug!("a stream ended before it said who it is");
        return;
    };
    let agent_id = hello.agent_id.clone();
    let mut rules = core.published.rules.subscribe();
    let in_force = *rules.borrow_and_update();
    let registered = tokio::select! {
        registered = open(&core, *hello, in_force) => registered,
        () = stop.cancelled() => return,
    };
    let agent = match registered {
        Ok(agent) => agent,
        Err(error) => {
            tracing::warn!(agent_id, %error, "agent registration rejected");
            let reason = error.to_string();
            // The stream ends in any case.
            drop(link.outgoing.try_send(ToClient::Rejected { reason }.into()));
            return;
        }
    };
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let (drained, questions) = mpsc::channel(data_planes::QUESTIONS_MAX);
    let outgoing = outgoing::run(&core, &agent, link.outgoing, answered, questions);
    let incoming = incoming::run(&core, &agent, link.incoming, answers, drained);
    tokio::select! {
        () = outgoing => {}
        () = incoming => {}
        () = agent.stream.fenced.cancelled() => {
            tracing::info!(agent_id, "a newer stream of the same agent or node is open");
        }
        _ = rules.changed() => {
            tracing::info!(agent_id, "the rules of the cluster changed: the agent has to agree anew");
        }
        () = stop.cancelled() => {}
    }
    let key = Key::new(&agent.agent_id, agent.node_id);
    core.streams.close(&key, &agent.stream);
    if agent.data_plane {
        core.data_planes.on_closed(&agent.agent_id);
    }
}

/// Registers an agent and takes its stream in.
async fn open(core: &Core, mut hello: Hello, rules: Version) -> Result<Agent, admission::Error> {
    admission::check_version(&hello.version)?;
    admission::check_region(&hello.region, &core.config.region)?;
    admission::check_rules(Version::new(hello.rules.0), rules)?;
    let node_id = hello.node.as_ref().map(|node| node.id);
    if let Some(node) = hello.node.take() {
        admission::register_node(core, node).await?;
    }
    let key = Key::new(&hello.agent_id, node_id);
    let stream = core.streams.open(&key, &hello)?;
    let lease = core.lease();
    if hello.data_plane {
        let place = (node_id, hello.server.as_deref());
        core.data_planes
            .on_hello(&hello.agent_id, place, hello.confirmed, lease);
    } else {
        let server = hello.server.as_deref();
        core.data_planes.on_no_plane(node_id, server);
    }
    if hello.counts {
        core.traffic.on_hello(&hello.agent_id, node_id, lease);
    } else if let Some(node_id) = node_id {
        core.traffic.on_no_ingress(node_id);
    }
    Ok(Agent {
        agent_id: hello.agent_id,
        node_id,
        data_plane: hello.data_plane,
        counts: hello.counts,
        rules,
        lease,
        held: hello.held,
        stream,
    })
}
