use super::Action;
use crate::{
    model::{EvalId, EvalStatus, Evaluation, JobKey, Timestamp},
    state::{Applied, Command, Snapshot},
};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

/// How often an evaluation is handed out before it is given up.
pub const DELIVERIES_MAX: u32 = 3;
/// A delivery that is not answered within this is taken back.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before the second delivery.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Step of the pause before later deliveries.
pub const RETRY_STEP: Duration = Duration::from_secs(20);
/// Most evaluations canceled by one log entry.
pub const CANCELED_MAX: usize = 728;

/// Why an evaluation that waited behind another is not worked on any more.
const SUPERSEDED: &str = "canceled after more recent eval was processed";

/// An evaluation handed out, to be answered with its token.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The evaluation.
    pub eval: Arc<Evaluation>,
    /// Proves that the answer is about this delivery.
    pub token: u64,
}

/// Order of work: priority, then age, then id.
type ReadyKey = (Reverse<i32>, u64, EvalId);

/// An evaluation that is being worked on.
#[derive(Debug)]
struct Outstanding {
    eval: Arc<Evaluation>,
    token: u64,
    expires_at: Timestamp,
}

/// What is known of one job's evaluations.
#[derive(Debug, Default)]
struct JobQueue {
    /// The one that stands in `ready` or is being worked on.
    active: Option<EvalId>,
    /// The others.
    waiting: BTreeMap<EvalId, Arc<Evaluation>>,
}

/// Hands evaluations to workers: one at a time per job, higher priority first.
///
/// Invariants:
/// 1. Of one job at most one evaluation is ready or being worked on.
/// 2. Every pending evaluation known is ready, waiting, delayed or being worked on.
#[derive(Debug, Default)]
pub struct Broker {
    ready: BTreeMap<ReadyKey, Arc<Evaluation>>,
    jobs: BTreeMap<JobKey, JobQueue>,
    delayed: BTreeMap<(Timestamp, EvalId), Arc<Evaluation>>,
    outstanding: BTreeMap<EvalId, Outstanding>,
    /// Deliveries so far, of those that were tried at least once.
    tries: BTreeMap<EvalId, u32>,
    next_token: u64,
}

