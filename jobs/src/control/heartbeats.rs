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

/// Heartbeats of an agent while its lease lasts.
const BEATS: u32 = 3;
/// The longest that a node may be silent, however many there are.
const LEASE_MAX: Duration = Duration::from_secs(3600);

/// How often nodes are to be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rhythm {
    /// How long nodes may be silent after a server began to lead, at least; none for as long as
    /// ever.
    pub failover: Option<Duration>,
    /// Between two heartbeats, whichever nodes they are of; zero for as many as there are.
    pub spacing: Duration,
}

impl Rhythm {
    /// How long each of so many nodes may be silent: `lease`, or as long as it takes to hear all of
    /// them with that spacing.
    pub fn lease(&self, lease: Duration, nodes: usize) -> Duration {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let round = self.spacing.saturating_mul(BEATS).saturating_mul(nodes);
        lease.max(round.min(LEASE_MAX))
    }

    /// The same of nodes that are heard for the first time since a server began to lead.
    pub fn first_lease(&self, lease: Duration, nodes: usize) -> Duration {
        let failover = self.failover.unwrap_or(Duration::ZERO);
        self.lease(lease, nodes).max(failover)
    }
}

/// Leases of nodes: one that is not renewed in time takes its node down.
#[derive(Debug)]
pub struct Heartbeats {
    lease: Duration,
    ids: Ids,
    /// Node id to the end of its lease, and how long that is.
    leases: BTreeMap<NodeId, (Timestamp, Duration)>,
    by_end: BTreeSet<(Timestamp, NodeId)>,
}

impl Heartbeats {
    /// Leases last `lease` until a node is heard; ids of new evaluations come from `ids`.
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
                self.set(node.id, now, failover_lease);
            }
        }
    }

    /// Nodes that have a lease.
    pub fn count(&self) -> usize {
        self.leases.len()
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
                self.set(node.id, now, self.lease);
            }
        }
    }

    /// Renews a lease, for as long as its agent was told. A node that was down becomes ready again
    /// by the action. Unknown nodes are ignored: they must register first.
    pub fn on_beat(
        &mut self,
        now: Timestamp,
        node_id: NodeId,
        lease: Duration,
        state: &Snapshot,
    ) -> Vec<Action> {
        let Some(node) = state.node(node_id) else {
            return Vec::new();
        };
        self.set(node_id, now, lease);
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
            let ended = self.leases.remove(&node_id);
            if now.since(end) > LATE {
                let lease = ended.map_or(self.lease, |(_, lease)| lease);
                self.set(node_id, now, lease / 2);
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

    fn set(&mut self, node_id: NodeId, now: Timestamp, lease: Duration) {
        let end = next_step(now + lease);
        if let Some((before, _)) = self.leases.insert(node_id, (end, lease)) {
            self.by_end.remove(&(before, node_id));
        }
        self.by_end.insert((end, node_id));
    }

    fn end(&mut self, node_id: NodeId) {
        if let Some((end, _)) = self.leases.remove(&node_id) {
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
    fn the_more_nodes_there_are_the_longer_each_may_be_silent() {
        let seconds = Duration::from_secs;
        let rhythm = |failover: Option<u64>, per_second: u32| Rhythm {
            failover: failover.map(seconds),
            spacing: seconds(1).checked_div(per_second).unwrap_or_default(),
        };
        // Bounds, nodes, and how long one may be silent, and for the first time, seconds.
        for (rhythm, nodes, lease, first) in [
            (Rhythm::default(), 1_000_000, 10, 10),
            (rhythm(Some(300), 0), 5, 10, 300),
            (rhythm(None, 50), 5, 10, 10),
            (rhythm(None, 50), 166, 10, 10),
            (rhythm(None, 50), 1000, 60, 60),
            (rhythm(Some(30), 50), 1000, 60, 60),
            (rhythm(Some(300), 50), 1000, 60, 300),
            (rhythm(None, 1), 1_000_000, 3600, 3600),
        ] {
            assert_eq!(rhythm.lease(LEASE, nodes), seconds(lease), "{rhythm:?}");
            let found = rhythm.first_lease(LEASE, nodes);
            assert_eq!(found, seconds(first), "{rhythm:?}");
        }
    }

    #[test]
    fn a_node_may_be_silent_for_as_long_as_it_was_told() {
        let mut state = State::default();
        let at = Stamp {
            index: 1,
            ..Stamp::default()
        };
        let node = Node {
            id: NodeId::named("n"),
            status: NodeStatus::Ready,
            ..Node::default()
        };
        let command = Command::UpsertNode(Box::new(node));
        state.apply(at, command).unwrap();
        let state = state.snapshot();
        let mut heartbeats = Heartbeats::new(LEASE, Ids::from_seed(1));
        heartbeats.restore(START, 3 * LEASE, &state);
        assert_eq!(heartbeats.next_tick(), Some(START + 3 * LEASE));
        heartbeats.on_beat(START, NodeId::named("n"), 6 * LEASE, &state);
        assert_eq!(heartbeats.next_tick(), Some(START + 6 * LEASE));
        // What the server slept away is half of that.
        let awake = START + 600 * LEASE;
        assert!(heartbeats.on_tick(awake, &state).is_empty());
        assert_eq!(heartbeats.next_tick(), Some(awake + 3 * LEASE));
        assert_eq!(heartbeats.count(), 1);
    }

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
                .on_beat(
                    awake + Duration::from_nanos(1),
                    NodeId::named("n"),
                    LEASE,
                    &state
                )
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
            heartbeats.on_beat(at, NodeId::named(&number.to_string()), LEASE, &state);
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
