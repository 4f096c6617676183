use super::Action;
use crate::{
    model::Evaluation,
    state::{Applied, State},
};
use std::sync::Arc;

/// An evaluation handed out, to be answered with its token.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The evaluation.
    pub eval: Arc<Evaluation>,
    /// Proves that the answer is about this delivery.
    pub token: u64,
}

/// Hands evaluations to workers: one at a time per job, higher priority first.
#[derive(Debug, Default)]
pub struct Broker {}

impl Broker {
    /// Takes up every pending evaluation of the state; forgets everything else.
    pub fn restore(&mut self, now_ns: i64, state: &State) {
        todo!()
    }
    /// Takes note of written evaluations: pending ones are queued, terminal ones leave the queue.
    pub fn on_applied(&mut self, now_ns: i64, applied: &Applied) {
        todo!()
    }
    /// Queues one evaluation.
    pub fn on_eval(&mut self, now_ns: i64, eval: &Arc<Evaluation>) {
        todo!()
    }
    /// At most `count_max` evaluations of different jobs that may be worked on now.
    pub fn dequeue(&mut self, now_ns: i64, count_max: usize) -> Vec<Delivery> {
        todo!()
    }
    /// The result of a delivery is in the log. Evaluations that it made superfluous are canceled.
    pub fn ack(&mut self, now_ns: i64, eval_id: &str, token: u64) -> Vec<Action> {
        todo!()
    }
    /// A delivery came to nothing and is tried again, at most `DELIVERIES_MAX` times.
    pub fn nack(&mut self, now_ns: i64, eval_id: &str, token: u64) -> Vec<Action> {
        todo!()
    }
    /// Queues what was delayed until now and takes back deliveries that were not answered in time.
    pub fn on_tick(&mut self, now_ns: i64) -> Vec<Action> {
        todo!()
    }
    /// When something is due.
    pub fn next_tick(&self) -> Option<i64> {
        todo!()
    }
    /// Evaluations that may be worked on now.
    pub fn ready_len(&self) -> usize {
        todo!()
    }
}
