//! Starts what only a leader does. Each part rebuilds what it knows from the state when it starts,
//! so a new leader needs nothing else.

use jobs::control::Gc;
use std::sync::Arc;

use super::{first_key, presence, voters};
use crate::{
    Core, data_planes,
    log::propose::ids,
    loops::{self, deployments, drains, evaluations, gc, heartbeats, lifetimes, locks, periodic},
    scheduling,
    supervise::Supervisor,
    webhooks,
};

/// Starts every loop under the supervisor.
pub(crate) fn start(core: &Arc<Core>, supervisor: &Supervisor) {
    let core = || Arc::clone(core);
    let of = core();
    supervisor.keep("evaluations", move |stop| {
        let controller = evaluations::Evaluations::new(Arc::clone(&of));
        loops::drive(controller, Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("deployments", move |stop| {
        let controller = deployments::Rollouts::new(Arc::clone(&of), ids());
        loops::drive(controller, Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("webhooks", move |stop| webhooks::run(Arc::clone(&of), stop));
    let of = core();
    supervisor.keep("heartbeats", move |stop| {
        loops::drive(heartbeats::Leases(Arc::clone(&of)), Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("session lifetimes", move |stop| {
        loops::drive(lifetimes::Sessions(Arc::clone(&of)), Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("locks of variables", move |stop| {
        loops::drive(locks::Locks(Arc::clone(&of)), Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("periodic launches", move |stop| {
        loops::drive(periodic::Launches::new(ids()), Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("drains", move |stop| {
        loops::drive(drains::Emptied::new(ids()), Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("garbage collection", move |stop| {
        let collector = gc::Collector::new(Gc::new(of.config.gc.clone()));
        loops::drive(collector, Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("scheduling", move |stop| {
        scheduling::run(Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("presence", move |stop| presence::run(Arc::clone(&of), stop));
    let of = core();
    supervisor.keep("first root key", move |stop| {
        first_key::run(Arc::clone(&of), stop)
    });
    let of = core();
    supervisor.keep("group", move |stop| voters::run(Arc::clone(&of), stop));
    let of = core();
    supervisor.keep("data planes", move |stop| {
        data_planes::run(Arc::clone(&of), stop)
    });
}
