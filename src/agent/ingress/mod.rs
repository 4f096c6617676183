//! Settings of the ingress to a running one: its listeners, and the certificates that they get.

mod acme;
pub(super) mod aliases;
mod certificates;
mod expiry;
mod pages;
mod requests_log;
#[cfg(test)]
mod served;
mod users;

use super::https::{PROTOCOLS, Rules, RulesReader};
use config::{
    self, CertificatePlace, Config, Connections, Ingress, IngressListener, ListenerTls, PagePlace,
};
use proxy::certs::{Challenges, Issuer, Store, Tls, server_config};
use rustls::ServerConfig;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use sys::priority;
use tokio::sync::{Mutex, watch};

/// The certificates of a source.
#[derive(Clone, Debug)]
struct Source {
    settings: config::CertificateSource,
    store: Arc<Store>,
    /// Authorities of clients, if the source names some.
    authorities: Option<Vec<u8>>,
}

impl Source {
    /// What has its certificates issued; none if they are read from somewhere. What stands in the
    /// way is told in the log.
    fn issuer(&self, name: &str, data_dir: &Path, challenges: &Arc<Challenges>) -> Option<Issuer> {
        let CertificatePlace::Acme(authority) = &self.settings.place else {
            return None;
        };
        let issuer = acme::issuer((name, authority), data_dir, &self.store, challenges);
        issuer
            .inspect_err(|reason| tracing::error!(reason, "no certificates are issued"))
            .ok()
    }
}

/// What the listeners of an ingress are made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    by_name: BTreeMap<String, Source>,
    /// What authorities are told that issue certificates; one and the same for the whole run.
    challenges: Arc<Challenges>,
    /// Where what they issue is kept.
    data_dir: PathBuf,
    /// Users of routes, and the files that they come from.
    users: users::Users,
    /// Where pages for answers of the ingress itself come from.
    pages: Option<PagePlace>,
}

impl Sources {
    /// Reads every source once; one that cannot be read yet has no certificates, and is tried
    /// again. Those that `known` has are kept with what is in them.
    ///
    /// # Errors
    /// If authorities of clients cannot be read: nobody could be told from anybody.
    pub(super) async fn open(
        ingress: &Ingress,
        data_dir: &Path,
        known: &Self,
    ) -> Result<Self, String> {
        let challenges = Arc::clone(&known.challenges);
        let mut by_name = BTreeMap::new();
        for (name, settings) in &ingress.certificates {
            let before = known.by_name.get(name);
            let kept = before.filter(|source| source.settings == *settings);
            let authorities = match &settings.client_authorities {
                None => None,
                Some(path) => Some(tokio::fs::read(path).await.map_err(|error| {
                    format!(
                        "the authorities of clients in `{}`: {error}",
                        path.display()
                    )
                })?),
            };
            let source = Source {
                settings: settings.clone(),
                store: kept.map_or_else(Arc::default, |source| Arc::clone(&source.store)),
                authorities,
            };
            if kept.is_none() {
                match source.issuer(name, data_dir, &challenges) {
                    Some(issuer) => issuer.load().await,
                    None => certificates::read_once(name, settings, &source.store).await,
                }
            }
            by_name.insert(name.clone(), source);
        }
        let users = users::Users::open(&ingress.auth, &known.users).await;
        Ok(Self {
            by_name,
            challenges,
            data_dir: data_dir.to_path_buf(),
            users,
            pages: ingress.error_pages.clone(),
        })
    }

    /// TLS as a listener wants it, with its certificates.
    fn tls(&self, wanted: &ListenerTls) -> Tls {
        let source = self.by_name.get(&wanted.source);
        let store = source.map(|source| Arc::clone(&source.store));
        Tls {
            is_strict: wanted.is_strict,
            oldest: wanted.oldest,
            newest: wanted.newest,
            ciphers: wanted.ciphers.clone(),
            client_authorities: source.and_then(|source| source.authorities.clone()),
            ..Tls::new(store.unwrap_or_default())
        }
    }

