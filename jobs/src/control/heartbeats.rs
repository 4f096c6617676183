use super::{Action, triggers};
use crate::{
    ids::Ids,
    model::{NodeId, NodeStatus, Timestamp},
    state::{Applied, Command, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A look at the leases that comes this much too late says that the server itself stood still, or
/// that its clock was moved: it could not have heard anybody.
const LATE: Duration = Duration::from_millis(500);
/// Leases end on multiples of this many nanoseconds, so that nodes which fall silent together, and
/// whose last words came one after the other, are taken down together.
const STEP_NANOS: i64 = 250_000_000;
/// Most nodes taken down by one command; the rest follows in the next one.
pub const NODES_DOWN_MAX: usize = 1_024;

/// Leases of nodes: one that is not renewed in time takes its node down.
#[derive(Debug)]
pub struct Heartbeats {
    lease: Duration,
    ids: Ids,
    /// Node id to the end of its lease.
    leases: BTreeMap<NodeId, Timestamp>,
    by_end: BTreeSet<(Timestamp, NodeId)>,
}

impl Heartbeats {
    /// Leases last `lease`; ids of new evaluations come from `ids`.
    pub fn new(lease: Duration, ids: Ids) -> Self {
        Self {
            lease,
            ids,
            leases: BTreeMap::new(),
            by_end: BTreeSet::new(),
        }
    }

    /// Gives every node that is not down a first lease of `failover_lease`.
    pub fn restore(&mut self, now: Timestamp, failover_lease: Duration, state: &Snapshot) {
        self.leases.clear();
        self.by_end.clear();
        for node in state.nodes("") {
            if node.status != NodeStatus::Down {
                self.set(node.id, now + failover_lease);
            }
        }
    }

    /// Starts leases of nodes that became known or ready.
    pub fn on_applied(&mut self, now: Timestamp, applied: &Applied) {
        for change in &applied.nodes {
            let Some(node) = change.row() else {
                continue;
            };
            if change.after.is_none() || node.status == NodeStatus::Down {
                self.end(node.id);
            } else if !self.leases.contains_key(&node.id) {
                self.set(node.id, now + self.lease);
            }
        }
    }

    /// Renews a lease. A node that was down becomes ready again by the action. Unknown nodes are
    /// ignored: they must register first.
    pub fn on_beat(&mut self, now: Timestamp, node_id: NodeId, state: &Snapshot) -> Vec<Action> {
        let Some(node) = state.node(node_id) else {
            return Vec::new();
        };
        self.set(node_id, now + self.lease);
        if node.status == NodeStatus::Ready {
            return Vec::new();
        }
        let mut ready = (**node).clone();
        ready.status = NodeStatus::Ready;
        let evals = triggers::for_node_upsert(state, &ready, now, &mut self.ids);
        vec![Action::Propose(Command::UpdateNodeStatus {
            node_ids: vec![node_id],
            status: NodeStatus::Ready,
            evals,
        })]
    }

    /// Takes nodes down whose lease ran out. When the server itself was away meanwhile, they get
    /// half a lease more to be heard.
    pub fn on_tick(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        let mut down: Vec<NodeId> = Vec::new();
        while self.by_end.first().is_some_and(|(end, _)| *end <= now)
            && let Some((end, node_id)) = self.by_end.pop_first()
        {
            self.leases.remove(&node_id);
            if now.since(end) > LATE {
                self.set(node_id, now + self.lease / 2);
                continue;
            }
            let up = state
                .node(node_id)
                .is_some_and(|node| node.status != NodeStatus::Down);
            if up {
                down.push(node_id);
            }
        }
        down.chunks(NODES_DOWN_MAX)
            .map(|node_ids| {
                let evals = triggers::for_nodes(state, node_ids, now, &mut self.ids);
                Action::Propose(Command::UpdateNodeStatus {
                    node_ids: node_ids.to_vec(),
                    status: NodeStatus::Down,
                    evals,
                })
            })
            .collect()
    }

    /// The next end of a lease.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, _)| *end)
    }

    fn set(&mut self, node_id: NodeId, end: Timestamp) {
        let end = next_step(end);
        if let Some(before) = self.leases.insert(node_id, end) {
            self.by_end.remove(&(before, node_id));
        }
        self.by_end.insert((end, node_id));
    }

    fn end(&mut self, node_id: NodeId) {
        if let Some(end) = self.leases.remove(&node_id) {
            self.by_end.remove(&(end, node_id));
        }
    }
}

/// The first multiple of [`STEP_NANOS`] that is not earlier.
fn next_step(end: Timestamp) -> Timestamp {
    match end.as_nanos().rem_euclid(STEP_NANOS) {
        0 => end,
        over => end + Duration::from_nanos((STEP_NANOS - over).unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Job, JobType, Node, NodeId, TaskGroup},
        state::{RegisterJob, Stamp, State},
    };

    const START: Timestamp = Timestamp::from_secs(1);
    const LEASE: Duration = Duration::from_secs(10);

    #[test]
    fn a_node_is_not_taken_down_because_the_server_stood_still() {
        let mut state = State::default();
        let node = Node {
            id: NodeId::named("n"),
            status: NodeStatus::Ready,
            ..Node::default()
        };
        let at = Stamp {
            index: 1,
            ..Stamp::default()
        };
        state
            .apply(at, Command::UpsertNode(Box::new(node)))
            .unwrap();
        let state = state.snapshot();
        let mut heartbeats = Heartbeats::new(LEASE, Ids::from_seed(1));
        heartbeats.restore(START, LEASE, &state);
        assert!(heartbeats.on_tick(START + LEASE / 2, &state).is_empty());
        // An hour of sleep: the node had no chance to say anything.
        let awake = START + 3600 * LEASE;
        assert!(heartbeats.on_tick(awake, &state).is_empty());
        assert_eq!(heartbeats.next_tick(), Some(awake + LEASE / 2));
        assert!(
            heartbeats
                .on_beat(awake + Duration::from_nanos(1), NodeId::named("n"), &state)
                .is_empty()
        );
        // In time, and nothing was heard.
        let end = awake + Duration::from_nanos(1) + LEASE;
        assert!(heartbeats.on_tick(end, &state).is_empty());
        let rounded = heartbeats.next_tick().unwrap();
        assert_eq!(rounded, awake + LEASE + Duration::from_millis(250));
        assert_eq!(heartbeats.on_tick(rounded, &state).len(), 1);
    }

    #[test]
    fn nodes_whose_last_words_came_one_after_the_other_go_down_in_one_command() {
        const NODES: u64 = 500;
        let mut state = State::default();
        for number in 0..NODES {
            let node = Node {
                id: NodeId::named(&number.to_string()),
                status: NodeStatus::Ready,
                ..Node::default()
            };
            let at = Stamp {
                index: number + 1,
                ..Stamp::default()
            };
            state
                .apply(at, Command::UpsertNode(Box::new(node)))
                .unwrap();
        }
        let state = state.snapshot();
        let mut heartbeats = Heartbeats::new(LEASE, Ids::from_seed(1));
        for number in 0..NODES {
            let at = START + Duration::from_micros(400 * (number + 1));
            heartbeats.on_beat(at, NodeId::named(&number.to_string()), &state);
        }
        let due = heartbeats.next_tick().unwrap();
        let actions = heartbeats.on_tick(due, &state);
        assert!(
            matches!(
                actions.as_slice(),
                [Action::Propose(Command::UpdateNodeStatus { node_ids, .. })] if node_ids.len() == 500
            ),
            "{actions:?}"
        );
        assert_eq!(heartbeats.next_tick(), None);
    }

    #[test]
    fn five_thousand_nodes_that_fall_silent_are_a_handful_of_commands() {
        const NODES: usize = 5_000;
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |state: &mut State, command: Command| {
            index += 1;
            let at = Stamp { index, now: START };
            state.apply(at, command).unwrap();
        };
        let everywhere = Job {
            id: "agent".into(),
            namespace: "default".into(),
            job_type: JobType::System,
            datacenters: vec!["*".into()],
            task_groups: vec![TaskGroup::default()].into(),
            ..Job::default()
        };
        let registration = RegisterJob {
            job: everywhere,
            ..RegisterJob::default()
        };
        apply(&mut state, Command::RegisterJob(Box::new(registration)));
        for at in 0..NODES {
            let node = Node {
                id: NodeId::named(&format!("n{at}")),
                status: NodeStatus::Ready,
                ..Node::default()
            };
            apply(&mut state, Command::UpsertNode(Box::new(node)));
        }
        let mut heartbeats = Heartbeats::new(LEASE, Ids::from_seed(1));
        heartbeats.restore(START, LEASE, state.current());
        let actions = heartbeats.on_tick(START + LEASE, state.current());
        assert_eq!(actions.len(), NODES.div_ceil(NODES_DOWN_MAX));
        let mut down = 0;
        for action in actions {
            let Action::Propose(command) = action else {
                panic!("{action:?}");
            };
            let Command::UpdateNodeStatus {
                node_ids, evals, ..
            } = &command
            else {
                panic!("{command:?}");
            };
            down += node_ids.len();
            assert_eq!(evals.len(), 1, "one evaluation per job, not per node");
            apply(&mut state, command);
        }
        assert_eq!(down, NODES);
        let still_up = state.current().nodes("").filter(|node| node.is_ready());
        assert_eq!(still_up.count(), 0);
    }
}
