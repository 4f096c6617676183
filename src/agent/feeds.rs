//! The glue between the libraries: every change of the catalog becomes a DNS view and a routing table.
//!
//! A whole new value is computed and swapped in; nothing is patched in place. A value that cannot be
//! computed leaves the old one in force and is reported. What was swapped in is confirmed to the
//! servers, with the instances that left and still have requests in flight.

use crate::rpc::{
    message::Confirmation,
    session::{Handle, Replica},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use mesh::{
    model::{Index, Status},
    state::{Instance, Snapshot, Table},
};
use proxy::route;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};
use tokio::sync::watch;

/// What an agent serves from its replica of the catalog.
#[derive(Debug)]
pub(super) struct Feeds {
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

/// Instances that left the table and may still have requests in flight, by swap.
#[derive(Default)]
struct Draining {
    swaps: FuturesUnordered<BoxFuture<'static, u64>>,
    left: BTreeMap<u64, BTreeSet<String>>,
    next_swap: u64,
}

impl Draining {
    fn busy(&self) -> Vec<String> {
        let busy: BTreeSet<&String> = self.left.values().flatten().collect();
        busy.into_iter().cloned().collect()
    }
}

impl Feeds {
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
                Some(swap) = draining.swaps.next() => {
                    draining.left.remove(&swap);
                }
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
            match dns::View::new(&self.facts(&replica.catalog, &instances)) {
                Ok(view) => dns.set_view(view),
                Err(error) => tracing::error!(%error, "the DNS view stays as it was"),
            }
        }
        if let Some(proxy) = &self.proxy {
            let old = proxy.table();
            let overrides = &replica.catalog.route_overrides().text;
            let (table, found) = build_table(&instances, overrides, &self.datacenter, &old);
            // Each problem is told once, when it appears.
            for problem in found.difference(problems) {
                tracing::warn!(problem, "a route is left out");
            }
            *problems = found;
            let left = left_by(&old, &table);
            let drained = proxy.swap(table);
            if !left.is_empty() {
                let swap = draining.next_swap;
                draining.next_swap += 1;
                draining.left.insert(swap, left);
                draining
                    .swaps
                    .push(drained.map(move |drained| report(swap, &drained)).boxed());
            }
        }
    }

    fn facts(&self, catalog: &Snapshot, instances: &[Instance]) -> dns::Facts {
        let nodes = catalog.nodes().map(|node| dns::Node {
            name: node.name.clone(),
            addresses: vec![node.address.clone()],
            meta: node
                .meta
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        });
        let instances = instances.iter().map(|instance| dns::Instance {
            service: instance.service.name.clone(),
            node: instance.node.name.clone(),
            address: instance.service.address.clone(),
            port: instance.service.port,
            tags: instance.service.tags.clone(),
            weight: match instance.status {
                Status::Warning => instance.service.weights.warning,
                _ => instance.service.weights.passing,
            },
            passing: true,
        });
        dns::Facts {
            domain: self.domain.clone(),
            datacenter: self.datacenter.clone(),
            nodes: nodes.collect(),
            instances: instances.collect(),
            servers: catalog.nodes().map(|node| node.name.clone()).collect(),
        }
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

/// The table of all usable instances, with the operator's text applied after, and what was left out.
fn build_table(
    instances: &[Instance],
    overrides: &str,
    datacenter: &str,
    old: &route::Table,
) -> (route::Table, BTreeSet<String>) {
    let mut definitions = Vec::new();
    let mut problems = Vec::new();
    // Only passing instances get traffic.
    for instance in instances
        .iter()
        .filter(|instance| instance.status == Status::Passing)
    {
        let (found, wrong) = route::tags::definitions(&route::Instance {
            id: &instance.service.id,
            service: &instance.service.name,
            address: instance.address(),
            port: instance.service.port,
            tags: &instance.service.tags,
            datacenter,
        });
        definitions.extend(found);
        problems.extend(wrong);
    }
    let (found, wrong) = route::parse::parse(overrides);
    definitions.extend(found);
    problems.extend(wrong);
    let (table, wrong) = route::Table::build(definitions, Some(old));
    problems.extend(wrong);
    (table, problems.iter().map(ToString::to_string).collect())
}

/// Ids of the instances that `new` no longer sends to.
fn left_by(old: &route::Table, new: &route::Table) -> BTreeSet<String> {
    old.upstreams()
        .filter(|upstream| !new.has_upstream(upstream))
        .map(|upstream| upstream.instance().to_owned())
        .filter(|instance| !instance.is_empty())
        .collect()
}
