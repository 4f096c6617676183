//! The glue between the libraries: every change of the catalog becomes a DNS view and a routing
//! table.
//!
//! [`names`] makes the view and [`routes`] the table, on a thread that carries no traffic; what
//! changes meanwhile goes into the next ones. A new value is computed and swapped in; nothing is
//! patched in place, though a DNS view shares with the last one what stayed as it was. A value that
//! cannot be computed leaves the old one in force and is reported. What was swapped in is confirmed
//! to the servers, with the instances that left and still have requests in flight ([`draining`]).

mod draining;
mod holding;
pub(super) mod hosts;
mod names;
pub(super) mod routes;
mod versions;

use draining::Draining;
use holding::Holding;
use hosts::{Addresses, Hosts};
use mesh::{
    model::Index,
    view::{Instance, Table, View},
};
use names::Names;
pub(super) use names::Zone;
use proxy::route;
use rpc::{
    message::{Confirmation, Position},
    session::{Handle, Replica},
};
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The longest pause between two makings. A pause is as long as the making before it, so that a
/// storm of changes costs at most half a core.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What an agent serves from its replica of the catalog.
#[derive(Debug)]
pub(super) struct DataPlane {
    /// The replica and the way to confirm.
    pub session: Handle,
    /// What the catalog API answers from.
    pub catalog: watch::Sender<Arc<View>>,
    /// Instances to route to instead of those of the replica.
    pub elsewhere: Option<watch::Receiver<Arc<Vec<Instance>>>>,
    /// DNS, when this agent answers it.
    pub dns: Option<dns::Handle>,
    /// Ingress, when this agent carries traffic.
    pub proxy: Option<proxy::Handle>,
    /// How hosts and paths of routes are compared.
    pub matching: route::Matching,
    /// DNS zone, and the datacenter of this agent.
    pub zone: Zone,
    /// How long requests wait for an instance of a route that has none, unless the route says
    /// another time.
    pub hold: Duration,
    /// Told which names of services routes want for the ingress.
    pub aliases: watch::Sender<BTreeSet<String>>,
    /// Canceled when the first table is in force.
    pub routed: CancellationToken,
}

/// Indexes of the tables that views are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    catalog: Index,
    overrides: Index,
}

impl Seen {
    fn of(catalog: &View) -> Self {
        let of = |table| catalog.table_index(table);
        let rows = of(Table::Nodes)
            .max(of(Table::Services))
            .max(of(Table::Checks))
            .max(of(Table::PreparedQueries))
            .max(of(Table::ConfigEntries));
        Self {
            catalog: rows,
            overrides: of(Table::RouteOverrides),
        }
    }
}

/// What was made of a replica.
struct Made {
    replica: Arc<Replica>,
    names: Option<Names>,
    dns: Option<dns::View>,
    routes: Option<Routes>,
    took: Duration,
}

struct Routes {
    holding: Holding,
    table: route::Table,
    problems: BTreeSet<String>,
    left: BTreeSet<String>,
    /// Those of them that are still registered and found dead by their checks.
    dead: BTreeSet<String>,
    /// For requests without a route.
    page: String,
    /// Names of targets whose addresses are wanted.
    names: BTreeSet<String>,
}

