//! The glue between the libraries: every change of the catalog becomes a DNS view and a routing table.
//!
//! [`names`] makes the view and [`routes`] the table. A whole new value is computed and swapped in;
//! nothing is patched in place. A value that cannot be computed leaves the old one in force and is
//! reported. What was swapped in is confirmed to the servers, with the instances that left and still
//! have requests in flight ([`draining`]).

mod draining;
mod names;
mod routes;

use crate::rpc::{
    message::Confirmation,
    session::{Handle, Replica},
};
use draining::Draining;
use mesh::{
    model::{Index, Status},
    state::{Instance, Snapshot, Table},
};
use std::{collections::BTreeSet, future::Future, sync::Arc};
use tokio::sync::watch;

/// What an agent serves from its replica of the catalog.
#[derive(Debug)]
pub(super) struct DataPlane {
    /// The replica and the way to confirm.
    pub session: Handle,
    /// What the catalog API answers from.
    pub catalog: watch::Sender<Arc<Snapshot>>,
    /// DNS, when this agent answers it.
    pub dns: Option<dns::Handle>,
    /// Ingress, when this agent carries traffic.
    pub proxy: Option<proxy::Handle>,
    /// DNS zone.
    pub domain: String,
    /// Datacenter of this agent.
    pub datacenter: String,
}

/// Indexes of the tables that views are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    catalog: Index,
    overrides: Index,
}

impl Seen {
    fn of(catalog: &Snapshot) -> Self {
        let of = |table| catalog.table_index(table);
        let rows = of(Table::Nodes)
            .max(of(Table::Services))
            .max(of(Table::Checks));
        Self {
            catalog: rows,
            overrides: of(Table::RouteOverrides),
        }
    }
}

impl DataPlane {
    /// Follows the catalog until `shutdown`.
    pub(super) async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut catalog = self.session.catalog();
        let mut seen = None;
        let mut draining = Draining::default();
        let mut problems = BTreeSet::new();
        let mut index = 0;
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                changed = catalog.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let replica = Arc::clone(&catalog.borrow_and_update());
                    let now = Seen::of(&replica.catalog);
                    if seen != Some(now) {
                        self.swap(&replica, &mut draining, &mut problems);
                        self.catalog.send_replace(Arc::new(replica.catalog.clone()));
                        seen = Some(now);
                    }
                    index = replica.index;
                }
                () = draining.changed() => {}
                () = &mut shutdown => return,
            }
            self.session.confirm(Confirmation {
                index,
                busy: draining.busy(),
            });
        }
    }

    fn swap(&self, replica: &Replica, draining: &mut Draining, problems: &mut BTreeSet<String>) {
        // As its users expect, the catalog's DNS answers with instances in warning too.
        let alive =
            |instance: &Instance| matches!(instance.status, Status::Passing | Status::Warning);
        let instances: Vec<Instance> = replica.catalog.all_instances().filter(alive).collect();
        if let Some(dns) = &self.dns {
            let facts = names::facts(&self.domain, &self.datacenter, &replica.catalog, &instances);
            match dns::View::new(&facts) {
                Ok(view) => dns.set_view(view),
                Err(error) => tracing::error!(%error, "the DNS view stays as it was"),
            }
        }
        if let Some(proxy) = &self.proxy {
            let old = proxy.table();
            let overrides = &replica.catalog.route_overrides().text;
            let (table, found) = routes::build(&instances, overrides, &self.datacenter, &old);
            // Each problem is told once, when it appears.
            for problem in found.difference(problems) {
                tracing::warn!(problem, "a route is left out");
            }
            *problems = found;
            let left = routes::left_by(&old, &table);
            draining.watch(left, proxy.swap(table));
        }
    }
}
