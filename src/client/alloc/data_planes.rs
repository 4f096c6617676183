//! The wait for data planes before tasks stop.

use crate::{shared::Shared, task::runner::DRAIN_TIMEOUT};
use std::sync::Arc;
use tokio::time::timeout;

/// Waits, within limits, until no data plane sends anything to the instances of a stopped
/// allocation.
pub(super) async fn wait(shared: Arc<Shared>) {
    let alloc = shared.alloc();
    let ids: Vec<String> = shared
        .instances()
        .into_iter()
        .map(|instance| instance.service.id.into())
        .collect();
    if ids.is_empty() {
        return;
    }
    let drained = shared.cx.session.drained(alloc.modify_index, &ids);
    if !matches!(timeout(DRAIN_TIMEOUT, drained).await, Ok(Ok(()))) {
        tracing::warn!(alloc = %alloc.id, "stopping without every data plane's word");
    }
}
