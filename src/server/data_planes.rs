//! Which data planes have confirmed which entry, and who waits for that.
//!
//! A data plane is an agent that answers DNS or carries traffic. Only entries in which instances
//! leave the catalog are confirmed. A data plane is waited for while its lease lasts: a moment
//! without a stream is not its end. One that lets [`CONFIRM_TIMEOUT`] pass ([`FIRST_TIMEOUT`] when
//! it never confirmed anything) is not waited for again before it has caught up.

use jobs::model::{Index, NodeId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::Core;

/// How long a data plane is waited for.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a data plane that has never confirmed anything is waited for.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(2);
/// Busy instances that are kept per data plane; further ones count as idle.
const BUSY_MAX: usize = 65_536;
/// Questions that one stream may have open.
pub(super) const QUESTIONS_MAX: usize = 4096;
/// Pause between two looks at leases and timeouts.
const TICK: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct Plane {
    node_id: Option<NodeId>,
    confirmed: Index,
    has_confirmed: bool,
    busy: BTreeSet<String>,
    lease_until: Instant,
    /// Why it is not waited for.
    absence: Option<Absence>,
    /// Streams that it has open.
    streams: usize,
}

/// Why a data plane is not waited for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// Its lease ended, but its stream is as it was: it may only stand still.
    Lapsed,
    /// It let the bound pass for this entry.
    Late(Index),
}

/// Who asked for drained instances.
#[derive(Debug)]
struct Question {
    number: u64,
    instances: Vec<String>,
    /// Room for the answer.
    room: mpsc::OwnedPermit<u64>,
    /// Closed once the stream has ended.
    answers: mpsc::Sender<u64>,
}

/// The decider: what happened in, answered questions out. Time is an argument.
#[derive(Debug, Default)]
struct Planes {
    by_agent: BTreeMap<String, Plane>,
    /// Those that are waited for, by what they confirmed: the first is the slowest.
    by_confirmed: BTreeSet<(Index, String)>,
    /// Entries in which instances left and that not everyone has confirmed, oldest first.
    departures: VecDeque<(Index, Instant)>,
    /// Everything up to here was looked at for departures.
    followed: Index,
    /// How many data planes are busy with an instance.
    busy: BTreeMap<String, usize>,
    /// By index and an order of arrival.
    questions: BTreeMap<(Index, u64), Question>,
    asked: u64,
    /// Agents that served traffic when this server began to lead and did not come to it yet: what
    /// they are busy with nobody knows.
    awaited: BTreeSet<Agent>,
    /// How long they are waited for: as long as their leases may last.
    awaited_until: Option<Instant>,
}

/// Who may have a data plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Agent {
    /// The agent of a node.
    Node(NodeId),
    /// The agent that runs the server of this name.
    Server(String),
}

impl Planes {
    fn on_hello(
        &mut self,
        now: Instant,
        agent_id: &str,
        node_id: Option<NodeId>,
        confirmed: Index,
        lease: Duration,
    ) {
        // A data plane that the same node had before is over: its process is.
        let replaced: Vec<String> = self
            .by_agent
            .iter()
            .filter(|(id, plane)| *id != agent_id && node_id.is_some() && plane.node_id == node_id)
            .map(|(id, _)| id.clone())
            .collect();
        for id in replaced {
            self.remove(&id);
        }
        if !self.by_agent.contains_key(agent_id) {
            let has_confirmed = confirmed > 0;
            let confirmed = if has_confirmed {
                confirmed.min(self.followed)
            } else {
                // It serves nothing yet, and begins with a catalog of at least this index.
                self.followed
            };
            let plane = Plane {
                node_id,
                confirmed,
                has_confirmed,
                busy: BTreeSet::new(),
                lease_until: now + lease,
                absence: None,
                streams: 0,
            };
            self.by_confirmed.insert((confirmed, agent_id.to_owned()));
            self.by_agent.insert(agent_id.to_owned(), plane);
        }
        if let Some(plane) = self.by_agent.get_mut(agent_id) {
            plane.streams += 1;
        }
        self.on_heard(now, agent_id, lease);
    }

