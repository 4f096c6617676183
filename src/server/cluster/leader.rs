//! Starts what only a leader does. With one voter this server leads from its start to its end; each
//! part rebuilds what it knows from the state when it starts, so a new leader needs nothing else.

use jobs::control::Gc;
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::server::{
    Core, data_planes,
    log::propose::ids,
    loops::{self, deployments, evaluations, gc, heartbeats},
    scheduling,
};

/// Starts every loop; each ends when `stop` is canceled.
pub(in crate::server) fn start(core: &Arc<Core>, parts: &TaskTracker, stop: &CancellationToken) {
    let collector = Gc::new(core.config.gc.clone());
    let core = || Arc::clone(core);
    let stop = || stop.clone();
    parts.spawn(loops::drive(
        evaluations::Evaluations::new(core()),
        core(),
        stop(),
    ));
    parts.spawn(loops::drive(
        deployments::Rollouts::new(ids()),
        core(),
        stop(),
    ));
    parts.spawn(loops::drive(heartbeats::Leases(core()), core(), stop()));
    parts.spawn(loops::drive(gc::Collector::new(collector), core(), stop()));
    parts.spawn(scheduling::run(core(), stop()));
    parts.spawn(data_planes::run(core(), stop()));
}