    /// The rules of TLS for a listener that is none of the proxy's. Its certificates change as
    /// those of the others do.
    ///
    /// # Errors
    /// If TLS cannot be spoken as wanted.
    pub(super) fn rules(&self, wanted: &ListenerTls) -> Result<Arc<ServerConfig>, String> {
        let rules = server_config(&self.tls(wanted), &PROTOCOLS);
        rules.map(Arc::new).map_err(|error| error.to_string())
    }

    /// A listener with its certificates.
    fn listener(&self, listener: &IngressListener) -> proxy::Listener {
        proxy::Listener {
            protocol: listener.protocol,
            tls: listener.tls.as_ref().map(|wanted| self.tls(wanted)),
            announced: listener.announced.clone(),
            read_timeout: listener.read_timeout,
            write_timeout: listener.write_timeout,
            idle_timeout: listener.idle_timeout,
            ..proxy::Listener::http(listener.address)
        }
    }

    fn listeners(&self, ingress: &Ingress) -> Vec<proxy::Listener> {
        let listeners = ingress.listeners.iter();
        listeners.map(|listener| self.listener(listener)).collect()
    }
}

/// The settings of the proxy.
///
/// # Errors
/// If the log of requests cannot be written.
pub(super) fn proxy_config(
    ingress: &Ingress,
    sources: &Sources,
    limits: Connections,
) -> Result<proxy::Config, String> {
    let access_log = ingress.access_log.as_ref();
    let access_log = access_log.map(requests_log::open).transpose()?;
    let usual = proxy::Config::default();
    let timeouts = ingress.timeouts;
    let resilience = &ingress.resilience;
    Ok(proxy::Config {
        listeners: sources.listeners(ingress),
        trusted_proxies: ingress.trusted_proxies.clone(),
        own_headers: ingress.own_headers.clone(),
        compressed_types: ingress.compress.clone(),
        schemes: sources.users.schemes(),
        challenges: Arc::clone(&sources.challenges),
        access_log,
        connections_max: limits.ingress,
        upstream_idle_max: limits.ingress_targets,
        target_idle_max: ingress.target_idle_max.unwrap_or(usual.target_idle_max),
        strategy: match ingress.strategy {
            config::Strategy::RoundRobin => proxy::Strategy::RoundRobin,
            config::Strategy::Random => proxy::Strategy::Random,
            config::Strategy::LeastConnections => proxy::Strategy::LeastConnections,
        },
        no_route_status: ingress.no_route_status,
        connect_timeout: timeouts.connect.unwrap_or(usual.connect_timeout),
        response_timeout: timeouts.response.or(usual.response_timeout),
        upstream_idle_timeout: timeouts
            .upstream_idle
            .unwrap_or(usual.upstream_idle_timeout),
        client_idle_timeout: timeouts.idle.unwrap_or(usual.client_idle_timeout),
        drain_timeout: timeouts.drain.unwrap_or(usual.drain_timeout),
        stop_timeout: ingress.shutdown.wait,
        retries: ingress.retries.unwrap_or(usual.retries),
        retry_on: resilience.retry_on.clone(),
        repeats_percent: resilience.retry_percent,
        repeats_per_second: resilience.retries_per_second,
        eject_after: resilience.eject_after,
        eject_time: resilience.eject_time,
        hold: resilience.hold,
        pending_max: resilience.pending_max,
        pending_time: resilience.pending_time,
        request_body_max: ingress.request_body_max,
        authorities_file: ingress.authorities_file.clone(),
        on_thread_start: Some(priority::prefer_this_thread),
        ..usual
    })
}

/// An ingress that is open and not served yet.
#[derive(Debug)]
pub(super) struct OpenIngress {
    pub(super) proxy: proxy::Proxy,
    pub(super) sources: Sources,
    /// Rules of TLS of the admin address, if it has any.
    pub(super) admin: Option<Rules>,
}

impl OpenIngress {
    /// With the admin address as `ingress` wants it.
    ///
    /// # Errors
    /// If TLS cannot be spoken there as wanted.
    pub(super) fn new(
        proxy: proxy::Proxy,
        sources: Sources,
        ingress: &Ingress,
    ) -> Result<Self, String> {
        let admin = ingress.admin_tls.as_ref();
        let admin = admin.map(|wanted| sources.rules(wanted)).transpose()?;
        Ok(Self {
            proxy,
            sources,
            admin: admin.map(|rules| watch::channel(rules).0),
        })
    }

