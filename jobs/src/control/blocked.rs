use super::Action;
use crate::{
    model::{EvalId, EvalStatus, Evaluation, Index, JobKey, Node, NodeId},
    scheduler,
    state::{Applied, Snapshot},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most evaluations woken by one log entry; the rest waits for the next one.
pub const WOKEN_MAX: usize = 256;

/// Order of waking: priority, then age.
type Order = (Reverse<i32>, Index, EvalId);

/// Keeps evaluations that wait for capacity and wakes them when some comes: only those that a freed node
/// could take, the highest priority first.
#[derive(Debug, Default)]
pub struct Blocked {
    waiting: BTreeMap<Order, Arc<Evaluation>>,
    by_job: BTreeMap<JobKey, Order>,
    /// Node id to the index at which it last got room: an evaluation that was decided about before, but
    /// written after, must not miss it.
    freed: BTreeMap<NodeId, Index>,
    /// Nodes with room for more than were woken at once; looked at again with the next entry.
    unfinished: BTreeSet<NodeId>,
}

impl Blocked {
    /// Takes up every blocked evaluation of the state; forgets everything else. Those that could be placed
    /// already are woken.
    pub fn restore(&mut self, _now_ns: i64, state: &Snapshot) -> Vec<Action> {
        *self = Self::default();
        for eval in state.evals("") {
            if eval.status == EvalStatus::Blocked {
                self.keep(eval);
            }
        }
        let nodes: BTreeSet<NodeId> = state.nodes("").map(|node| node.id).collect();
        self.wake(state, &nodes)
    }

    /// Takes note of blocked evaluations, ended allocations and changed nodes.
    pub fn on_applied(&mut self, _now_ns: i64, state: &Snapshot, applied: &Applied) -> Vec<Action> {
        let unfinished = std::mem::take(&mut self.unfinished);
        let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
        for change in &applied.allocs {
            let held = change.before.as_ref().is_some_and(|a| !a.client_terminal());
            let holds = change.after.as_ref().is_some_and(|a| !a.client_terminal());
            if let Some(row) = change.row().filter(|_| held && !holds) {
                nodes.insert(row.node_id);
            }
        }
        for change in applied.nodes.iter().filter(|c| c.after.is_ready()) {
            nodes.insert(change.after.id);
        }
        for node_id in &nodes {
            self.freed.insert(*node_id, state.index());
        }
        let mut missed: BTreeSet<NodeId> = BTreeSet::new();
        for eval in &applied.evals {
            if eval.status == EvalStatus::Blocked {
                self.keep(eval);
                missed.extend(self.freed_since(eval.snapshot_index, state));
            } else {
                self.forget(eval);
            }
        }
        nodes.extend(missed);
        nodes.extend(unfinished);
        if nodes.is_empty() {
            return Vec::new();
        }
        self.wake(state, &nodes)
    }

    /// Nodes that got room after the snapshot of that index, as far as they still exist.
    fn freed_since(&self, index: Index, state: &Snapshot) -> impl Iterator<Item = NodeId> {
        self.freed
            .iter()
            .filter(move |(_, at)| **at > index)
            .map(|(id, _)| *id)
            .filter(|id| state.node(*id).is_some())
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
        let order = (Reverse(eval.priority), eval.create_index, eval.id);
        if let Some(older) = self.by_job.insert(eval.job_key(), order) {
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

    fn wake(&mut self, state: &Snapshot, ids: &BTreeSet<NodeId>) -> Vec<Action> {
        let nodes: Vec<&Node> = ids
            .iter()
            .filter_map(|id| state.node(*id))
            .map(|node| &**node)
            .collect();
        let woken: Vec<Order> = self
            .waiting
            .iter()
            .filter(|(_, eval)| helps(state, eval, &nodes))
            .map(|(order, _)| *order)
            .take(WOKEN_MAX)
            .collect();
        if woken.len() == WOKEN_MAX {
            self.unfinished.clone_from(ids);
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
fn helps(state: &Snapshot, eval: &Evaluation, nodes: &[&Node]) -> bool {
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
