//! What a caller of the log chooses before a command is written: time and ids; and what can go
//! wrong.

use super::clock;
use jobs::ids::Ids;
use jobs::model::Timestamp;
use registration::{UnknownRules, Version};
use std::{sync::Arc, time::Duration};

/// Why a command was not written, or why nobody knows whether it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// No quorum answered in time. The command may or may not be in the log.
    #[error("no cluster leader: the write was not confirmed within {} s", .waited.as_secs())]
    Timeout {
        /// How long was waited.
        waited: Duration,
    },
    /// The log cannot be written.
    #[error("the log cannot be written: {reason}")]
    Storage {
        /// Why.
        reason: Arc<str>,
    },
    /// The command is longer than an entry may be.
    #[error("the request has {bytes} bytes, more than a log entry may have")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The command belongs to newer rules than those that the cluster goes by.
    #[error(
        "the cluster goes by version {current} of its rules and the request needs {needed}: every server \
         has to be updated first"
    )]
    Version {
        /// Of the command.
        needed: Version,
        /// In force.
        current: Version,
    },
    /// Rules that this server does not know.
    #[error(transparent)]
    Rules(#[from] UnknownRules),
    /// The command has no encoded form.
    #[error("the request cannot be encoded")]
    Encoding,
}

impl ProposeError {
    /// True when the same command can succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy
            | Self::NotLeader
            | Self::Stopped
            | Self::Timeout { .. }
            | Self::Storage { .. } => true,
            Self::TooLong { .. } | Self::Version { .. } | Self::Rules(_) | Self::Encoding => false,
        }
    }
}

/// Log time: the wall clock, smoothed so that it never goes back and a
/// clock that is set wrong does not stop it. Everything that a server times or writes uses it.
pub fn now() -> Timestamp {
    clock::now()
}

/// A fresh seed for ids and tie breaks.
pub fn seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 ^ uuid::Uuid::new_v4().as_u64_pair().1
}

/// A fresh source of ids.
pub fn ids() -> Ids {
    Ids::from_seed(seed())
}