impl Broker {
    /// Takes up every pending evaluation of the state; forgets everything else.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) {
        *self = Self {
            next_token: self.next_token,
            ..Self::default()
        };
        for eval in state.open_evals() {
            if eval.status == EvalStatus::Pending {
                self.on_eval(now, eval);
            }
        }
    }

    /// Takes note of written evaluations: pending ones are queued, others leave the queue.
    pub fn on_applied(&mut self, now: Timestamp, applied: &Applied) {
        for eval in &applied.evals {
            if eval.status == EvalStatus::Pending {
                self.on_eval(now, eval);
            } else {
                self.forget(eval);
            }
        }
    }

    /// Queues one evaluation, unless it is over or queued already.
    pub fn on_eval(&mut self, now: Timestamp, eval: &Arc<Evaluation>) {
        if eval.status.is_terminal() {
            return;
        }
        let key = eval.job_key();
        if let Some(outstanding) = self.outstanding.get(&eval.id) {
            // It went on waiting for capacity and was woken before its delivery was answered.
            if eval.modify_index > outstanding.eval.modify_index {
                let queue = self.jobs.entry(key).or_default();
                queue.waiting.insert(eval.id, Arc::clone(eval));
            }
            return;
        }
        let known = self.jobs.get(&key).is_some_and(|queue| {
            queue.active.as_ref() == Some(&eval.id) || queue.waiting.contains_key(&eval.id)
        });
        if known {
            return;
        }
        if eval.wait_until > now {
            self.delayed
                .insert((eval.wait_until, eval.id), Arc::clone(eval));
            return;
        }
        let queue = self.jobs.entry(key).or_default();
        if queue.active.is_some() {
            queue.waiting.insert(eval.id, Arc::clone(eval));
        } else {
            queue.active = Some(eval.id);
            self.ready.insert(ready_key(eval), Arc::clone(eval));
        }
    }

    /// At most `count_max` evaluations of different jobs that may be worked on now.
    pub fn dequeue(&mut self, now: Timestamp, count_max: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < count_max {
            let Some((_, eval)) = self.ready.pop_first() else {
                break;
            };
            self.next_token += 1;
            let token = self.next_token;
            *self.tries.entry(eval.id).or_default() += 1;
            self.outstanding.insert(
                eval.id,
                Outstanding {
                    eval: Arc::clone(&eval),
                    token,
                    expires_at: now + ANSWER_TIMEOUT,
                },
            );
            deliveries.push(Delivery { eval, token });
        }
        deliveries
    }

    /// The result of a delivery is in the log. Evaluations of the job that waited behind it are
    /// superseded by the newest of them.
    pub fn ack(&mut self, now: Timestamp, eval_id: EvalId, token: u64) -> Vec<Action> {
        let Some(done) = self.take_outstanding(eval_id, token) else {
            return Vec::new();
        };
        self.tries.remove(&eval_id);
        let key = done.job_key();
        let Some(mut queue) = self.jobs.remove(&key) else {
            return Vec::new();
        };
        let newest = queue
            .waiting
            .values()
            .max_by_key(|eval| (eval.priority, eval.modify_index, Reverse(&eval.id)))
            .cloned();
        let Some(newest) = newest else {
            return Vec::new();
        };
        queue.waiting.remove(&newest.id);
        self.on_eval(now, &newest);
        let superseded: Vec<Evaluation> = queue.waiting.values().map(|e| canceled(e)).collect();
        superseded
            .chunks(CANCELED_MAX)
            .map(|evals| Action::Propose(Command::UpsertEvals(evals.to_vec())))
            .collect()
    }

    /// A delivery came to nothing: it is tried again later, at most [`DELIVERIES_MAX`] times, then
    /// fails.
    pub fn nack(&mut self, now: Timestamp, eval_id: EvalId, token: u64) -> Vec<Action> {
        let Some(eval) = self.take_outstanding(eval_id, token) else {
            return Vec::new();
        };
        let tries = self.tries.get(&eval_id).copied().unwrap_or(0);
        self.release_job(now, &eval);
        if tries >= DELIVERIES_MAX {
            self.tries.remove(&eval_id);
            let failed = Evaluation {
                status: EvalStatus::Failed,
                status_description: format!("evaluation reached delivery limit ({DELIVERIES_MAX})")
                    .into(),
                ..(*eval).clone()
            };
            return vec![Action::Propose(Command::UpsertEvals(vec![failed]))];
        }
        let pause = if tries <= 1 {
            FIRST_RETRY
        } else {
            RETRY_STEP * (tries - 1)
        };
        let due = now + pause;
        self.delayed.insert((due, eval.id), eval);
        Vec::new()
    }

    /// Queues what was delayed until now and takes back deliveries that were not answered in time.
    pub fn on_tick(&mut self, now: Timestamp) -> Vec<Action> {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let mut eval = entry.remove();
            if eval.wait_until > now {
                Arc::make_mut(&mut eval).wait_until = now;
            }
            self.on_eval(now, &eval);
        }
        let expired: Vec<(EvalId, u64)> = self
            .outstanding
            .iter()
            .filter(|(_, delivery)| delivery.expires_at <= now)
            .map(|(id, delivery)| (*id, delivery.token))
            .collect();
        expired
            .into_iter()
            .flat_map(|(id, token)| self.nack(now, id, token))
            .collect()
    }

    /// When something is due.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let delayed = self.delayed.keys().next().map(|(due, _)| *due);
        let expiry = self.outstanding.values().map(|d| d.expires_at).min();
        delayed.into_iter().chain(expiry).min()
    }

    /// Evaluations that may be worked on now.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    fn take_outstanding(&mut self, eval_id: EvalId, token: u64) -> Option<Arc<Evaluation>> {
        if self.outstanding.get(&eval_id)?.token != token {
            return None;
        }
        self.outstanding.remove(&eval_id).map(|d| d.eval)
    }

    /// Lets the next evaluation of the job go first.
    fn release_job(&mut self, now: Timestamp, eval: &Evaluation) {
        let Some(queue) = self.jobs.remove(&eval.job_key()) else {
            return;
        };
        for waiting in queue.waiting.values() {
            self.on_eval(now, waiting);
        }
    }

    /// An evaluation was ended by someone else, or went to wait for capacity.
    fn forget(&mut self, eval: &Evaluation) {
        if self.outstanding.contains_key(&eval.id) {
            // The worker's answer settles it.
            return;
        }
        if !eval.wait_until.is_zero() {
            self.delayed.remove(&(eval.wait_until, eval.id));
        }
        let key = eval.job_key();
        let Some(queue) = self.jobs.get_mut(&key) else {
            return;
        };
        queue.waiting.remove(&eval.id);
        if queue.active.as_ref() != Some(&eval.id) {
            return;
        }
        self.ready.retain(|_, ready| ready.id != eval.id);
        queue.active = None;
        let waiting = std::mem::take(&mut queue.waiting);
        self.jobs.remove(&key);
        for next in waiting.values() {
            self.on_eval(Timestamp::MAX, next);
        }
    }
}

