//! Commands that users give by hand, checked against the state.

use crate::{
    ids::Ids,
    model::JobKey,
    state::{Command, Rejected, State},
};

/// Makes canaries normal; `groups` empty is all.
///
/// # Errors
/// [`Rejected`] when the deployment is over or a group has too few healthy canaries.
pub fn promote(
    state: &State,
    now_ns: i64,
    id: &str,
    groups: &[String],
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    todo!()
}
/// Gives a deployment up, and goes back when its groups say so.
///
/// # Errors
/// [`Rejected`] when the deployment is over.
pub fn fail(state: &State, now_ns: i64, id: &str, ids: &mut Ids) -> Result<Command, Rejected> {
    todo!()
}
/// Holds a deployment or lets it go on.
///
/// # Errors
/// [`Rejected`] when the deployment is over.
pub fn pause(
    state: &State,
    now_ns: i64,
    id: &str,
    pause: bool,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    todo!()
}
/// Sets the health of allocations by hand.
///
/// # Errors
/// [`Rejected`] when the deployment is over or an allocation is not part of it.
pub fn set_health(
    state: &State,
    now_ns: i64,
    id: &str,
    healthy: Vec<String>,
    unhealthy: Vec<String>,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    todo!()
}
/// Registers an older version as the next one. `enforce_prior` is the version that must be current.
///
/// # Errors
/// [`Rejected`] when the job or the version is missing.
pub fn revert(
    state: &State,
    now_ns: i64,
    key: &JobKey,
    version: u64,
    enforce_prior: Option<u64>,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    todo!()
}
/// Stops an allocation and has another placed.
///
/// # Errors
/// [`Rejected::NoAlloc`].
pub fn stop_alloc(
    state: &State,
    now_ns: i64,
    alloc_id: &str,
    no_shutdown_delay: bool,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    todo!()
}
