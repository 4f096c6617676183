//! An ingress by itself: routes from a catalog or a server elsewhere, a text or a file, and no
//! server, client or DNS beside it.
//!
//! What is found anywhere goes into [`found::Found`]; [`table`] makes routes of it as the data
//! plane of an agent does. [`keys`] are the texts of operators, [`announce`] registers the ingress
//! where its routes come from.

mod announce;
mod asked;
mod changes;
mod files;
mod found;
mod keys;
mod pushed;
mod table;

use super::{
    boot::descriptors,
    external::{Feed, Other, Wanted},
    https::RulesReader,
    ingress::{OpenIngress, Reloads},
    listeners::{BindError, open_ingress, tcp},
    parts::{Parts, log_end},
    runtimes::{Planes, join},
    shown,
};
use announce::Announce;
use config::{CatalogSource, Connections, MetricsListener, RouteSource};
use found::Found;
use keys::Keys;
use mesh::elsewhere::Admission;
use proxy::route::tags::PREFIX;
use std::{
    collections::BTreeSet, future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};
use sys::callers::Callers;
use table::Tables;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// Why an ingress did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener is not to be had.
    #[error("{}; choose another with `proxy.addr` or `ui.addr`", .0.reason())]
    Bind(#[from] BindError),
    /// The routes cannot be read.
    #[error("routes cannot be read: {0}")]
    Routes(String),
}

/// An ingress that runs by itself.
#[derive(Debug)]
pub struct Standalone {
    listeners: Vec<(&'static str, SocketAddr)>,
    parts: Parts,
}

/// A socket of an API with its address, and the rules of TLS there, if there are any.
type Socket = (Arc<TcpListener>, SocketAddr, Option<RulesReader>);

/// Sockets that are open and not served yet.
struct Bound {
    proxy: proxy::Proxy,
    reloads: Reloads,
    admin: Socket,
    metrics: Vec<Socket>,
}

impl Bound {
    async fn open(settings: config::Standalone, limits: Connections) -> Result<Self, BindError> {
        // Nothing is kept on disk: no source of certificates needs a place there.
        let nowhere = Path::new("");
        let open = open_ingress(&settings.ingress, nowhere, limits).await?;
        let admin = settings.ingress.admin;
        let (socket, local) = tcp(admin, "the ingress admin API", "ui.addr").await?;
        let admin = (socket, local, open.admin_reader());
        let mut metrics = Vec::new();
        for MetricsListener { address, tls } in settings.metrics {
            let rules = tls.map(|wanted| open.sources.rules(&wanted)).transpose();
            let rules = rules
                .map_err(|reason| BindError::new(address, ("metrics", "proxy.addr"), reason))?;
            let (socket, local) = tcp(address, "metrics", "proxy.addr").await?;
            metrics.push((socket, local, rules.map(|rules| watch::channel(rules).1)));
        }
        let OpenIngress {
            proxy,
            sources,
            admin: rules,
        } = open;
        Ok(Self {
            reloads: Reloads::new(proxy.handle(), sources, rules),
            proxy,
            admin,
            metrics,
        })
    }
}

impl Standalone {
    /// Opens the listeners, which answer at once, and begins to look for routes.
    ///
    /// # Errors
    /// Any [`StartError`]; nothing runs then.
    pub async fn start(settings: config::Standalone, planes: &Planes) -> Result<Self, StartError> {
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        let limits = Connections::within(descriptors());
        let bound = join(planes.data().spawn(Bound::open(settings.clone(), limits))).await?;
        let parts = Parts::new(settings.ingress.shutdown);
        let proxy = bound.proxy.handle();
        let routed = CancellationToken::new();
        let (aliases, names) = watch::channel(BTreeSet::new());
        let (found, reader) = watch::channel(Found::default());
        let tables = Tables {
            proxy,
            prefix: prefix(&settings.routes),
            matching: settings.ingress.matching,
            hold: settings.ingress.resilience.hold,
            log: settings.routes_log,
            aliases,
            routed: routed.clone(),
        };
        let texts = match &settings.routes {
            RouteSource::Catalog(source) => {
                let other = Other::open(&source.external).map_err(StartError::Routes)?;
                let port = bound.admin.1.port();
                let announced = (port, names);
                from_catalog(
                    (source, &other),
                    found,
                    announced,
                    (&parts, planes, &routed),
                );
                let keys = Keys::new(other, &source.commands_key);
                Some(Arc::new(keys) as Arc<dyn api::fabio::Texts>)
            }
            RouteSource::Text { routes, page } => {
                let text = files::fixed(routes, page).map_err(StartError::Routes)?;
                found.send_modify(|found| found.set_text(text));
                parts.edge(planes.data(), |stopped| async move {
                    // As long as the ingress runs, there is somebody who may say more.
                    stopped.await;
                    drop(found);
                });
                None
            }
            RouteSource::Asked(source) => {
                let asked = asked::Asked::open(source).map_err(StartError::Routes)?;
                parts.edge(planes.data(), |stopped| async move {
                    tokio::select! {
                        () = asked.follow(found) => {}
                        () = stopped => {}
                    }
                });
                None
            }
            RouteSource::File { routes, page } => {
                let watched = files::Watched::open(routes, page).map_err(StartError::Routes)?;
                parts.edge(planes.data(), |stopped| async move {
                    tokio::select! {
                        () = watched.follow(found) => {}
                        () = stopped => {}
                    }
                });
                None
            }
        };
        parts.edge(planes.data(), |stopped| tables.run(reader, stopped));
        let listeners = serve(&settings, bound, texts, (&parts, planes, limits, &routed));
        Ok(Self { listeners, parts })
    }

