//! How long clients of a listener are waited for.

use std::time::Duration;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For the head of a request, and for the greeting of TLS.
    pub(super) head: Duration,
    /// For its next bytes within a request, or for taking some of an answer.
    pub(super) client: Duration,
    /// Until its next request.
    pub(super) idle: Duration,
}
