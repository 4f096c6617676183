use super::Action;
use crate::{
    model::{LockId, Timestamp, VariableKey, VariableLock},
    state::{Applied, Command, Snapshot, VariableVerb, WriteVariable},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most locks that one call ends; the rest follows with the next.
const ENDED_MAX: usize = 256;

/// Locks of variables, which end unless they are renewed.
///
/// Renewals are known to the leader alone and never enter the log. A lock that was not renewed in
/// time cannot be renewed any more; the variable stays locked until its lock delay is over too, so
/// that a holder that was paused notices before somebody else holds it.
///
/// On leader change: [`Locks::restore`] gives every lock a whole time to live again.
#[derive(Debug, Default)]
pub struct Locks {
    leases: BTreeMap<VariableKey, Lease>,
    by_end: BTreeSet<(Timestamp, VariableKey)>,
}

/// Where a lock is in its life.
#[derive(Debug)]
struct Lease {
    lock: VariableLock,
    /// When it cannot be renewed any more.
    lapses: Timestamp,
}

impl Lease {
    /// When the variable is unlocked.
    fn ends(&self) -> Timestamp {
        self.lapses + self.lock.lock_delay.to_std()
    }
}

/// Why a lock was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// There is no such variable.
    #[error("variable doesn't exist")]
    NoVariable,
    /// The variable has no lock.
    #[error("variable doesn't hold a lock")]
    NoLock,
    /// Somebody else holds it, or it has lapsed.
    #[error("attempting to modify locked variable")]
    Locked,
}

