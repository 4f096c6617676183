//! What a stream carries from its agent.

use jobs::model::Index;
use std::sync::Arc;
use tokio::sync::mpsc;

use super::{Agent, Core, reports, watches::Watches};
use crate::{
    log::propose::{ProposeError, now},
    loops,
    state::Outcome,
};
use rpc::message::{Confirmation, Report, ToClient, ToServer};
use tokio_util::sync::CancellationToken;

/// Messages that are handled in one go.
const BATCH_MAX: usize = 256;

/// Takes messages until the stream ends. What arrived while the reports before were written is
/// written together.
pub(super) async fn run(
    core: &Arc<Core>,
    agent: &Agent,
    mut stream: mpsc::Receiver<ToServer>,
    answers: mpsc::Sender<ToClient>,
    drained: mpsc::Sender<u64>,
) {
    let mut messages = Vec::with_capacity(BATCH_MAX);
    let mut watches = Watches::new(core, agent.node_id, &answers);
    // A node that says hello has renewed its lease.
    on_heard(core, agent).await;
    loop {
        if stream.recv_many(&mut messages, BATCH_MAX).await == 0 {
            return;
        }
        on_heard(core, agent).await;
        let mut numbered = Vec::new();
        for message in messages.drain(..) {
            match message {
                ToServer::Hello(_) => {
                    tracing::debug!(agent_id = %agent.agent_id, "a second hello ends the stream");
                    return;
                }
                ToServer::Heartbeat => {}
                ToServer::Confirmed(confirmation) => {
                    let Confirmation { at, busy } = confirmation;
                    if at.term > core.raft.metrics().term {
                        tracing::debug!(?at, "a confirmation is for a later leader");
                        continue;
                    }
                    core.data_planes
                        .on_confirmed(&agent.agent_id, at.index, busy);
                }
                ToServer::Await {
                    number,
                    index,
                    instances,
                } => {
                    let questions = &core.data_planes;
                    if let Err(error) = questions.on_question(number, index, instances, &drained) {
                        tracing::warn!(agent_id = %agent.agent_id, %error, "a stream is ended");
                        return;
                    }
                }
                ToServer::Watch { number, subject } => watches.begin(number, subject).await,
                ToServer::Unwatch { number } => watches.end(number),
                ToServer::Traffic(traffic) => core.traffic.on_traffic(&agent.agent_id, traffic),
                ToServer::Report { number, report } => numbered.push((number, report)),
            }
        }
        if !numbered.is_empty() && on_reports(core, agent, numbered, &answers).await.is_err() {
            return;
        }
    }
}

/// Renews the leases.
async fn on_heard(core: &Core, agent: &Agent) {
    if agent.data_plane {
        core.data_planes.on_heard(&agent.agent_id, agent.lease);
    }
    if agent.counts {
        core.traffic.on_heard(&agent.agent_id, agent.lease);
    }
    let Some(node_id) = agent.node_id else {
        return;
    };
    let snapshot = core.published.current();
    let actions = core
        .heartbeats
        .lock()
        .on_beat(now(), node_id, agent.lease, &snapshot.jobs);
    core.heartbeats_moved.notify_one();
    if !actions.is_empty() {
        loops::carry_out(core, actions, &CancellationToken::new()).await;
    }
}

/// Writes reports in their order and answers each.
async fn on_reports(
    core: &Core,
    agent: &Agent,
    numbered: Vec<(u64, Report)>,
    answers: &mpsc::Sender<ToClient>,
) -> Result<(), mpsc::error::SendError<ToClient>> {
    let writes = reports::merge(core, agent, numbered);
    let (numbers, commands): (Vec<_>, Vec<_>) = writes
        .into_iter()
        .map(|write| (write.numbers, write.command))
        .unzip();
    // They enter the log's queue in this order, and usually the same entry.
    let proposed = commands.into_iter().map(async |command| match command {
        Ok(command) => Ok(core.raft.propose(command).await),
        Err(reason) => Err(reason),
    });
    let results = futures_util::future::join_all(proposed).await;
    for (numbers, result) in numbers.into_iter().zip(results) {
        for number in numbers {
            let answer = match &result {
                Ok(result) => answer(number, result),
                Err(reason) => ToClient::Refused {
                    number,
                    reason: (*reason).to_owned(),
                    retry: false,
                },
            };
            answers.send(answer).await?;
        }
    }
    Ok(())
}

fn answer(number: u64, result: &Result<(Index, Outcome), ProposeError>) -> ToClient {
    match result {
        Ok((index, Ok(_))) => ToClient::Committed {
            number,
            index: *index,
        },
        Ok((_, Err(rejected))) => ToClient::Refused {
            number,
            reason: rejected.to_string(),
            retry: false,
        },
        Err(error) => ToClient::Refused {
            number,
            reason: error.to_string(),
            retry: error.is_retryable(),
        },
    }
}
