use crate::client::alloc::shared::Shared;

/// Builds what the tasks of the allocation share.
pub(super) async fn run(shared: &Shared) -> Result<(), String> {
    shared.dir.build().map_err(|error| error.to_string())
}