    fn on_heard(&mut self, now: Instant, agent_id: &str, lease: Duration) {
        // The last words of a process whose successor is there already count for nothing.
        let Some(plane) = self.by_agent.get_mut(agent_id) else {
            return;
        };
        plane.lease_until = now + lease;
        if plane.absence == Some(Absence::Lapsed) {
            plane.absence = None;
            for id in &plane.busy {
                *self.busy.entry(id.clone()).or_default() += 1;
            }
            let place = (plane.confirmed, agent_id.to_owned());
            self.by_confirmed.insert(place);
        }
    }

    fn on_closed(&mut self, agent_id: &str) {
        if let Some(plane) = self.by_agent.get_mut(agent_id) {
            plane.streams = plane.streams.saturating_sub(1);
        }
    }

    fn on_confirmed(&mut self, agent_id: &str, index: Index, busy: Vec<String>) {
        let Some(plane) = self.by_agent.get_mut(agent_id) else {
            return;
        };
        let is_counted = plane.absence != Some(Absence::Lapsed);
        if is_counted {
            release(&mut self.busy, &plane.busy);
        }
        plane.busy = busy.into_iter().take(BUSY_MAX).collect();
        if is_counted {
            for id in &plane.busy {
                *self.busy.entry(id.clone()).or_default() += 1;
            }
        }
        plane.has_confirmed = true;
        // What this server has not reached yet nobody can have confirmed.
        let confirmed = plane.confirmed.max(index.min(self.followed));
        let place = (plane.confirmed, agent_id.to_owned());
        plane.confirmed = confirmed;
        match plane.absence {
            None => {
                self.by_confirmed.remove(&place);
                self.by_confirmed.insert((confirmed, place.1));
            }
            Some(Absence::Late(missed)) if confirmed >= missed => {
                tracing::info!(%agent_id, confirmed, "a data plane has caught up");
                plane.absence = None;
                self.by_confirmed.insert((confirmed, place.1));
            }
            Some(_) => {}
        }
        self.answer();
    }

    /// Takes note that everything up to `index` is known, and whether instances left in that entry.
    fn on_entry(&mut self, now: Instant, index: Index, has_departures: bool) {
        if has_departures {
            self.departures.push_back((index, now));
        }
        self.followed = self.followed.max(index);
        self.answer();
    }

    fn on_question(&mut self, index: Index, question: Question) {
        self.asked += 1;
        self.questions.insert((index, self.asked), question);
        self.answer();
    }

    /// An agent that may have been awaited is there.
    fn on_there(&mut self, node_id: Option<NodeId>, server: Option<&str>) {
        if let Some(node_id) = node_id {
            self.awaited.remove(&Agent::Node(node_id));
        }
        if let Some(server) = server {
            self.awaited.remove(&Agent::Server(server.to_owned()));
        }
    }

    fn on_tick(&mut self, now: Instant) {
        if self.awaited_until.is_some_and(|until| until <= now) {
            self.awaited_until = None;
            self.awaited.clear();
        }
        let ended: Vec<(String, usize)> = self
            .by_agent
            .iter()
            .filter(|(_, plane)| plane.lease_until <= now)
            .map(|(id, plane)| (id.clone(), plane.streams))
            .collect();
        for (id, streams) in ended {
            if streams == 0 {
                let confirmed = self.remove(&id);
                tracing::info!(agent_id = %id, confirmed, "a data plane is gone");
            } else {
                self.set_absent(&id, Absence::Lapsed);
            }
        }
        self.give_up(now);
        self.questions
            .retain(|_, question| !question.answers.is_closed());
        self.answer();
    }

    /// Stops waiting for those that let their bound pass.
    fn give_up(&mut self, now: Instant) {
        while let Some(&(index, since)) = self.departures.front() {
            let late: Vec<String> = self
                .by_confirmed
                .range(..(index, String::new()))
                .map(|(_, id)| id)
                .filter(|id| {
                    let bound = match self.by_agent.get(*id) {
                        Some(plane) if plane.has_confirmed => CONFIRM_TIMEOUT,
                        _ => FIRST_TIMEOUT,
                    };
                    since + bound <= now
                })
                .cloned()
                .collect();
            if late.is_empty() {
                return;
            }
            for agent_id in late {
                tracing::warn!(%agent_id, index, "a data plane did not confirm in time; drains go on without it");
                self.set_absent(&agent_id, Absence::Late(index));
            }
            if self.slowest().is_some_and(|slowest| slowest < index) {
                return;
            }
            self.departures.pop_front();
        }
    }

