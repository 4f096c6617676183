use super::SetupError;
use crate::shared::Shared;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jobs::model::{Allocation, Task};
use std::{io, path::Path};

/// Mode of the file: every task of the allocation may read what the launch was given.
const MODE: u32 = 0o644;

/// Writes what the launch was given below the task's `local` folder, in one step.
pub(super) async fn run(
    shared: &Shared,
    alloc: &Allocation,
    task: &Task,
) -> Result<(), SetupError> {
    let Some(block) = &task.dispatch_payload else {
        return Ok(());
    };
    let bytes = BASE64_STANDARD
        .decode(&alloc.job.payload)
        .map_err(|_| SetupError::Invalid(vec!["the payload of the job is no Base64".to_owned()]))?;
    if bytes.is_empty() {
        return Ok(());
    }
    let below = Path::new(task.name.as_str())
        .join("local")
        .join(&block.file);
    let dir = shared.dir.clone();
    let write = move || {
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let parent = dir.open()?.create_directory(parent)?;
        parent.put_file(Path::new(name), MODE, (None, None), &bytes)
    };
    Ok(shared.cx.files.setup.run(write).await?)
}
