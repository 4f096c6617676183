//! What was asked of one register, when, and what came of it.

use std::fmt;

/// What a register holds. Each write has a number of its own; none for a register that is absent.
pub(super) type Value = Option<u64>;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The value.
    Read,
    /// To hold this, whatever is there.
    Write(Value),
    /// To hold `new` if `expected` is there.
    Swap {
        /// What has to be there.
        expected: Value,
        /// What comes in its place.
        new: Value,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was carried out.
    Done,
    /// It was refused and changed nothing.
    Refused,
    /// A read found this.
    Found(Value),
    /// Nobody knows: it was carried out at any time after it was asked, or never.
    Unknown,
}

/// One operation; times are microseconds since the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// Who asked.
    pub(super) user: usize,
    /// When it was asked.
    pub(super) asked: u64,
    /// When the answer was there.
    pub(super) answered: u64,
    /// What was asked.
    pub(super) call: Call,
    /// What came of it.
    pub(super) outcome: Outcome,
}

impl Operation {
    /// Whether somebody knows what came of it.
    pub(super) fn is_known(&self) -> bool {
        self.outcome != Outcome::Unknown
    }

    /// The last moment at which it took effect; the end of time when nobody knows.
    pub(super) fn until(&self) -> u64 {
        if self.is_known() {
            self.answered
        } else {
            u64::MAX
        }
    }

    /// What the register holds after it when it held `before`; none when its outcome does not fit.
    ///
    /// An outcome that nobody knows fits where it changes something: where it changes nothing it
    /// may as well never have happened.
    pub(super) fn after(&self, before: Value) -> Option<Value> {
        use Outcome::{Done, Found, Refused, Unknown};
        match (self.call, self.outcome) {
            (Call::Read, Found(found)) => (found == before).then_some(before),
            (Call::Write(new), Done | Unknown) => Some(new),
            (Call::Write(_), Refused) => Some(before),
            // What is absent already is not deleted again, and that is no refusal.
            (Call::Swap { new: None, .. }, Done) if before.is_none() => Some(None),
            (Call::Swap { new: None, .. }, Refused) if before.is_none() => None,
            (Call::Swap { expected, new }, Done | Unknown) => (expected == before).then_some(new),
            (Call::Swap { expected, .. }, Refused) => (expected != before).then_some(before),
            (Call::Read, Done | Refused | Unknown) | (_, Found(_)) => None,
        }
    }
}

/// A value in few letters.
struct Shown(Value);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("-"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: u64| (time / 1000, time % 1000);
        let (asked, answered) = (milliseconds(self.asked), milliseconds(self.answered));
        write!(
            f,
            "{:>6}.{:03} {:>6}.{:03} u{} ",
            asked.0, asked.1, answered.0, answered.1, self.user
        )?;
        match self.call {
            Call::Read => f.write_str("read")?,
            Call::Write(new) => write!(f, "write {}", Shown(new))?,
            Call::Swap { expected, new } => {
                write!(f, "swap {} for {}", Shown(expected), Shown(new))?;
            }
        }
        match self.outcome {
            Outcome::Done => f.write_str(": done"),
            Outcome::Refused => f.write_str(": refused"),
            Outcome::Found(value) => write!(f, ": {}", Shown(value)),
            Outcome::Unknown => f.write_str(": ?"),
        }
    }
}
