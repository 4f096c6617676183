//! Evaluation → scheduler → plan.
//!
//! One worker takes every evaluation that is ready, up to a limit, and decides about them in turn,
//! each seeing what the ones before it decided. So plans do not conflict, and all of them are one
//! write. What arrives meanwhile is the next batch.

use jobs::{
    control::Delivery,
    model::{Index, PlanResult},
    scheduler,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plans;
use crate::{
    Core,
    log::propose::{now, seed},
    loops,
};

/// Evaluations decided about in one go.
const BATCH_MAX: usize = 256;
/// How often an evaluation is decided about anew at once, when its plan was overtaken.
const PLAN_RETRIES_MAX: usize = 5;

/// Decides until `stop`, unless operators want a pause: its end wakes the worker like any work.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    loop {
        let paused = core
            .published
            .current()
            .jobs
            .scheduler_config()
            .pause_eval_broker;
        let deliveries = if paused {
            Vec::new()
        } else {
            core.broker.lock().dequeue(now(), BATCH_MAX)
        };
        core.broker_moved.notify_one();
        if deliveries.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = core.work.notified() => continue,
            }
        }
        decide(&core, deliveries, &stop).await;
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Decides about all at once, or one by one when that fails, so that a single bad one holds nobody
/// up.
async fn decide(core: &Core, mut deliveries: Vec<Delivery>, stop: &CancellationToken) {
    for _ in 0..PLAN_RETRIES_MAX {
        let Some((seen, results)) = schedule(core, &deliveries).await else {
            break;
        };
        if let Err(error) = plans::commit(core, seen, results).await {
            tracing::warn!(%error, "plans were not written");
            break;
        }
        deliveries = acknowledge(core, deliveries, stop).await;
        if deliveries.is_empty() {
            return;
        }
    }
    let alone = deliveries.len() > 1;
    for delivery in deliveries {
        if alone {
            Box::pin(decide(core, vec![delivery], stop)).await;
        } else {
            refuse(core, &delivery, stop).await;
        }
    }
}

/// The plans and the index that they rest on; none when the scheduler broke.
async fn schedule(core: &Core, deliveries: &[Delivery]) -> Option<(Index, Vec<PlanResult>)> {
    let evals: Vec<_> = deliveries
        .iter()
        .map(|delivery| Arc::clone(&delivery.eval))
        .collect();
    let snapshot = core.published.current();
    let seen = snapshot.index;
    let decide = move || {
        let mut cx = scheduler::Context::new(now(), seed());
        let began = Instant::now();
        let mut results = scheduler::schedule_batch(&snapshot.jobs, &evals, &mut cx);
        note_time(&mut results, began.elapsed());
        results
    };
    let results = core.decisions.run(decide).await;
    if results.is_none() {
        tracing::error!("the scheduler broke");
    }
    Some((seen, results?))
}

/// Says in the metrics of placements how long they took: of those of one batch, the mean.
fn note_time(results: &mut [PlanResult], took: Duration) {
    let decided: usize = results.iter().map(PlanResult::decided).sum();
    let each = took / u32::try_from(decided).unwrap_or(u32::MAX).max(1);
    for result in results {
        result.set_allocation_time(each.into());
    }
}

/// Tells the broker what is done, and answers with what something overtook.
async fn acknowledge(
    core: &Core,
    deliveries: Vec<Delivery>,
    stop: &CancellationToken,
) -> Vec<Delivery> {
    let snapshot = core.published.current();
    let (done, overtaken): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(|delivery| {
        let row = snapshot.jobs.eval(delivery.eval.id);
        row.is_none_or(|row| row.modify_index > delivery.eval.modify_index)
    });
    let mut actions = Vec::new();
    {
        let mut broker = core.broker.lock();
        for Delivery { eval, token } in &done {
            actions.extend(broker.ack(now(), eval.id, *token));
        }
    }
    loops::carry_out(core, actions, stop).await;
    overtaken
}

async fn refuse(core: &Core, delivery: &Delivery, stop: &CancellationToken) {
    let Delivery { eval, token } = delivery;
    let actions = core.broker.lock().nack(now(), eval.id, *token);
    core.broker_moved.notify_one();
    loops::carry_out(core, actions, stop).await;
}