impl DataPlane {
    /// Follows the catalog until `shutdown`.
    pub(super) async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut catalog = self.session.catalog();
        let mut seen = None;
        let mut draining = Draining::default();
        let mut problems = BTreeSet::new();
        let mut holding = Holding::default();
        let mut at = Position::default();
        let mut making: Option<JoinHandle<Made>> = None;
        let mut names = self.dns.is_some().then(|| Names::new(self.zone.clone()));
        let mut elsewhere = self.elsewhere.clone();
        let mut next = Instant::now();
        let mut hosts = Hosts::start();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                // Looked at again only when the last change is in force.
                changed = changed_after(&mut catalog, next), if making.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                    let replica = Arc::clone(&catalog.borrow_and_update());
                    let Some(reached) = replica.at else { continue };
                    let now = Seen::of(&replica.catalog);
                    if seen == Some(now) {
                        at = reached;
                    } else {
                        seen = Some(now);
                        making = Some(self.make(replica, names.take(), holding.clone(), hosts.known()));
                        continue;
                    }
                }
                Some(mut made) = finished(&mut making) => {
                    making = None;
                    names = made.names.take();
                    next = Instant::now() + made.took.min(PAUSE_MAX);
                    at = made.replica.at.unwrap_or_default();
                    if let Some(routes) = &made.routes {
                        holding = routes.holding.clone();
                        hosts.want(routes.names.clone());
                    }
                    self.put_in_force(made, &mut draining, &mut problems);
                }
                () = found_after(&mut elsewhere, next), if making.is_none() && seen.is_some() => {
                    let replica = Arc::clone(&catalog.borrow());
                    making = Some(self.make(replica, names.take(), holding.clone(), hosts.known()));
                    continue;
                }
                () = at_last(holding.next()), if making.is_none() => {
                    let replica = Arc::clone(&catalog.borrow());
                    making = Some(self.make(replica, names.take(), holding.clone(), hosts.known()));
                    continue;
                }
                () = hosts.changed(), if making.is_none() => {
                    let replica = Arc::clone(&catalog.borrow());
                    making = Some(self.make(replica, names.take(), holding.clone(), hosts.known()));
                    continue;
                }
                () = draining.changed() => {}
                () = &mut shutdown => return,
            }
            self.session.confirm(Confirmation {
                at,
                busy: draining.busy(),
            });
        }
    }

    /// Makes view and table of a replica, beside everything else.
    fn make(
        &self,
        replica: Arc<Replica>,
        mut names: Option<Names>,
        mut holding: Holding,
        addresses: Addresses,
    ) -> JoinHandle<Made> {
        let hold = self.hold;
        let datacenter = self.zone.datacenter.clone();
        let matching = self.matching;
        let old = self.proxy.as_ref().map(proxy::Handle::table);
        let elsewhere = self.elsewhere.as_ref();
        let elsewhere = elsewhere.map(|found| Arc::clone(&found.borrow()));
        tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let catalog = &replica.catalog;
            let dns = names.as_mut().map(|names| names.next(catalog));
            let dns = dns.and_then(|made| match made {
                Ok(view) => Some(view),
                Err(error) => {
                    tracing::error!(%error, "the DNS view stays as it was");
                    None
                }
            });
            let routes = old.map(|old| {
                let instances: Vec<Instance> = match &elsewhere {
                    Some(found) => mesh::elsewhere::merged(catalog, found),
                    None => catalog.all_instances().collect(),
                };
                let routes::Built {
                    table,
                    problems,
                    names,
                } = routes::build(
                    catalog,
                    &instances,
                    routes::Rules {
                        datacenter: &datacenter,
                        prefix: route::tags::PREFIX,
                        matching,
                        addresses: &addresses,
                        texts: &[],
                    },
                    &old,
                    (&mut holding, hold),
                );
                let left = routes::left_by(&old, &table);
                let dead = routes::dead(&instances, &left);
                Routes {
                    holding,
                    dead,
                    table,
                    problems,
                    left,
                    page: catalog.route_overrides().page(),
                    names,
                }
            });
            Made {
                names,
                dns,
                routes,
                took: began.elapsed(),
                replica,
            }
        })
    }

    fn put_in_force(&self, made: Made, draining: &mut Draining, problems: &mut BTreeSet<String>) {
        if let (Some(dns), Some(view)) = (&self.dns, made.dns) {
            dns.set_view(view);
        }
        if let (Some(proxy), Some(routes)) = (&self.proxy, made.routes) {
            // Each problem is told once, when it appears.
            for problem in routes.problems.difference(problems) {
                tracing::warn!(problem, "a route is left out");
            }
            proxy.set_problems(routes.problems.iter().cloned().collect());
            *problems = routes.problems;
            self.aliases.send_if_modified(|aliases| {
                let now = routes::aliases(&routes.table);
                let differs = *aliases != now;
                *aliases = now;
                differs
            });
            proxy.set_no_route_page(&routes.page);
            draining.watch(routes.left, proxy.swap(routes.table));
            self.routed.cancel();
            if !routes.dead.is_empty() {
                proxy.lost(|instance| routes.dead.contains(instance));
            }
        }
        self.catalog
            .send_replace(Arc::new(made.replica.catalog.clone()));
    }
}

/// Resolves when the catalog changed, not before `earliest`.
async fn changed_after(
    catalog: &mut watch::Receiver<Arc<Replica>>,
    earliest: Instant,
) -> Result<(), watch::error::RecvError> {
    // Canceled and asked again, it loses nothing: a change is seen only after the pause.
    sleep_until(earliest).await;
    catalog.changed().await
}

/// Resolves when other instances were found elsewhere, not before `earliest`; never without such a
/// place.
async fn found_after(
    elsewhere: &mut Option<watch::Receiver<Arc<Vec<Instance>>>>,
    earliest: Instant,
) {
    sleep_until(earliest).await;
    if let Some(found) = elsewhere
        && found.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Resolves at a moment; never without one.
async fn at_last(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What was made, once it is; never while nothing is being made.
async fn finished(making: &mut Option<JoinHandle<Made>>) -> Option<Made> {
    match making {
        None => std::future::pending().await,
        Some(made) => match made.await {
            Ok(made) => Some(made),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the end of the runtime cancels it.
                Err(_) => std::future::pending().await,
            },
        },
    }
}
