//! What is registered in a catalog elsewhere, for the ingress.
//!
//! Two lists are watched: the services with their tags, and all checks. When one of them changes,
//! the services that ask for routes are asked for again; only those whose checks changed, where
//! that says enough. What was found last stays in force while the other agent does not answer.

use super::other::{Error, Other, escaped};
use config::External as Settings;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mesh::{
    elsewhere::{Admission, FoundCheck, FoundInstance},
    model::ServiceName,
    view::Instance,
};
use proxy::route::tags::PREFIX;
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// Pause between two looks at services, so that a storm of changes costs the other agent little.
const SETTLE: Duration = Duration::from_millis(50);
/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How many services are asked for at a time.
const REQUESTS_MAX: usize = 8;
/// Most services whose routes are taken; the rest is told in the log.
const SERVICES_MAX: usize = 10_000;

/// Tags by service.
type Services = BTreeMap<ServiceName, Vec<String>>;

/// What is taken from a catalog elsewhere.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Wanted {
    /// Begins the tags of services that ask for routes.
    pub(in crate::agent) prefix: String,
    /// Which instances pass; those without a critical check if none.
    pub(in crate::agent) admission: Option<Admission>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            prefix: PREFIX.to_owned(),
            admission: None,
        }
    }
}

/// Feeds the ingress from a catalog elsewhere.
#[derive(Debug)]
pub(in crate::agent) struct Feed {
    settings: Settings,
    wanted: Wanted,
    found: watch::Sender<Arc<Vec<Instance>>>,
}

/// What the last look saw.
#[derive(Default)]
struct Seen {
    services: Option<Arc<Services>>,
    checks: Arc<Vec<FoundCheck>>,
    instances: BTreeMap<ServiceName, Vec<Instance>>,
}

impl Feed {
    /// A feed, and what it finds: nothing at first.
    pub(in crate::agent) fn new(
        settings: Settings,
        wanted: Wanted,
    ) -> (Self, watch::Receiver<Arc<Vec<Instance>>>) {
        let (found, reader) = watch::channel(Arc::default());
        let feed = Self {
            settings,
            wanted,
            found,
        };
        (feed, reader)
    }

    /// Goes on until `shutdown`.
    pub(in crate::agent) async fn run(self, shutdown: impl Future<Output = ()>) {
        let Some(other) = Other::new(&self.settings) else {
            return;
        };
        let (services, services_reader) = watch::channel(None);
        let (checks, checks_reader) = watch::channel(None);
        let all = async {
            tokio::join!(
                follow(&other, "/v1/catalog/services", services),
                follow(&other, "/v1/health/state/any", checks),
                self.look(&other, services_reader, checks_reader),
            )
        };
        tokio::select! {
            _ = all => {}
            () = shutdown => {}
        }
    }

    /// Looks at the services whenever one of the lists changed.
    async fn look(
        &self,
        other: &Other,
        mut services: watch::Receiver<Option<Arc<Services>>>,
        mut checks: watch::Receiver<Option<Arc<Vec<FoundCheck>>>>,
    ) {
        let mut seen = Seen::default();
        let mut pauses = Pauses::default();
        loop {
            let lists = (
                services.borrow_and_update().clone(),
                checks.borrow_and_update().clone(),
            );
            let next = match lists {
                (Some(services), Some(checks)) => {
                    seen.next((other, &self.wanted), services, checks).await
                }
                _ => Ok(None),
            };
            let retry = match next {
                Ok(next) => {
                    pauses.is_well(other);
                    if let Some(next) = next {
                        let instances = next.instances.values().flatten().cloned().collect();
                        self.found.send_replace(Arc::new(instances));
                        seen = next;
                    }
                    None
                }
                Err(error) => Some(Instant::now() + pauses.failed(other, &error)),
            };
            sleep(SETTLE).await;
            let changed = async {
                match retry {
                    Some(retry) => {
                        sleep_until(retry).await;
                        true
                    }
                    None => tokio::select! {
                        changed = services.changed() => changed.is_ok(),
                        changed = checks.changed() => changed.is_ok(),
                    },
                }
            };
            if !changed.await {
                return;
            }
        }
    }
}