    /// Where the admin address takes its rules of TLS from.
    pub(super) fn admin_reader(&self) -> Option<RulesReader> {
        self.admin.as_ref().map(watch::Sender::subscribe)
    }
}

/// What may change while an ingress runs.
#[derive(Debug)]
pub(super) struct Reloads {
    proxy: proxy::Handle,
    /// Rules of TLS of the admin address, if it has any.
    admin: Option<Rules>,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    sources: Sources,
    refreshing: Vec<tokio::task::AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for refresh in &self.refreshing {
            refresh.abort();
        }
    }
}

impl Reloads {
    /// Keeps the certificates of a running ingress fresh from now on.
    pub(super) fn new(proxy: proxy::Handle, sources: Sources, admin: Option<Rules>) -> Self {
        let refreshing = refresh(&sources, &proxy);
        let running = Running {
            sources,
            refreshing,
        };
        Self {
            proxy,
            admin,
            running: Mutex::new(running),
        }
    }

    /// Gives a running ingress the listeners and the certificates of another configuration. What
    /// cannot be had is told in the log; the rest is in force.
    pub(super) async fn reload(&self, config: &Config) {
        let Some(ingress) = &config.ingress else {
            tracing::warn!("the ingress cannot be switched off while the agent runs");
            return;
        };
        let mut running = self.running.lock().await;
        let sources = match Sources::open(ingress, &config.data_dir, &running.sources).await {
            Ok(sources) => sources,
            Err(reason) => {
                tracing::error!(reason, "the listeners of the ingress stay as they are");
                return;
            }
        };
        match (&self.admin, &ingress.admin_tls) {
            (Some(admin), Some(wanted)) => match sources.rules(wanted) {
                Ok(rules) => drop(admin.send_replace(rules)),
                Err(reason) => {
                    tracing::error!(reason, "the listeners of the ingress stay as they are");
                    return;
                }
            },
            (None, None) => {}
            _ => tracing::warn!("`ingress.admin_cs` is taken over when the agent starts again"),
        }
        for listening in self.proxy.listen(sources.listeners(ingress)).await {
            match listening.local {
                Ok(local) => tracing::info!(%local, "the ingress listens"),
                Err(error) => tracing::error!(%error, "a listener of the ingress is not there"),
            }
        }
        let refreshing = refresh(&sources, &self.proxy);
        *running = Running {
            sources,
            refreshing,
        };
    }
}

fn refresh(sources: &Sources, proxy: &proxy::Handle) -> Vec<tokio::task::AbortHandle> {
    let stores = sources.by_name.iter();
    let stores = stores.map(|(name, source)| (name.clone(), Arc::clone(&source.store)));
    proxy.set_certificates(stores.collect());
    let spawn = |(name, source): (&String, &Source)| {
        if let CertificatePlace::Acme(_) = source.settings.place {
            let issuer = source.issuer(name, &sources.data_dir, &sources.challenges);
            return issuer.map(|issuer| tokio::spawn(issuer.run()).abort_handle());
        }
        let keep = certificates::keep_fresh(
            name.clone(),
            source.settings.clone(),
            Arc::clone(&source.store),
        );
        Some(tokio::spawn(keep).abort_handle())
    };
    let certificates = sources.by_name.iter().filter_map(spawn);
    let users = tokio::spawn(sources.users.clone().keep_fresh()).abort_handle();
    let ends = tokio::spawn(expiry::watch(proxy.clone())).abort_handle();
    let pages = match &sources.pages {
        Some(place) => Some(pages::keep_fresh(place.clone(), proxy.clone())),
        None => {
            proxy.set_error_pages(proxy::ErrorPages::default());
            None
        }
    };
    let pages = pages.map(|pages| tokio::spawn(pages).abort_handle());
    certificates.chain([users, ends]).chain(pages).collect()
}

/// The address that stands for the whole ingress.
pub(super) fn first_address(ingress: &Ingress) -> Option<SocketAddr> {
    ingress.listeners.first().map(|listener| listener.address)
}
