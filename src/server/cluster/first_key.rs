//! Makes the first root key as soon as somebody leads, so that no first write waits for it.

use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{Core, Handle};

/// Pause before another try, when the disk or the other servers refuse.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends when the state has a root key.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let handle = Handle { core };
    loop {
        match handle.active_root_key().await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "the first root key is not made yet"),
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}
