//! The ingress as services of the catalog that its routes come from: one by its own name, and one
//! for each name that a route asks for.

use super::super::external::{Error, Other, Pauses, escaped};
use config::Announcement;
use reqwest::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Between two signs of life.
const ROUND: Duration = Duration::from_secs(10);
/// How long one counts, as it is written in a registration.
const TTL: &str = "15s";
/// After what time without one the catalog forgets the service by itself.
const FORGOTTEN_AFTER: &str = "1m0s";
/// Most names that routes may ask for.
const NAMES_MAX: usize = 1000;
/// How long it may take to take one service out at the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Registers the ingress.
#[derive(Debug)]
pub(super) struct Announce {
    settings: Announcement,
    /// The admin address for others.
    address: SocketAddr,
    /// Where it says whether it is well.
    health: String,
    other: Other,
}

impl Announce {
    /// With the admin API on this port.
    pub(super) fn new(settings: &Announcement, port: u16, other: Other) -> Self {
        let port = settings.port.filter(|port| *port != 0).unwrap_or(port);
        let address = SocketAddr::new(settings.address, port);
        let scheme = if settings.is_secured { "https" } else { "http" };
        Self {
            settings: settings.clone(),
            address,
            health: format!("{scheme}://{address}/health"),
            other,
        }
    }

    /// Keeps the services there until `leaving`; then it takes them out.
    pub(super) async fn run(
        self,
        mut names: watch::Receiver<BTreeSet<String>>,
        leaving: impl Future<Output = ()>,
    ) {
        let mut there = BTreeSet::new();
        let mut pauses = Pauses::meaning("the ingress is not registered in the external catalog");
        tokio::pin!(leaving);
        loop {
            let wanted = self.wanted(&names.borrow_and_update());
            let round = async {
                let pause = match self.round(&wanted, &mut there).await {
                    Ok(()) => {
                        pauses.is_well(&self.other);
                        ROUND
                    }
                    Err(error) => pauses.failed(&self.other, &error).min(ROUND),
                };
                tokio::select! {
                    () = sleep(pause) => true,
                    changed = names.changed() => changed.is_ok(),
                }
            };
            tokio::select! {
                goes_on = round => if !goes_on { break },
                () = &mut leaving => break,
            }
        }
        for id in &there {
            let gone = timeout(LEAVE_TIMEOUT, self.deregister(id)).await;
            if !matches!(gone, Ok(Ok(()))) {
                tracing::warn!(id, "the catalog still has a service of the ingress");
            }
        }
    }

    /// Names by the ids of their services.
    fn wanted(&self, names: &BTreeSet<String>) -> BTreeMap<String, String> {
        let others = names.iter().take(NAMES_MAX);
        let names = others.chain([&self.settings.name]);
        names.map(|name| (self.id(name), name.clone())).collect()
    }

    fn id(&self, name: &str) -> String {
        format!("{name}-{}-{}", self.settings.host, self.address.port())
    }

    /// Registers what is missing, takes out what nobody wants any more, and gives a sign of life.
    /// `there` are the services that were registered.
    async fn round(
        &self,
        wanted: &BTreeMap<String, String>,
        there: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let known: BTreeMap<String, IgnoredAny> = self.other.list("/v1/agent/services").await?;
        for (id, name) in wanted {
            if !known.contains_key(id) || !there.contains(id) {
                // Noted before: what is begun may be done although no answer comes.
                there.insert(id.clone());
                self.put("/v1/agent/service/register", &self.service(id, name))
                    .await?;
            }
            let said = json!({"Status": "passing", "Output": ""});
            let check = escaped(&format!("{id}-ttl"));
            self.put(&format!("/v1/agent/check/update/{check}"), &said)
                .await?;
        }
        let gone: Vec<String> = there
            .iter()
            .filter(|id| !wanted.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.deregister(&id).await?;
            there.remove(&id);
        }
        Ok(())
    }

    fn service(&self, id: &str, name: &str) -> Value {
        json!({
            "ID": id,
            "Name": name,
            "Address": self.address.ip(),
            "Port": self.address.port(),
            "Tags": self.settings.tags,
            "Checks": [
                {
                    "CheckID": format!("{id}-ttl"),
                    "TTL": TTL,
                    "DeregisterCriticalServiceAfter": FORGOTTEN_AFTER,
                },
                {
                    "HTTP": self.health,
                    "Interval": self.settings.check_interval,
                    "Timeout": self.settings.check_timeout,
                    "TLSSkipVerify": self.settings.is_unverified,
                    "DeregisterCriticalServiceAfter": FORGOTTEN_AFTER,
                },
            ],
        })
    }

    async fn put(&self, path: &str, body: &Value) -> Result<(), Error> {
        let body = Some(body.to_string().into_bytes());
        self.other.send(Method::PUT, path, body).await.map(drop)
    }

    async fn deregister(&self, id: &str) -> Result<(), Error> {
        let path = format!("/v1/agent/service/deregister/{}", escaped(id));
        match self.other.send(Method::PUT, &path, None).await {
            Ok(_) | Err(Error::Absent { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
