//! Serves the one stream of each agent.
//!
//! Two loops per stream: `outgoing` pushes catalog changes, allocations and answers; `incoming` takes
//! heartbeats, confirmations and reports. Neither waits for the other, so that a full queue on one way
//! cannot stop the other. An agent that reads too slowly loses its stream and gets a fresh snapshot
//! when it comes back.

mod incoming;
mod outgoing;
mod reports;
#[cfg(test)]
mod tests;

use jobs::model::{Node, NodeId, NodeStatus};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Core, Error,
    log::propose::{ids, now_ns},
    state::Command,
};
use crate::rpc::{
    message::{Hello, ToClient, ToServer},
    transport::Link,
};

/// How long an agent may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers to reports that may wait for the stream.
const ANSWERS_MAX: usize = 1024;

/// Who is at the other end.
#[derive(Clone, Debug)]
struct Agent {
    agent_id: String,
    node_id: Option<NodeId>,
    data_plane: bool,
}

/// Serves one stream to its end.
pub(super) async fn serve(
    core: Arc<Core>,
    mut link: Link<ToClient, ToServer>,
    stop: CancellationToken,
) {
    let Ok(Some(ToServer::Hello(hello))) = timeout(HELLO_TIMEOUT, link.incoming.recv()).await
    else {
        tracing::debug!("a stream ended before it said who it is");
        return;
    };
    let agent = match greet(&core, *hello).await {
        Ok(agent) => agent,
        Err(error) => {
            tracing::warn!(%error, "agent registration rejected");
            let reason = error.to_string();
            // The stream ends in any case.
            drop(link.outgoing.try_send(ToClient::Rejected { reason }));
            return;
        }
    };
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let outgoing = outgoing::run(&core, &agent, link.outgoing, answered);
    let incoming = incoming::run(&core, &agent, link.incoming, answers);
    tokio::select! {
        () = outgoing => {}
        () = incoming => {}
        () = stop.cancelled() => {}
    }
}

/// Takes an agent in: its node is ready from now on.
async fn greet(core: &Core, hello: Hello) -> Result<Agent, Error> {
    let node_id = hello.node.as_ref().map(|node| node.id);
    if let Some(node) = hello.node {
        register_node(core, node).await?;
    }
    let agent = Agent {
        agent_id: hello.agent_id,
        node_id,
        data_plane: hello.data_plane,
    };
    if agent.data_plane {
        core.data_planes.on_hello(
            &agent.agent_id,
            agent.node_id,
            core.published.current().index,
            core.config.lease,
        );
    }
    Ok(agent)
}

/// Writes what an agent says of its node, unless nothing changed, with the evaluations that follow.
async fn register_node(core: &Core, node: Node) -> Result<u64, Error> {
    let command = node_command(core, node);
    let (index, outcome) = core.raft.propose(command).await?;
    outcome?;
    Ok(index)
}

fn node_command(core: &Core, mut node: Node) -> Command {
    node.status = NodeStatus::Ready;
    let snapshot = core.published.current();
    let evals =
        jobs::control::triggers::for_node_upsert(&snapshot.jobs, &node, now_ns(), &mut ids());
    let upsert = jobs::state::Command::UpsertNode(Box::new(node)).into();
    if evals.is_empty() {
        return upsert;
    }
    Command::Sequence(vec![
        upsert,
        jobs::state::Command::UpsertEvals(evals).into(),
    ])
}