impl Seen {
    /// What is there now; nothing when nothing changed.
    async fn next(
        &self,
        (other, wanted): (&Other, &Wanted),
        services: Arc<Services>,
        checks: Arc<Vec<FoundCheck>>,
    ) -> Result<Option<Self>, Error> {
        let is_same = self
            .services
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, &services));
        let changed = if is_same {
            FoundCheck::changed_services(&self.checks, &checks)
        } else {
            None
        };
        if changed.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(None);
        }
        let asks = |tags: &Vec<String>| {
            tags.iter()
                .any(|tag| tag.trim_start().starts_with(&wanted.prefix))
        };
        let routed: BTreeSet<&ServiceName> = services
            .iter()
            .filter_map(|(name, tags)| asks(tags).then_some(name))
            .collect();
        if routed.len() > SERVICES_MAX {
            tracing::warn!(
                services = routed.len(),
                "the routes of at most {SERVICES_MAX} services are taken from the external catalog"
            );
        }
        let mut instances = BTreeMap::new();
        let mut asked = Vec::new();
        for name in routed.into_iter().take(SERVICES_MAX) {
            let is_wanted = changed
                .as_ref()
                .is_none_or(|changed| changed.contains(name));
            match self.instances.get(name).filter(|_| !is_wanted) {
                Some(known) => drop(instances.insert(name.clone(), known.clone())),
                None => asked.push(name.clone()),
            }
        }
        let admission = wanted.admission.as_ref();
        let asked = asked
            .into_iter()
            .map(|name| instances_of(other, name, admission));
        let found: Vec<_> = stream::iter(asked)
            .buffer_unordered(REQUESTS_MAX)
            .try_collect()
            .await?;
        instances.extend(found);
        Ok(Some(Self {
            services: Some(services),
            checks,
            instances,
        }))
    }
}

async fn instances_of(
    other: &Other,
    name: ServiceName,
    admission: Option<&Admission>,
) -> Result<(ServiceName, Vec<Instance>), Error> {
    let path = format!("/v1/health/service/{}", escaped(&name));
    let found: Vec<FoundInstance> = other.list(&path).await?;
    let found = found.into_iter().map(|found| match admission {
        Some(admission) => found.admitted(admission),
        None => found.into(),
    });
    Ok((name, found.collect()))
}

/// Follows a list for ever.
async fn follow<T: DeserializeOwned>(
    other: &Other,
    path: &str,
    list: watch::Sender<Option<Arc<T>>>,
) {
    let mut index = 0;
    let mut pauses = Pauses::default();
    loop {
        match other.list_after(path, index).await {
            Ok((found, next)) => {
                pauses.is_well(other);
                if next != index {
                    list.send_replace(Some(Arc::new(found)));
                }
                index = next;
                if index == 0 {
                    // It has begun anew, or says no index: it is not asked without a pause.
                    sleep(PAUSES.0).await;
                }
            }
            Err(error) => {
                index = 0;
                sleep(pauses.failed(other, &error)).await;
            }
        }
    }
}

/// How often something failed, and what was said about it.
#[derive(Debug)]
pub(in crate::agent) struct Pauses {
    /// What it means that it failed.
    meaning: &'static str,
    next: Duration,
    said: String,
}

impl Default for Pauses {
    fn default() -> Self {
        Self::meaning("routes stay as the external catalog said last")
    }
}

impl Pauses {
    /// The first and shortest one.
    pub(in crate::agent) const FIRST: Duration = PAUSES.0;

    /// Pauses of something whose failures mean this.
    pub(in crate::agent) fn meaning(meaning: &'static str) -> Self {
        Self {
            meaning,
            next: Duration::ZERO,
            said: String::new(),
        }
    }

    pub(in crate::agent) fn is_well(&mut self, other: &Other) {
        if !self.said.is_empty() {
            tracing::info!(
                address = other.address(),
                "the external catalog answers again"
            );
        }
        *self = Self::meaning(self.meaning);
    }

    /// The pause before the next try; each reason is told once.
    pub(in crate::agent) fn failed(&mut self, other: &Other, error: &Error) -> Duration {
        let error = error.to_string();
        if error != self.said {
            tracing::warn!(address = other.address(), error, "{}", self.meaning);
            self.said = error;
        }
        let pause = self.next.max(PAUSES.0);
        self.next = (pause * 2).min(PAUSES.1);
        pause
    }
}
