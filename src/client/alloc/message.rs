use crate::Error;
use tokio::sync::oneshot;

/// Changes and requests that may wait for an allocation.
pub(crate) const MESSAGES_MAX: usize = 64;

/// Which tasks of an allocation are to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// The one of that name, which has to run.
    Named(String),
    /// All that run.
    Running,
    /// All of them, also those that have ended: each starts when its turn comes, as at first.
    All,
}

/// What the runner of an allocation is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The servers changed it.
    Changed,
    /// Stop it for good, at once and without waiting for data planes.
    Stop,
    /// Restart tasks.
    Restart {
        /// Which of them.
        tasks: Tasks,
        /// For the event.
        reason: String,
        /// Because of a failing check.
        unhealthy: bool,
        /// What came of it.
        reply: Option<oneshot::Sender<Result<(), Error>>>,
    },
    /// Send a signal.
    Signal {
        /// One task; none for all that run.
        task: Option<String>,
        /// Name of the signal.
        signal: String,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}
