//! What happens before the first task of an allocation starts, in order: data of the allocation
//! that it replaces is fetched when it is on another node, its directory is built, that data is
//! taken over, its tasks are given whole processors, its ports are looked at, the network that it
//! has for itself is made.
//!
//! Each step is safe to repeat. The network is removed by `client::own_network`, everything else
//! with the directory.

mod cores;
mod directory;
mod network;
mod previous_data;

use crate::shared::Shared;

/// Brings what takes long from elsewhere before everything else. Safe to cancel. The answer is what
/// the tasks are told when they have to start without it.
///
/// # Errors
/// As [`prerun`].
pub(super) async fn fetched(shared: &Shared) -> Result<Option<String>, String> {
    previous_data::fetched(shared).await
}

/// Carries out every step; the text of the error goes into the event of each task.
///
/// # Errors
/// A sentence that says which step failed and why.
pub(super) async fn prerun(shared: &Shared) -> Result<(), String> {
    directory::run(shared).await?;
    previous_data::run(shared).await?;
    cores::run(shared)?;
    network::run(shared).await
}
