//! An external catalog instead of the built-in one: what runs here is registered there.
//!
//! What the other agent has is compared with what it should have whenever something changes here,
//! and every few seconds, so that it is right again after either side was restarted. Checks are run
//! here; there they are checks with a time to live, which each round renews. What is there when
//! this agent ends stays, as the tasks do.

use config::External as Settings;
use mesh::{
    external::{Call, KnownCheck, KnownService, calls, wanted},
    model::{CheckId, NodeId, NodeName, ServiceId},
    view::View,
};
use reqwest::{Client, Method, StatusCode};
use rpc::session::Handle;
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

/// Pause between two comparisons when nothing changes; a third of the time that checks live there.
const ROUND: Duration = Duration::from_secs(mesh::external::TTL_SECS / 3);
/// Pause after a change, so that a burst of them is told at once.
const SETTLE: Duration = Duration::from_millis(50);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Most bytes of a list.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why the other agent was not told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{path}: {source}")]
    Request {
        path: String,
        source: reqwest::Error,
    },
    #[error("{path}: status {status}: {body}")]
    Status {
        path: String,
        status: StatusCode,
        body: String,
    },
    #[error("{path}: {reason}")]
    Answer { path: String, reason: String },
}

/// Keeps an external catalog in step.
#[derive(Debug)]
pub(super) struct External {
    settings: Settings,
    session: Handle,
    node: NodeName,
    owner: NodeId,
}

impl External {
    /// For the node `node`, whose id is `owner`.
    pub(super) fn new(settings: Settings, session: Handle, node: NodeName, owner: NodeId) -> Self {
        Self {
            settings,
            session,
            node,
            owner,
        }
    }

    /// Goes on until `shutdown`.
    pub(super) async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client = match Client::builder().timeout(TIMEOUT).no_proxy().build() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "the external catalog cannot be asked");
                return;
            }
        };
        let other = Other {
            client,
            settings: &self.settings,
        };
        let mut catalog = self.session.catalog();
        let mut refresh_at = Instant::now();
        let mut pause = PAUSES.0;
        let mut said = String::new();
        loop {
            let is_due = Instant::now() >= refresh_at;
            let replica = std::sync::Arc::clone(&catalog.borrow_and_update());
            // Before the first list nothing is known, and nothing may be removed.
            let round = async {
                match replica.at {
                    Some(_) => self.round(&other, &replica.catalog, is_due).await,
                    None => Ok(()),
                }
            };
            let outcome = tokio::select! {
                outcome = round => outcome,
                () = &mut shutdown => return,
            };
            let wait = match outcome {
                Ok(()) => {
                    if !said.is_empty() {
                        tracing::info!(
                            address = self.settings.address,
                            "the external catalog is in step again"
                        );
                        said.clear();
                    }
                    if is_due && replica.at.is_some() {
                        refresh_at = Instant::now() + ROUND;
                    }
                    pause = PAUSES.0;
                    None
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != said {
                        tracing::warn!(
                            address = self.settings.address,
                            error,
                            "the external catalog is not in step"
                        );
                        said = error;
                    }
                    let wait = pause;
                    pause = (pause * 2).min(PAUSES.1);
                    Some(wait)
                }
            };
            let next = async {
                if let Some(wait) = wait {
                    sleep(wait).await;
                    return true;
                }
                tokio::select! {
                    changed = catalog.changed() => {
                        sleep(SETTLE).await;
                        changed.is_ok()
                    }
                    () = sleep_until(refresh_at) => true,
                }
            };
            tokio::select! {
                goes_on = next => if !goes_on { return },
                () = &mut shutdown => return,
            }
        }
    }

    /// Compares and calls.
    async fn round(&self, other: &Other<'_>, view: &View, refresh: bool) -> Result<(), Error> {
        let services: BTreeMap<ServiceId, KnownService> = other.list("/v1/agent/services").await?;
        let checks: BTreeMap<CheckId, KnownCheck> = other.list("/v1/agent/checks").await?;
        let wanted = wanted(view, &self.node);
        for call in calls(&wanted, &services, &checks, &self.owner, refresh) {
            other.call(&self.owner, call).await?;
        }
        Ok(())
    }
}

/// The agent elsewhere.
struct Other<'a> {
    client: Client,
    settings: &'a Settings,
}

impl Other<'_> {
    async fn call(&self, owner: &str, call: Call) -> Result<(), Error> {
        let escaped = |id: &str| {
            percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        match call {
            Call::Deregister { id } => {
                let path = format!("/v1/agent/service/deregister/{}", escaped(&id));
                match self.send(Method::PUT, &path, None).await {
                    // Somebody else was faster.
                    Err(Error::Status { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
                    other => other.map(drop),
                }
            }
            Call::Register(registration) => {
                let path = "/v1/agent/service/register?replace-existing-checks=true";
                let body = serde_json::to_vec(&registration.body(owner));
                let body = body.map_err(|error| Error::Answer {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?;
                self.send(Method::PUT, path, Some(body)).await.map(drop)
            }
            Call::Update { id, status, output } => {
                let path = format!("/v1/agent/check/update/{}", escaped(&id));
                let said = serde_json::json!({ "Status": status.as_str(), "Output": output });
                let body = said.to_string().into_bytes();
                self.send(Method::PUT, &path, Some(body)).await.map(drop)
            }
        }
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let bytes = self.send(Method::GET, path, None).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Request {
            path: path.to_owned(),
            source,
        };
        let url = format!("{}{path}", self.settings.address);
        let mut request = self.client.request(method, url);
        if let Some(token) = &self.settings.token {
            request = request.header("x-consul-token", token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LIST_BYTES_MAX {
                let reason = format!("the answer is longer than {LIST_BYTES_MAX} bytes");
                return Err(Error::Answer {
                    path: path.to_owned(),
                    reason,
                });
            }
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let body: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        Err(Error::Status {
            path: path.to_owned(),
            status,
            body,
        })
    }
}
