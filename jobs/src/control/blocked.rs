use super::Action;
use crate::{
    model::{EvalStatus, Evaluation, Index, JobKey, Node},
    scheduler,
    state::{Applied, State},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most evaluations woken by one log entry; the rest waits for the next one.
pub const WOKEN_MAX: usize = 256;

/// Order of waking: priority, then age.
type Order = (Reverse<i32>, Index, String);

/// Keeps evaluations that wait for capacity and wakes them when some comes: only those that a freed node
/// could take, the highest priority first.
#[derive(Debug, Default)]
pub struct Blocked {
    waiting: BTreeMap<Order, Arc<Evaluation>>,
    by_job: BTreeMap<JobKey, Order>,
    /// Node id to the index at which it last got room. An evaluation decided about before that index
    /// and written after it must not miss it.
    freed: BTreeMap<String, Index>,
    /// Nodes with room for more than were woken at once; looked at again with the next entry.
    unfinished: BTreeSet<String>,
}

impl Blocked {
    /// Takes up every blocked evaluation of the state; forgets everything else. Those that could be placed
    /// already are woken.
    pub fn restore(&mut self, _now_ns: i64, state: &State) -> Vec<Action> {
        *self = Self::default();
        for eval in state.evals("") {
            if eval.status == EvalStatus::Blocked {
                self.keep(eval);
            }
        }
        let nodes = state.nodes("").map(|node| node.id.clone()).collect();
        self.wake(state, nodes)
    }

    /// Takes note of blocked evaluations, ended allocations and changed nodes.
    pub fn on_applied(&mut self, _now_ns: i64, state: &State, applied: &Applied) -> Vec<Action> {
        let mut nodes = std::mem::take(&mut self.unfinished);
        for eval in &applied.evals {
            if eval.status == EvalStatus::Blocked {
                self.keep(eval);
                let missed = self
                    .freed
                    .iter()
                    .filter(|(_, index)| **index > eval.snapshot_index);
                nodes.extend(missed.map(|(id, _)| id.clone()));
            } else {
                self.forget(eval);
            }
        }
        for change in &applied.allocs {
            let held = change.before.as_ref().is_some_and(|a| !a.client_terminal());
            let holds = change.after.as_ref().is_some_and(|a| !a.client_terminal());
            if let Some(row) = change.row().filter(|_| held && !holds) {
                self.freed.insert(row.node_id.clone(), state.index());
                nodes.insert(row.node_id.clone());
            }
        }
        for change in &applied.nodes {
            let id = &change.after.id;
            if change.after.is_ready() {
                self.freed.insert(id.clone(), state.index());
                nodes.insert(id.clone());
            } else {
                self.freed.remove(id);
            }
        }
        if nodes.is_empty() || self.waiting.is_empty() {
            return Vec::new();
        }
        self.wake(state, nodes)
    }

    /// Evaluations kept.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn keep(&mut self, eval: &Arc<Evaluation>) {
        let order = (Reverse(eval.priority), eval.create_index, eval.id.clone());
        if let Some(older) = self.by_job.insert(eval.job_key(), order.clone()) {
            self.waiting.remove(&older);
        }
        self.waiting.insert(order, Arc::clone(eval));
    }

    fn forget(&mut self, eval: &Evaluation) {
        let key = eval.job_key();
        if self
            .by_job
            .get(&key)
            .is_some_and(|order| order.2 == eval.id)
            && let Some(order) = self.by_job.remove(&key)
        {
            self.waiting.remove(&order);
        }
    }

    fn wake(&mut self, state: &State, ids: BTreeSet<String>) -> Vec<Action> {
        let nodes: Vec<&Node> = ids
            .iter()
            .filter_map(|id| state.node(id))
            .map(|node| &**node)
            .collect();
        let woken: Vec<Order> = self
            .waiting
            .iter()
            .filter(|(_, eval)| helps(state, eval, &nodes))
            .map(|(order, _)| order.clone())
            .take(WOKEN_MAX)
            .collect();
        if woken.len() == WOKEN_MAX {
            self.unfinished = ids;
        }
        let mut actions = Vec::with_capacity(woken.len());
        for order in woken {
            if let Some(eval) = self.waiting.remove(&order) {
                self.by_job.remove(&eval.job_key());
                actions.push(Action::Enqueue(eval));
            }
        }
        actions
    }
}

/// True when one of the nodes could take an allocation of a group that waits.
fn helps(state: &State, eval: &Evaluation, nodes: &[&Node]) -> bool {
    let Some(job) = state.job(&eval.job_key()) else {
        return true;
    };
    let mut groups =
        (job.task_groups.iter()).filter(|group| eval.failed_tg_allocs.contains_key(&group.name));
    groups.any(|group| {
        nodes
            .iter()
            .any(|node| scheduler::could_take(state, job, group, node))
    })
}