fn ready_key(eval: &Evaluation) -> ReadyKey {
    (Reverse(eval.priority), eval.create_index, eval.id)
}

fn canceled(eval: &Evaluation) -> Evaluation {
    Evaluation {
        status: EvalStatus::Canceled,
        status_description: SUPERSEDED.into(),
        ..eval.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{ANSWER_TIMEOUT, Broker, DELIVERIES_MAX};
    use crate::{
        control::Action,
        model::{EvalId, EvalStatus, Evaluation, Timestamp},
        state::Command,
    };
    use std::sync::Arc;

    const START: Timestamp = Timestamp::from_nanos(0);

    fn eval(id: &str, job: &str, priority: i32, index: u64) -> Arc<Evaluation> {
        Arc::new(Evaluation {
            id: EvalId::named(id),
            job_id: job.into(),
            priority,
            create_index: index,
            modify_index: index,
            ..Evaluation::default()
        })
    }

    fn take(broker: &mut Broker, now: Timestamp) -> Vec<(EvalId, u64)> {
        let deliveries = broker.dequeue(now, 10);
        deliveries
            .into_iter()
            .map(|d| (d.eval.id, d.token))
            .collect()
    }

    #[test]
    fn one_per_job_and_higher_priority_first() {
        let mut broker = Broker::default();
        for e in [
            eval("a", "low", 10, 1),
            eval("b", "high", 90, 2),
            eval("c", "low", 10, 3),
            eval("d", "low", 10, 4),
        ] {
            broker.on_eval(START, &e);
            broker.on_eval(START, &e);
        }
        let first = take(&mut broker, START);
        assert_eq!(
            first.iter().map(|d| d.0.label()).collect::<Vec<_>>(),
            ["b", "a"]
        );
        assert!(take(&mut broker, START).is_empty());
        assert!(
            broker
                .ack(START, EvalId::named("a"), first[1].1 + 100)
                .is_empty()
        );
        let actions = broker.ack(START, EvalId::named("a"), first[1].1);
        let [Action::Propose(Command::UpsertEvals(evals))] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(evals[0].id.label(), "c");
        assert_eq!(evals[0].status, EvalStatus::Canceled);
        assert_eq!(take(&mut broker, START)[0].0.label(), "d");
    }

    #[test]
    fn deliveries_are_limited_and_expire() {
        let mut broker = Broker::default();
        broker.on_eval(START, &eval("a", "job", 50, 1));
        let mut now = START;
        for _ in 1..DELIVERIES_MAX {
            assert_eq!(take(&mut broker, now).len(), 1);
            now += ANSWER_TIMEOUT;
            assert_eq!(broker.next_tick(), Some(now));
            assert!(broker.on_tick(now).is_empty());
            now = broker.next_tick().expect("a retry is due");
            broker.on_tick(now);
        }
        let last = take(&mut broker, now);
        let actions = broker.nack(now, EvalId::named("a"), last[0].1);
        let [Action::Propose(Command::UpsertEvals(evals))] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(evals[0].status, EvalStatus::Failed);
        assert_eq!(broker.next_tick(), None);
    }

    #[test]
    fn delayed_evaluations_wait() {
        let mut broker = Broker::default();
        let due = Timestamp::from_nanos(100);
        let mut delayed = eval("a", "job", 50, 1);
        Arc::make_mut(&mut delayed).wait_until = due;
        broker.on_eval(START, &delayed);
        assert!(take(&mut broker, START).is_empty());
        assert_eq!(broker.next_tick(), Some(due));
        broker.on_tick(due);
        assert_eq!(take(&mut broker, due).len(), 1);
    }
}
