//! Evaluation → scheduler → plan.
//!
//! One worker takes every evaluation that is ready, up to a limit, and decides about them in turn, each
//! seeing what the ones before it decided. So plans do not conflict, and all of them are one write. What
//! arrives meanwhile is the next batch.

use jobs::{control::Delivery, model::PlanResult, scheduler};
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    Core, loops, plans,
    propose::{now_ns, seed},
};

/// Evaluations decided about in one go.
const BATCH_MAX: usize = 256;

/// Decides until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    loop {
        let deliveries = core.broker.lock().dequeue(now_ns(), BATCH_MAX);
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

/// Decides about all at once, or one by one when that fails, so that a single bad one holds nobody up.
async fn decide(core: &Arc<Core>, deliveries: Vec<Delivery>, stop: &CancellationToken) {
    if let Some(results) = schedule(core, &deliveries).await {
        finish(core, deliveries, results, stop).await;
        return;
    }
    for delivery in deliveries {
        let alone = vec![delivery];
        match schedule(core, &alone).await {
            Some(results) => finish(core, alone, results, stop).await,
            None => refuse(core, &alone, stop).await,
        }
    }
}

/// None when the scheduler broke.
async fn schedule(core: &Core, deliveries: &[Delivery]) -> Option<Vec<PlanResult>> {
    let evals: Vec<_> = deliveries
        .iter()
        .map(|delivery| Arc::clone(&delivery.eval))
        .collect();
    let snapshot = core.published.current();
    let decided = spawn_blocking(move || {
        let mut cx = scheduler::Context::new(now_ns(), seed());
        scheduler::schedule_batch(&snapshot.jobs, &evals, &mut cx)
    });
    match decided.await {
        Ok(results) => Some(results),
        Err(error) => {
            tracing::error!(%error, "the scheduler broke");
            None
        }
    }
}

async fn finish(
    core: &Core,
    deliveries: Vec<Delivery>,
    results: Vec<PlanResult>,
    stop: &CancellationToken,
) {
    if let Err(error) = plans::commit(core, results).await {
        tracing::warn!(%error, "plans were not written");
        refuse(core, &deliveries, stop).await;
        return;
    }
    let mut actions = Vec::new();
    {
        let mut broker = core.broker.lock();
        for Delivery { eval, token } in &deliveries {
            actions.extend(broker.ack(now_ns(), &eval.id, *token));
        }
    }
    loops::carry_out(core, actions, stop).await;
}

async fn refuse(core: &Core, deliveries: &[Delivery], stop: &CancellationToken) {
    let mut actions = Vec::new();
    {
        let mut broker = core.broker.lock();
        for Delivery { eval, token } in deliveries {
            actions.extend(broker.nack(now_ns(), &eval.id, *token));
        }
    }
    core.broker_moved.notify_one();
    loops::carry_out(core, actions, stop).await;
}
