//! What happens before the first task of an allocation starts, in order: its directory is built,
//! its ports are looked at.
//!
//! Each step is safe to repeat, and leaves nothing that the removal of the directory would not take
//! away.

mod directory;
mod network;

use crate::shared::Shared;

/// Carries out every step; the text of the error goes into the event of each task.
///
/// # Errors
/// A sentence that says which step failed and why.
pub(super) async fn prerun(shared: &Shared) -> Result<(), String> {
    directory::run(shared).await?;
    network::run(&shared.alloc())
}
