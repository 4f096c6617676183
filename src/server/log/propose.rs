//! What a caller of the log chooses before a command is written: time and ids; and what can go wrong.

use jobs::ids::Ids;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why a command was not written, or why nobody knows whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Too much is waiting already. Trying again helps.
    #[error("the server is busy, try again")]
    Busy,
    /// Another server leads. Trying again there helps.
    #[error("no cluster leader")]
    NotLeader,
    /// The server stops. The command may or may not be in the log.
    #[error("the server is stopping")]
    Stopped,
    /// The log cannot be written.
    #[error("the log cannot be written")]
    Storage,
    /// The command is longer than an entry may be.
    #[error("the request has {bytes} bytes, more than a log entry may have")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The command has no encoded form.
    #[error("the request cannot be encoded")]
    Encoding,
}

impl ProposeError {
    /// True when the same command can succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::NotLeader | Self::Stopped)
    }
}

/// The wall clock, nanoseconds since the Unix epoch.
pub fn now_ns() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

/// A fresh seed for ids and tie breaks.
pub fn seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 ^ uuid::Uuid::new_v4().as_u64_pair().1
}

/// A fresh source of ids.
pub fn ids() -> Ids {
    Ids::from_seed(seed())
}
