//! The agent of a catalog elsewhere, asked over HTTP.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use config::{Consistency, External as Settings};
use mesh::external::Call;
use reqwest::{Certificate, Client, Identity, Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;

/// How long one request may take, besides the time that it asks to wait for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a change.
const WAIT: Duration = Duration::from_secs(60);
/// Most bytes of a list.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why the other agent was not told, or did not tell.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum Error {
    /// It was not reached.
    #[error("{path}: {source}")]
    Request {
        /// Of what.
        path: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It refused.
    #[error("{path}: status {status}: {body}")]
    Status {
        /// Of what.
        path: String,
        /// How.
        status: StatusCode,
        /// Why.
        body: String,
    },
    /// There is no such thing.
    #[error("{path}: there is no such thing")]
    Absent {
        /// Of what.
        path: String,
        /// Since when.
        index: u64,
    },
    /// What it said cannot be read.
    #[error("{path}: {reason}")]
    Answer {
        /// Of what.
        path: String,
        /// Why.
        reason: String,
    },
}

/// The agent elsewhere.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Other {
    client: Client,
    settings: Settings,
}

impl Other {
    /// None, and a word in the log, if TLS cannot be set up.
    pub(in crate::agent) fn new(settings: &Settings) -> Option<Self> {
        let opened = Self::open(settings);
        opened
            .inspect_err(|error| tracing::error!(error, "the external catalog cannot be asked"))
            .ok()
    }

    /// The agent as the settings say.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(in crate::agent) fn open(settings: &Settings) -> Result<Self, String> {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: client(settings)?,
            settings: settings.clone(),
        })
    }

    /// Where it is.
    pub(in crate::agent) fn address(&self) -> &str {
        &self.settings.address
    }

    /// Makes a call.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(in crate::agent) async fn call(&self, owner: &str, call: Call) -> Result<(), Error> {
        match call {
            Call::Deregister { id } => {
                let path = format!("/v1/agent/service/deregister/{}", escaped(&id));
                match self.send(Method::PUT, &path, None).await {
                    // Somebody else was faster.
                    Err(Error::Absent { .. }) => Ok(()),
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
    pub(in crate::agent) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (bytes, _) = self.read(path, 0).await?;
        parsed(path, &bytes)
    }

    /// Asks for a list once it is newer than `index`, 0 for at once, or after a while; answers with
    /// the index to ask with next.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::agent) async fn list_after<T: DeserializeOwned>(
        &self,
        path: &str,
        index: u64,
    ) -> Result<(T, u64), Error> {
        let (bytes, now) = self.read(path, index).await?;
        Ok((parsed(path, &bytes)?, next(index, now)))
    }

    /// As [`Other::list_after`], for keys that start with a path: none if there are none.
    ///
    /// # Errors
    /// Why they are not known.
    pub(in crate::agent) async fn keys_after(
        &self,
        path: &str,
        index: u64,
    ) -> Result<(Vec<Listed>, u64), Error> {
        let path = format!("/v1/kv/{}?recurse=", escaped_path(path));
        match self.read(&path, index).await {
            Ok((bytes, now)) => Ok((parsed(&path, &bytes)?, next(index, now))),
            Err(Error::Absent { index: now, .. }) => Ok((Vec::new(), next(index, now))),
            Err(error) => Err(error),
        }
    }

    /// Asks once something is newer than `index`.
    async fn read(&self, path: &str, index: u64) -> Result<(Vec<u8>, u64), Error> {
        let mut whole = path.to_owned();
        let mut add = |parameter: &str| {
            whole.push(if whole.contains('?') { '&' } else { '?' });
            whole.push_str(parameter);
        };
        if index > 0 {
            add(&format!("index={index}&wait={}s", WAIT.as_secs()));
        }
        match self.settings.consistency {
            Consistency::Default => {}
            Consistency::Consistent => add("consistent="),
            Consistency::Stale => add("stale="),
        }
        let most = if index > 0 {
            // Waiting takes up to a sixteenth longer than asked.
            WAIT + WAIT / 16 + TIMEOUT
        } else {
            TIMEOUT
        };
        self.send_within(most, Method::GET, &whole, None).await
    }

    /// The text of a key by its path; empty if there is none.
    ///
    /// # Errors
    /// Why it is not known.
    pub(in crate::agent) async fn key(&self, path: &str) -> Result<String, Error> {
        match self.send(Method::GET, &format!("{path}?raw"), None).await {
            Ok((bytes, _)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(Error::Absent { .. }) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets the text of a key by its path, or removes it if it is to be empty.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(in crate::agent) async fn set_key(&self, path: &str, text: &str) -> Result<(), Error> {
        let sent = if text.is_empty() {
            self.send(Method::DELETE, path, None).await
        } else {
            let body = text.as_bytes().to_vec();
            self.send(Method::PUT, path, Some(body)).await
        };
        sent.map(drop)
    }

    /// Sends something that is answered at once: the answer and its index.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::agent) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, u64), Error> {
        self.send_within(TIMEOUT, method, path, body).await
    }

    async fn send_within(
        &self,
        most: Duration,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, u64), Error> {
        let failed = |source| Error::Request {
            path: path.to_owned(),
            source,
        };
        let mut url = format!("{}{path}", self.settings.address);
        if let Some(namespace) = &self.settings.namespace {
            url.push(if path.contains('?') { '&' } else { '?' });
            url.push_str("ns=");
            url.push_str(&escaped(namespace));
        }
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
        if status == StatusCode::NOT_FOUND {
            let index = index.unwrap_or_default();
            let path = path.to_owned();
            return Err(Error::Absent { path, index });
        }
        let body: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        Err(Error::Status {
            path: path.to_owned(),
            status,
            body,
        })
    }
}

/// A key with its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::agent) struct Listed {
    /// The key.
    pub(in crate::agent) key: String,
    value: Option<String>,
    /// When it was written last.
    pub(in crate::agent) modify_index: u64,
}

impl Listed {
    /// Its text; what is no text is left out of it.
    pub(in crate::agent) fn text(&self) -> String {
        let coded = self.value.as_deref().unwrap_or_default();
        let bytes = BASE64.decode(coded).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The index to ask with next; one that went back belongs to another past.
fn next(index: u64, now: u64) -> u64 {
    if now < index { 0 } else { now.max(1) }
}

/// A client that speaks TLS as the settings say.
fn client(settings: &Settings) -> Result<Client, String> {
    let told = |error: reqwest::Error| error.to_string();
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let tls = &settings.tls;
    let mut builder = Client::builder().no_proxy();
    if let Some(path) = &tls.authorities {
        let all = Certificate::from_pem_bundle(&read(path)?).map_err(told)?;
        builder = builder.tls_certs_only(all);
    }
    if let Some((certificate, key)) = &tls.identity {
        let mut pem = read(key)?;
        pem.extend(read(certificate)?);
        builder = builder.identity(Identity::from_pem(&pem).map_err(told)?);
    }
    if tls.is_unverified {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build().map_err(told)
}

/// A path with everything escaped but its slashes.
fn escaped_path(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(escaped).collect();
    parts.join("/")
}

/// A part of a path, with everything escaped that would change its meaning.
pub(in crate::agent) fn escaped(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn parsed<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Answer {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
