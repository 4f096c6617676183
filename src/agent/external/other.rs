//! The agent of a catalog elsewhere, asked over HTTP.

use config::External as Settings;
use mesh::external::Call;
use reqwest::{Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long one request may take, besides the time that it asks to wait for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a change.
const WAIT: Duration = Duration::from_secs(60);
/// Most bytes of a list.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why the other agent was not told, or did not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It was not reached.
    #[error("{path}: {source}")]
    Request {
        path: String,
        source: reqwest::Error,
    },
    /// It refused.
    #[error("{path}: status {status}: {body}")]
    Status {
        path: String,
        status: StatusCode,
        body: String,
    },
    /// What it said cannot be read.
    #[error("{path}: {reason}")]
    Answer { path: String, reason: String },
}

/// The agent elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Other {
    client: Client,
    settings: Settings,
}

impl Other {
    /// None, and a word in the log, if TLS cannot be set up.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        match Client::builder().no_proxy().build() {
            Ok(client) => Some(Self {
                client,
                settings: settings.clone(),
            }),
            Err(error) => {
                tracing::error!(%error, "the external catalog cannot be asked");
                None
            }
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.settings.address
    }

    /// Makes a call.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) async fn call(&self, owner: &str, call: Call) -> Result<(), Error> {
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

    /// Asks for a list.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (bytes, _) = self.send(Method::GET, path, None).await?;
        parsed(path, &bytes)
    }

    /// Asks for a list once it is newer than `index`, 0 for at once, or after a while; answers with
    /// the index to ask with next.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn list_after<T: DeserializeOwned>(
        &self,
        path: &str,
        index: u64,
    ) -> Result<(T, u64), Error> {
        let whole = match index {
            0 => path.to_owned(),
            _ => format!("{path}?index={index}&wait={}s", WAIT.as_secs()),
        };
        let (bytes, now) = self.send(Method::GET, &whole, None).await?;
        // One that went back belongs to another past.
        let next = if now < index { 0 } else { now.max(1) };
        Ok((parsed(path, &bytes)?, next))
    }

    /// The text of a key by its path; empty if there is none.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) async fn key(&self, path: &str) -> Result<String, Error> {
        match self.send(Method::GET, &format!("{path}?raw"), None).await {
            Ok((bytes, _)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(Error::Status { status, .. }) if status == StatusCode::NOT_FOUND => {
                Ok(String::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the text of a key by its path, or removes it if it is to be empty.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) async fn set_key(&self, path: &str, text: &str) -> Result<(), Error> {
        let sent = if text.is_empty() {
            self.send(Method::DELETE, path, None).await
        } else {
            let body = text.as_bytes().to_vec();
            self.send(Method::PUT, path, Some(body)).await
        };
        sent.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, u64), Error> {
        let failed = |source| Error::Request {
            path: path.to_owned(),
            source,
        };
        let url = format!("{}{path}", self.settings.address);
        let waits = path.contains("?index=");
        // Waiting takes up to a sixteenth longer than asked.
        let most = if waits {
            WAIT + WAIT / 16 + TIMEOUT
        } else {
            TIMEOUT
        };
        let mut request = self.client.request(method, url).timeout(most);
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
        let index = response.headers().get("x-consul-index");
        let index = index.and_then(|index| index.to_str().ok()?.parse().ok());
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
            return Ok((bytes, index.unwrap_or_default()));
        }
        let body: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        Err(Error::Status {
            path: path.to_owned(),
            status,
            body,
        })
    }
}

/// A part of a path, with everything escaped that would change its meaning.
pub(super) fn escaped(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn parsed<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Answer {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