    /// Where it listens, by name.
    pub fn listeners(&self) -> &[(&'static str, SocketAddr)] {
        &self.listeners
    }

    /// Stops; bounded in time, whatever hangs. From the moment at which `hurry` resolves, without
    /// the rest of the grace.
    pub async fn stop_early(self, hurry: impl Future<Output = ()>) {
        self.parts.stop(hurry).await;
    }
}

/// Begins the tags that ask for routes.
fn prefix(routes: &RouteSource) -> String {
    match routes {
        RouteSource::Catalog(source) => source.tag_prefix.clone(),
        _ => PREFIX.to_owned(),
    }
}

/// Follows instances and keys of a catalog, and registers the ingress there.
fn from_catalog(
    (source, other): (&CatalogSource, &Other),
    found: watch::Sender<Found>,
    (port, names): (u16, watch::Receiver<BTreeSet<String>>),
    (parts, planes, routed): (&Parts, &Planes, &CancellationToken),
) {
    let wanted = Wanted {
        prefix: source.tag_prefix.clone(),
        admission: Some(Admission {
            statuses: source.statuses.clone(),
            needs_all: source.needs_all_checks,
        }),
    };
    let (feed, instances) = Feed::new(source.external.clone(), wanted);
    parts.edge(planes.data(), |stopped| feed.run(stopped));
    let following = found::follow(
        other.clone(),
        (source.commands_key.clone(), source.page_key.clone()),
        instances,
        found,
    );
    parts.edge(planes.data(), |stopped| async move {
        tokio::select! {
            () = following => {}
            () = stopped => {}
        }
    });
    if let Some(settings) = &source.registration {
        let announce = Announce::new(settings, port, other.clone());
        let routed = routed.clone();
        parts.inviting(planes.control(), |leaving| async move {
            tokio::pin!(leaving);
            // Nobody is to come before there is a way to go.
            tokio::select! {
                () = routed.cancelled() => announce.run(names, leaving).await,
                () = &mut leaving => {}
            }
        });
    }
}

/// Lets the ingress answer on all its listeners; their names and addresses.
fn serve(
    settings: &config::Standalone,
    bound: Bound,
    texts: Option<Arc<dyn api::fabio::Texts>>,
    (parts, planes, limits, routed): (&Parts, &Planes, Connections, &CancellationToken),
) -> Vec<(&'static str, SocketAddr)> {
    let Bound {
        proxy,
        reloads,
        admin,
        metrics,
    } = bound;
    let handle = proxy.handle();
    let ingress = proxy.local_addrs();
    let mut listeners: Vec<_> = ingress.iter().map(|local| ("ingress", *local)).collect();
    parts.edge(planes.data(), |stopped| async move {
        log_end("ingress", proxy.run(stopped).await);
        // Certificates and users are kept fresh as long.
        drop(reloads);
    });
    let leaving = handle.clone();
    parts.inviting(planes.data(), |left| async move {
        left.await;
        leaving.leave();
    });
    let common = api::Common {
        access: api::Access::new(Vec::new(), Vec::new()),
        bodies: api::Bodies::default(),
    };
    let serve = |(socket, _, tls): Socket, router| {
        let listener = api::Listener {
            socket,
            tls,
            connections_max: limits.ingress_admin,
            callers: Callers::default(),
            handshake_max: Duration::MAX,
        };
        let common = common.clone();
        parts.edge(planes.control(), |stopped| {
            api::serve(listener, router, common, stopped)
        });
    };
    let router = api::fabio::alone(api::fabio::Alone {
        proxy: handle.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: shown::ingress(Some(&settings.ingress)),
        texts,
        is_read_only: settings.ingress.admin_is_read_only,
        path: settings.admin_path.clone(),
        title: settings.title.clone(),
        metrics_prefix: settings.metrics_prefix.clone(),
        metrics_bounds: settings.metrics_bounds.clone(),
        routed: routed.clone(),
        stopping: parts.stopping(),
    });
    if let Some(settings) = settings.pushed.clone() {
        let handle = handle.clone();
        parts.edge(planes.control(), |stopped| {
            pushed::run(handle, settings, stopped)
        });
    }
    listeners.push(("ingress_admin", admin.1));
    serve(admin, router);
    for socket in metrics {
        let router = api::fabio::only_metrics(
            handle.clone(),
            &settings.metrics_path,
            (&settings.metrics_prefix, &settings.metrics_bounds),
        );
        listeners.push(("metrics", socket.1));
        serve(socket, router);
    }
    listeners
}
