//! What was found to a routing table, again and again.

use super::super::data_plane::{
    hosts::Hosts,
    routes::{self, Built, Holding, Rules},
};
use super::{
    changes,
    found::{Found, Whole},
};
use config::RoutesLog;
use mesh::{
    model::RouteOverrides,
    view::{Change, View},
};
use proxy::route::{Matching, Table};
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The longest pause between two makings. A pause is as long as the making before it.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Makes tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) proxy: proxy::Handle,
    /// Begins the tags that ask for routes.
    pub(super) prefix: String,
    pub(super) matching: Matching,
    /// How long requests wait for an instance of a route that has none.
    pub(super) hold: Duration,
    /// What the log says of changes.
    pub(super) log: RoutesLog,
    /// Told which names of services routes want for the ingress.
    pub(super) aliases: watch::Sender<BTreeSet<String>>,
    /// Canceled when the first table is in force.
    pub(super) routed: CancellationToken,
}

impl Tables {
    /// Puts a table in force whenever something else was found, until `shutdown`.
    pub(super) async fn run(
        self,
        mut found: watch::Receiver<Found>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut hosts = Hosts::start();
        let mut holding = Holding::default();
        let mut problems = BTreeSet::new();
        let mut next = Instant::now();
        tokio::pin!(shutdown);
        loop {
            let whole = found.borrow_and_update().whole();
            if let Some(whole) = whole {
                let began = Instant::now();
                let (built, held) = self.build(whole.clone(), holding, &hosts).await;
                holding = held;
                hosts.want(built.names.clone());
                let old = self.proxy.table();
                self.put_in_force(built, &whole, &mut problems);
                self.tell(old).await;
                next = Instant::now() + began.elapsed().min(PAUSE_MAX);
            }
            let changed = async {
                sleep_until(next).await;
                let at = holding.next();
                tokio::select! {
                    changed = found.changed() => changed.is_ok(),
                    () = hosts.changed() => true,
                    () = at_last(at) => true,
                }
            };
            tokio::select! {
                goes_on = changed => if !goes_on { return },
                () = &mut shutdown => return,
            }
        }
    }

    /// Makes a table on a thread that carries no traffic.
    async fn build(&self, whole: Whole, holding: Holding, hosts: &Hosts) -> (Built, Holding) {
        let addresses = hosts.known();
        let (prefix, matching, hold) = (self.prefix.clone(), self.matching, self.hold);
        let old = self.proxy.table();
        let mut held = holding;
        let making = tokio::task::spawn_blocking(move || {
            let view = view(&whole.text);
            let rules = Rules {
                datacenter: &whole.datacenter,
                prefix: &prefix,
                matching,
                addresses: &addresses,
                texts: &whole.texts,
            };
            let built = routes::build(&view, &whole.instances, rules, &old, (&mut held, hold));
            (built, held)
        });
        super::join(making).await
    }

    /// Writes into the log what is other than it was, on a thread that carries no traffic.
    async fn tell(&self, old: Arc<Table>) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let (format, new) = (self.log, self.proxy.table());
        let telling = tokio::task::spawn_blocking(move || {
            for line in changes::lines(format, &old, &new) {
                tracing::info!("routes: {line}");
            }
        });
        super::join(telling).await;
    }

    fn put_in_force(&self, built: Built, whole: &Whole, problems: &mut BTreeSet<String>) {
        // Each problem is told once, when it appears.
        for problem in built.problems.difference(problems) {
            tracing::warn!(problem, "a route is left out");
        }
        self.proxy
            .set_problems(built.problems.iter().cloned().collect());
        *problems = built.problems;
        self.aliases.send_if_modified(|aliases| {
            let now = routes::aliases(&built.table);
            let differs = *aliases != now;
            *aliases = now;
            differs
        });
        self.proxy.set_no_route_page(&whole.page);
        let old: Arc<Table> = self.proxy.table();
        let left = routes::left_by(&old, &built.table);
        let dead = routes::dead(&whole.instances, &left);
        // Nobody waits for instances that are gone: those who end them know nothing of this.
        drop(self.proxy.swap(built.table));
        if !dead.is_empty() {
            self.proxy.lost(|instance| dead.contains(instance));
        }
        self.routed.cancel();
    }
}

/// A catalog with nothing but a text over its routes.
fn view(text: &str) -> View {
    let mut view = View::default();
    let overrides = RouteOverrides {
        text: text.to_owned(),
        ..RouteOverrides::default()
    };
    view.apply(1, Change::PutRouteOverrides(Arc::new(overrides)));
    view
}

/// Resolves at a moment; never without one.
async fn at_last(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
