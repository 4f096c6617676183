//! Sessions that end unless they are renewed.
//!
//! Renewals are known to the leader alone and never enter the log. A session ends twice its time to
//! live after its last renewal, never earlier than after once: its holder may have been paused for
//! a while.
//!
//! On leader change: [`Lifetimes::restore`] gives every session a whole lifetime again.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{SessionId, Timestamp};
use crate::state::{Command, DestroySession, Snapshot};

/// Most sessions that one call ends; the rest follows with the next.
const ENDED_MAX: usize = 256;

/// When each session with a time to live ends.
#[derive(Debug, Default)]
pub struct Lifetimes {
    /// Session id to its end.
    ends: BTreeMap<SessionId, Timestamp>,
    by_end: BTreeSet<(Timestamp, SessionId)>,
}

impl Lifetimes {
    /// Forgets everything and gives every session of the state a whole lifetime.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) {
        *self = Self::default();
        for session in state.sessions() {
            self.renew(now, &session.id, state);
        }
    }

    /// Follows sessions that began or ended.
    pub fn on_changed<'a>(
        &mut self,
        now: Timestamp,
        ids: impl IntoIterator<Item = &'a SessionId>,
        state: &Snapshot,
    ) {
        for id in ids {
            self.renew(now, id, state);
        }
    }

    /// Gives a session a whole lifetime from now on; one that is gone is forgotten.
    pub fn renew(&mut self, now: Timestamp, id: &SessionId, state: &Snapshot) {
        self.forget(id);
        let Some(session) = state.session(id).filter(|session| !session.ttl.is_zero()) else {
            return;
        };
        let end = now + session.ttl.saturating_mul(2);
        self.by_end.insert((end, id.clone()));
        self.ends.insert(id.clone(), end);
    }

    /// Ends the sessions whose time is over.
    pub fn on_tick(&mut self, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        while commands.len() < ENDED_MAX
            && let Some((_, id)) = self.by_end.first().filter(|(end, _)| *end <= now).cloned()
        {
            self.forget(&id);
            commands.push(Command::DestroySession(DestroySession { id }));
        }
        commands
    }

    /// When the next session ends.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, _)| *end)
    }

    fn forget(&mut self, id: &SessionId) {
        if let Some(end) = self.ends.remove(id) {
            self.by_end.remove(&(end, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Lifetimes;
    use crate::model::{Node, Session, SessionId, Timestamp};
    use crate::state::{Command, CreateSession, DestroySession, Stamp, State, UpsertNode};

    fn second(count: i64) -> Timestamp {
        Timestamp::from_nanos(count * 1_000_000_000)
    }

    fn state(sessions: &[(&str, u64)]) -> State {
        let mut state = State::default();
        let node = Node {
            id: "A".into(),
            name: "n1".into(),
            ..Node::default()
        };
        let checks = Vec::new();
        let upsert = Command::UpsertNode(UpsertNode { node, checks });
        let created = sessions.iter().map(|(id, seconds)| {
            let session = Session {
                id: (*id).into(),
                node: "n1".into(),
                ttl: Duration::from_secs(*seconds),
                ..Session::default()
            };
            Command::CreateSession(CreateSession { session })
        });
        for (index, command) in (1..).zip(std::iter::once(upsert).chain(created)) {
            let now = second(0);
            state.apply(Stamp { index, now }, command).unwrap();
        }
        state
    }

    fn ended(commands: Vec<Command>) -> Vec<SessionId> {
        let ids = commands.into_iter().map(|command| match command {
            Command::DestroySession(DestroySession { id }) => id,
            other => panic!("{other:?}"),
        });
        ids.collect()
    }

    #[test]
    fn a_session_ends_after_twice_its_time_without_a_renewal() {
        let state = state(&[("a", 10), ("b", 15), ("endless", 0)]);
        let mut lifetimes = Lifetimes::default();
        lifetimes.restore(second(0), &state.snapshot());
        assert_eq!(lifetimes.next_tick(), Some(second(20)));
        assert!(lifetimes.on_tick(second(19)).is_empty());
        lifetimes.renew(second(19), &"a".into(), &state.snapshot());
        lifetimes.renew(second(19), &"unknown".into(), &state.snapshot());
        assert!(lifetimes.on_tick(second(20)).is_empty());
        assert_eq!(ended(lifetimes.on_tick(second(38))), ["b"]);
        assert_eq!(ended(lifetimes.on_tick(second(39))), ["a"]);
        assert_eq!(lifetimes.next_tick(), None);
    }

    #[test]
    fn a_session_that_was_ended_is_forgotten() {
        let mut state = state(&[("a", 10)]);
        let mut lifetimes = Lifetimes::default();
        lifetimes.on_changed(second(0), [&"a".into()], &state.snapshot());
        assert_eq!(lifetimes.next_tick(), Some(second(20)));
        let destroy = Command::DestroySession(DestroySession { id: "a".into() });
        let at = Stamp {
            index: 9,
            now: second(0),
        };
        let applied = state.apply(at, destroy).unwrap();
        lifetimes.on_changed(second(0), &applied.sessions, &state.snapshot());
        assert_eq!(lifetimes.next_tick(), None);
    }
}
