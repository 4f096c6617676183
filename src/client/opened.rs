//! Connections that tasks open to the agent's API, on their way to who answers them.

use tokio::{net::UnixStream, sync::OwnedSemaphorePermit};

/// Connections of all tasks that may wait to be served.
pub(super) const OPENED_MAX: usize = 64;

/// A connection that a task opened to the agent's API.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: UnixStream,
    /// Lets the task open another one when it is dropped.
    pub slot: OwnedSemaphorePermit,
}