    fn slowest(&self) -> Option<Index> {
        self.by_confirmed.first().map(|(confirmed, _)| *confirmed)
    }

    fn set_absent(&mut self, agent_id: &str, absence: Absence) {
        let Some(plane) = self.by_agent.get_mut(agent_id) else {
            return;
        };
        if plane.absence != Some(Absence::Lapsed) && absence == Absence::Lapsed {
            // What a machine that stands still is busy with, nobody can know.
            release(&mut self.busy, &plane.busy);
        }
        plane.absence = Some(absence);
        self.by_confirmed
            .remove(&(plane.confirmed, agent_id.to_owned()));
    }

    fn remove(&mut self, agent_id: &str) -> Option<Index> {
        let plane = self.by_agent.remove(agent_id)?;
        if plane.absence != Some(Absence::Lapsed) {
            release(&mut self.busy, &plane.busy);
        }
        self.by_confirmed
            .remove(&(plane.confirmed, agent_id.to_owned()));
        Some(plane.confirmed)
    }

    /// The entry up to which everyone who is waited for has confirmed.
    fn drained(&mut self) -> Index {
        let slowest = self.slowest();
        while let Some(&(index, _)) = self.departures.front() {
            if slowest.is_some_and(|slowest| slowest < index) {
                return index - 1;
            }
            self.departures.pop_front();
        }
        self.followed
    }

    fn answer(&mut self) {
        if !self.awaited.is_empty() {
            return;
        }
        if self.questions.is_empty() {
            self.drained();
            return;
        }
        let drained = self.drained();
        let answered: Vec<(Index, u64)> = self
            .questions
            .range(..=(drained, u64::MAX))
            .filter(|(_, question)| {
                let idle = |id: &String| !self.busy.contains_key(id);
                question.instances.iter().all(idle)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in answered {
            if let Some(question) = self.questions.remove(&key) {
                question.room.send(question.number);
            }
        }
    }
}

fn release(counts: &mut BTreeMap<String, usize>, ids: &BTreeSet<String>) {
    for id in ids {
        if let Some(count) = counts.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(id);
            }
        }
    }
}

/// A stream asks without end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("more than {QUESTIONS_MAX} questions for drained instances are open")]
pub(super) struct TooManyQuestions;

/// The data planes that agents announced.
#[derive(Debug, Default)]
pub(super) struct DataPlanes(Mutex<Planes>);

impl DataPlanes {
    /// This server begins to lead: it knows nothing of data planes, and answers nobody before
    /// `awaited` are there or `lease` has passed.
    pub(super) fn begin(&self, awaited: BTreeSet<Agent>, lease: Duration) {
        *self.0.lock() = Planes {
            awaited,
            awaited_until: Some(Instant::now() + lease),
            ..Planes::default()
        };
    }

    /// An agent with a data plane opened a stream; it shows everything up to `confirmed`, nothing
    /// yet when that is 0. `place` is its node, and the name of the server in its process.
    pub(super) fn on_hello(
        &self,
        agent_id: &str,
        place: (Option<NodeId>, Option<&str>),
        confirmed: Index,
        lease: Duration,
    ) {
        let now = Instant::now();
        let mut planes = self.0.lock();
        planes.on_hello(now, agent_id, place.0, confirmed, lease);
        planes.on_there(place.0, place.1);
        planes.answer();
    }

    /// An agent without a data plane opened a stream.
    pub(super) fn on_no_plane(&self, node_id: Option<NodeId>, server: Option<&str>) {
        let mut planes = self.0.lock();
        planes.on_there(node_id, server);
        planes.answer();
    }

    /// An agent said something on its open stream, so it lives.
    pub(super) fn on_heard(&self, agent_id: &str, lease: Duration) {
        self.0.lock().on_heard(Instant::now(), agent_id, lease);
    }

    /// A stream of an agent ended; its lease may last.
    pub(super) fn on_closed(&self, agent_id: &str) {
        self.0.lock().on_closed(agent_id);
    }

    /// An agent's DNS view and proxy table show everything up to `index`, and are busy with
    /// instances that left.
    pub(super) fn on_confirmed(&self, agent_id: &str, index: Index, busy: Vec<String>) {
        self.0.lock().on_confirmed(agent_id, index, busy);
    }

    /// Everything up to `index` was applied; instances left in that entry, or not.
    pub(super) fn on_entry(&self, index: Index, has_departures: bool) {
        let now = Instant::now();
        self.0.lock().on_entry(now, index, has_departures);
    }

