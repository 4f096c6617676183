//! What reads of every dialect share: parameters, waiting for a change, pages, filters and JSON.
//!
//! A dialect reads its parameters with `Parameters`, waits with [`wait`](wait::wait) for a newer
//! snapshot of its [`Source`](wait::Source), and adds its own headers. Start at `wait`.

pub(crate) mod filter;
pub(crate) mod json;
pub(crate) mod of_server;
pub(crate) mod page;
pub(crate) mod parameters;
pub(crate) mod wait;

/// How fresh a reader wants the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// As the dialect does when nothing is said.
    #[default]
    Default,
    /// Refused while no leader is known.
    Consistent,
    /// Whatever is there.
    Stale,
}
