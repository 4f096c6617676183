//! Instances that left the routing table and may still have requests in flight.

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

/// What left, by swap of the table.
#[derive(Default)]
pub(super) struct Draining {
    swaps: FuturesUnordered<BoxFuture<'static, u64>>,
    left: BTreeMap<u64, BTreeSet<String>>,
    next_swap: u64,
}

impl Draining {
    /// Counts `left` as busy until `drained` says that their last requests have ended.
    pub(super) fn watch(
        &mut self,
        left: BTreeSet<String>,
        drained: impl Future<Output = proxy::Drained> + Send + 'static,
    ) {
        if left.is_empty() {
            return;
        }
        let swap = self.next_swap;
        self.next_swap += 1;
        self.left.insert(swap, left);
        self.swaps
            .push(drained.map(move |drained| report(swap, &drained)).boxed());
    }

    /// Resolves when fewer are busy than before; never while none is.
    pub(super) async fn changed(&mut self) {
        match self.swaps.next().await {
            Some(swap) => drop(self.left.remove(&swap)),
            None => std::future::pending().await,
        }
    }

    /// Service ids of the busy instances, sorted.
    pub(super) fn busy(&self) -> Vec<String> {
        let busy: BTreeSet<&String> = self.left.values().flatten().collect();
        busy.into_iter().cloned().collect()
    }
}

fn report(swap: u64, drained: &proxy::Drained) -> u64 {
    for pending in &drained.pending {
        tracing::warn!(
            instance = pending.instance,
            in_flight = pending.in_flight,
            "an instance left with requests still in flight after the drain timeout"
        );
    }
    swap
}
