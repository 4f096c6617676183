use crate::shared::Shared;

/// Builds what the tasks of the allocation share.
pub(super) async fn run(shared: &Shared) -> Result<(), String> {
    let dir = shared.dir.clone();
    let built = shared.cx.files.setup.run(move || dir.build()).await;
    built.map_err(|error| error.to_string())
}