    /// Sends `number` to `answers` once everyone has confirmed `index` and none is busy with any of
    /// `instances`.
    ///
    /// # Errors
    /// When the stream has too many questions open.
    pub(super) fn on_question(
        &self,
        number: u64,
        index: Index,
        instances: Vec<String>,
        answers: &mpsc::Sender<u64>,
    ) -> Result<(), TooManyQuestions> {
        let room = answers.clone().try_reserve_owned();
        let question = Question {
            number,
            instances,
            room: room.map_err(|_| TooManyQuestions)?,
            answers: answers.clone(),
        };
        self.0.lock().on_question(index, question);
        Ok(())
    }
}

/// Ends leases and waits that took too long, until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => core.data_planes.0.lock().on_tick(Instant::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    /// The decider with a clock that the test moves, and one asker.
    struct World {
        planes: Planes,
        now: Instant,
        answers: mpsc::Sender<u64>,
        answered: mpsc::Receiver<u64>,
    }

    impl World {
        /// Two data planes that show everything up to entry 2.
        fn new() -> Self {
            let (answers, answered) = mpsc::channel(QUESTIONS_MAX);
            let mut world = Self {
                planes: Planes::default(),
                now: Instant::now(),
                answers,
                answered,
            };
            world.planes.on_entry(world.now, 2, false);
            world.hello("one", "node-1");
            world.hello("two", "node-2");
            for agent in ["one", "two"] {
                world.confirm(agent, 2, &[]);
            }
            world
        }

        fn hello(&mut self, agent: &str, node: &str) {
            self.planes
                .on_hello(self.now, agent, Some(NodeId::named(node)), 0, LEASE);
        }

        fn entry(&mut self, index: Index, has_departures: bool) {
            self.planes.on_entry(self.now, index, has_departures);
        }

        fn confirm(&mut self, agent: &str, index: Index, busy: &[&str]) {
            let busy = busy.iter().map(|&id| id.to_owned()).collect();
            self.planes.on_confirmed(agent, index, busy);
        }

        fn ask(&mut self, number: u64, index: Index, instances: &[&str]) {
            let question = Question {
                number,
                instances: instances.iter().map(|&id| id.to_owned()).collect(),
                room: self.answers.clone().try_reserve_owned().unwrap(),
                answers: self.answers.clone(),
            };
            self.planes.on_question(index, question);
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.planes.on_tick(self.now);
        }

        fn answered(&mut self) -> Vec<u64> {
            std::iter::from_fn(|| self.answered.try_recv().ok()).collect()
        }
    }

    #[test]
    fn the_slowest_living_data_plane_decides() {
        let mut world = World::new();
        world.entry(5, true);
        world.entry(7, true);
        world.entry(9, false);
        world.ask(1, 5, &[]);
        world.ask(2, 7, &[]);
        world.ask(3, 9, &[]);
        world.confirm("one", 7, &[]);
        assert!(world.answered().is_empty());
        world.confirm("two", 5, &[]);
        assert_eq!(world.answered(), [1]);
        // Nobody can have confirmed what is not there.
        world.confirm("two", 100, &[]);
        assert_eq!(world.answered(), [2, 3]);
        world.ask(4, 10, &[]);
        assert!(world.answered().is_empty());
        world.entry(10, false);
        assert_eq!(world.answered(), [4]);
    }

    #[test]
    fn an_entry_in_which_nothing_left_needs_no_confirmation() {
        let mut world = World::new();
        world.entry(9, false);
        world.ask(1, 9, &["a"]);
        assert_eq!(world.answered(), [1]);
    }

    #[test]
    fn what_is_busy_at_one_is_waited_for() {
        let mut world = World::new();
        world.entry(7, true);
        world.ask(1, 7, &["a"]);
        world.ask(2, 7, &["b"]);
        world.confirm("one", 7, &["b", "a"]);
        world.confirm("two", 7, &["b", "c"]);
        assert!(world.answered().is_empty());
        world.confirm("one", 7, &[]);
        assert_eq!(world.answered(), [1]);
        world.confirm("two", 7, &["c"]);
        assert_eq!(world.answered(), [2]);
        assert_eq!(world.planes.busy.len(), 1);
    }

    #[test]
    fn a_silent_data_plane_is_waited_for_until_its_lease_ends() {
        let mut world = World::new();
        world.planes.on_heard(world.now, "one", LEASE * 2);
        world.pass(LEASE - Duration::from_secs(1));
        world.entry(7, true);
        world.ask(1, 7, &[]);
        world.confirm("one", 7, &[]);
        assert!(world.answered().is_empty());
        world.pass(Duration::from_secs(1));
        assert_eq!(world.answered(), [1]);
        // It only stood still, and its stream is as it was.
        world.planes.on_heard(world.now, "two", LEASE);
        world.entry(9, true);
        world.ask(2, 9, &[]);
        world.confirm("one", 9, &[]);
        assert!(world.answered().is_empty());
        world.confirm("two", 9, &[]);
        assert_eq!(world.answered(), [2]);
        world.planes.on_closed("two");
        world.pass(LEASE);
        assert!(!world.planes.by_agent.contains_key("two"));
    }

    #[test]
    fn one_that_is_late_delays_one_drain_and_no_other() {
        let mut world = World::new();
        world.entry(7, true);
        world.ask(1, 7, &[]);
        world.confirm("one", 7, &[]);
        world.pass(CONFIRM_TIMEOUT - Duration::from_secs(1));
        assert!(world.answered().is_empty());
        world.pass(Duration::from_secs(1));
        assert_eq!(world.answered(), [1]);
        world.entry(8, true);
        world.ask(2, 8, &[]);
        world.confirm("one", 8, &[]);
        assert_eq!(world.answered(), [2], "nobody waits for the late one");
        // It counts again once it has caught up.
        world.confirm("two", 8, &[]);
        world.entry(9, true);
        world.ask(3, 9, &[]);
        world.confirm("one", 9, &[]);
        assert!(world.answered().is_empty());
        world.confirm("two", 9, &[]);
        assert_eq!(world.answered(), [3]);
    }

    #[test]
    fn one_that_never_confirms_delays_one_drain_by_a_short_bound() {
        let mut world = World::new();
        world.hello("mute", "node-3");
        world.entry(7, true);
        world.ask(1, 7, &[]);
        world.confirm("one", 7, &[]);
        world.confirm("two", 7, &[]);
        assert!(world.answered().is_empty());
        world.pass(FIRST_TIMEOUT);
        assert_eq!(world.answered(), [1]);
        world.entry(8, true);
        world.ask(2, 8, &[]);
        world.confirm("one", 8, &[]);
        world.confirm("two", 8, &[]);
        assert_eq!(world.answered(), [2]);
    }

    #[test]
    fn a_restarted_agent_replaces_its_predecessor() {
        let mut world = World::new();
        world.entry(7, true);
        world.ask(1, 7, &["a"]);
        world.confirm("one", 7, &[]);
        world.confirm("two", 6, &["a"]);
        assert!(world.answered().is_empty());
        world.hello("three", "node-2");
        world.planes.on_heard(world.now, "two", LEASE);
        world.confirm("two", 6, &["a"]);
        world.entry(8, false);
        assert_eq!(
            world.answered(),
            [1],
            "the new one began with a later catalog"
        );
    }

    #[test]
    fn one_that_comes_back_after_its_lease_is_waited_for_from_where_it_was() {
        let mut world = World::new();
        world.entry(7, true);
        world.confirm("one", 7, &[]);
        world.planes.on_closed("two");
        world.planes.on_heard(world.now, "one", LEASE * 9);
        world.pass(LEASE);
        world.entry(8, true);
        world.confirm("one", 8, &[]);
        world
            .planes
            .on_hello(world.now, "two", Some(NodeId::named("node-2")), 2, LEASE);
        world.entry(9, true);
        world.ask(1, 9, &[]);
        world.confirm("one", 9, &[]);
        world.pass(FIRST_TIMEOUT);
        assert!(
            world.answered().is_empty(),
            "it carries traffic by an old table"
        );
        world.confirm("two", 9, &[]);
        assert_eq!(world.answered(), [1]);
    }

    #[test]
    fn without_data_planes_nothing_is_waited_for() {
        let mut world = World::new();
        world.planes = Planes::default();
        world.entry(4, true);
        world.ask(1, 4, &["a"]);
        assert_eq!(world.answered(), [1]);
        assert!(world.planes.departures.is_empty());
    }
}