impl Locks {
    /// Forgets everything and gives every lock of the state a whole time to live.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) {
        *self = Self::default();
        for variable in state.variables(None, "") {
            self.follow(now, &variable.key, state);
        }
    }

    /// Follows variables that were locked or unlocked.
    pub fn on_applied(&mut self, now: Timestamp, applied: &Applied, state: &Snapshot) {
        for key in &applied.variables {
            self.follow(now, key, state);
        }
    }

    /// Gives the lock of a variable a whole time to live from now on.
    ///
    /// # Errors
    /// [`RenewError`]; nothing was changed then.
    pub fn renew(
        &mut self,
        now: Timestamp,
        key: &VariableKey,
        held: &LockId,
        state: &Snapshot,
    ) -> Result<(), RenewError> {
        let variable = state.variable(key).ok_or(RenewError::NoVariable)?;
        let lock = variable.lock.as_ref().ok_or(RenewError::NoLock)?;
        let lapsed = |lease: &Lease| lease.lock.id == lock.id && lease.lapses <= now;
        if lock.id != *held || self.leases.get(key).is_some_and(lapsed) {
            return Err(RenewError::Locked);
        }
        self.begin(now, key, lock.clone());
        Ok(())
    }

    /// Unlocks the variables whose locks have ended.
    pub fn on_tick(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        while actions.len() < ENDED_MAX
            && let Some((_, key)) = self.by_end.first().filter(|(end, _)| *end <= now).cloned()
            && let Some(lease) = self.forget(&key)
        {
            actions.push(Action::Propose(Command::WriteVariable(Box::new(
                WriteVariable {
                    key,
                    verb: VariableVerb::Release,
                    held: Some(lease.lock.id),
                    enforce_index: None,
                },
            ))));
        }
        actions
    }

    /// When the next lock ends.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, _)| *end)
    }

    fn follow(&mut self, now: Timestamp, key: &VariableKey, state: &Snapshot) {
        let lock = state.variable(key).and_then(|row| row.lock.clone());
        let known = self.leases.get(key).map(|lease| &lease.lock);
        if known == lock.as_ref() {
            // Only its contents changed; that is no renewal.
            return;
        }
        self.forget(key);
        if let Some(lock) = lock {
            self.begin(now, key, lock);
        }
    }

    fn begin(&mut self, now: Timestamp, key: &VariableKey, lock: VariableLock) {
        self.forget(key);
        let lapses = now + lock.ttl.to_std();
        let lease = Lease { lock, lapses };
        self.by_end.insert((lease.ends(), key.clone()));
        self.leases.insert(key.clone(), lease);
    }

    fn forget(&mut self, key: &VariableKey) -> Option<Lease> {
        let lease = self.leases.remove(key)?;
        self.by_end.remove(&(lease.ends(), key.clone()));
        Some(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::{Locks, RenewError};
    use crate::{
        control::Action,
        model::{LockId, Sealed, Span, Timestamp, VariableKey, VariableLock},
        state::{Command, Rejected, Stamp, State, VariableVerb, WriteVariable},
    };

    fn second(count: i64) -> Timestamp {
        Timestamp::default() + Span::from_secs(count).to_std()
    }

    fn key() -> VariableKey {
        VariableKey {
            namespace: "default".into(),
            path: "app/leader".into(),
        }
    }

    fn write(verb: VariableVerb, held: Option<&str>) -> Command {
        Command::WriteVariable(Box::new(WriteVariable {
            key: key(),
            verb,
            held: held.map(LockId::from),
            enforce_index: None,
        }))
    }

    fn acquire(id: &str) -> Command {
        let lock = VariableLock {
            id: id.into(),
            ttl: Span::from_secs(10),
            lock_delay: Span::from_secs(5),
        };
        let verb = VariableVerb::Acquire {
            lock,
            sealed: Sealed::default(),
            keeps: true,
        };
        write(verb, Some(id))
    }

    struct World {
        state: State,
        locks: Locks,
        index: u64,
    }

    impl World {
        fn apply(&mut self, now: i64, command: Command) -> Result<(), Rejected> {
            self.index += 1;
            let at = Stamp {
                index: self.index,
                now: second(now),
            };
            let applied = self.state.apply(at, command)?;
            self.locks
                .on_applied(second(now), &applied, self.state.current());
            Ok(())
        }

        fn renew(&mut self, now: i64, id: &str) -> Result<(), RenewError> {
            let state = self.state.current();
            self.locks.renew(second(now), &key(), &id.into(), state)
        }

        /// Carries out what is due and says how much that was.
        fn tick(&mut self, now: i64) -> usize {
            let actions = self.locks.on_tick(second(now));
            let count = actions.len();
            for action in actions {
                let Action::Propose(command) = action else {
                    panic!("an evaluation");
                };
                self.apply(now, command).unwrap();
            }
            count
        }
    }

    fn locked() -> World {
        let mut world = World {
            state: State::default(),
            locks: Locks::default(),
            index: 0,
        };
        world.apply(0, acquire("one")).unwrap();
        world
    }

    #[test]
    fn a_lock_lasts_while_it_is_renewed_and_its_delay_longer() {
        let mut world = locked();
        world.renew(9, "one").unwrap();
        assert_eq!(world.tick(18), 0);
        assert_eq!(world.renew(19, "one"), Err(RenewError::Locked), "lapsed");
        let refused = world.apply(20, acquire("two"));
        assert_eq!(refused, Err(Rejected::VariableLocked));
        assert_eq!(world.locks.next_tick(), Some(second(24)));
        assert_eq!(world.tick(24), 1);
        assert_eq!(world.locks.next_tick(), None);
        world.apply(25, acquire("two")).unwrap();
        assert_eq!(world.renew(26, "one"), Err(RenewError::Locked));
        assert_eq!(world.renew(26, "two"), Ok(()));
    }

    #[test]
    fn contents_written_by_the_holder_do_not_renew() {
        let mut world = locked();
        let set = || VariableVerb::Set {
            sealed: Sealed::default(),
        };
        let refused = world.apply(5, write(set(), None));
        assert_eq!(refused, Err(Rejected::VariableLocked));
        world.apply(5, write(set(), Some("one"))).unwrap();
        assert_eq!(world.locks.next_tick(), Some(second(15)));
    }

    #[test]
    fn what_is_unlocked_or_removed_is_forgotten_and_a_new_leader_begins_anew() {
        let mut world = locked();
        let mut other = Locks::default();
        other.restore(second(7), world.state.current());
        assert_eq!(other.next_tick(), Some(second(22)));
        world
            .apply(1, write(VariableVerb::Release, Some("one")))
            .unwrap();
        assert_eq!(world.locks.next_tick(), None);
        assert_eq!(world.renew(2, "one"), Err(RenewError::NoLock));
        world.apply(2, write(VariableVerb::Delete, None)).unwrap();
        assert_eq!(world.renew(2, "one"), Err(RenewError::NoVariable));
    }
}
