//! The HTTP caller: addresses, queries, bounded bodies, and errors that say what was asked of whom.

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest body that is read into memory, bytes.
const BODY_BYTES_MAX: usize = 256 << 20;
/// Longest error text that is shown, bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// What addresses of sockets in the file system begin with.
const UNIX: &str = "unix://";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The agent refused.
    #[error("Unexpected response code: {status} ({})", body.trim())]
    Status {
        /// Status code.
        status: u16,
        /// The agent's text.
        body: String,
    },
    /// Nothing answers at the address.
    #[error(
        "cannot reach the agent at {address}: {reason}; is it running? {named_by} name another one"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What names another address.
        named_by: &'static str,
        /// Innermost cause.
        reason: String,
    },
    /// The connection broke.
    #[error("connection to {address} failed: {reason}")]
    Broken {
        /// Where.
        address: String,
        /// Innermost cause.
        reason: String,
    },
    /// The body is longer than [`BODY_BYTES_MAX`].
    #[error("the answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
    /// The body is not what was expected.
    #[error("cannot read the answer to {path}: {reason}")]
    Unreadable {
        /// What was asked.
        path: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// True when the agent said that the thing does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// True when no agent was reached.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// A web socket to the agent.
pub(super) type Socket = tokio_tungstenite::WebSocketStream<reqwest::Upgraded>;

/// Query parameters.
pub(super) type Query<'a> = &'a [(&'a str, &'a str)];

/// An answer with its index.
#[derive(Debug)]
pub(super) struct Answer<T> {
    /// The object.
    pub(super) body: T,
    /// `X-Nomad-Index`; 0 when the endpoint has none.
    pub(super) index: u64,
}

/// Which API is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    /// That of jobs.
    #[default]
    Jobs,
    /// That of the catalog.
    Catalog,
}

impl Dialect {
    /// Response header with the index of the answer.
    fn index_header(self) -> &'static str {
        match self {
            Self::Jobs => "x-nomad-index",
            Self::Catalog => "x-consul-index",
        }
    }

    /// Request header with the token.
    fn token_header(self) -> &'static str {
        match self {
            Self::Jobs => "x-nomad-token",
            Self::Catalog => "x-consul-token",
        }
    }

    /// What names the address of an agent.
    fn named_by(self) -> &'static str {
        match self {
            Self::Jobs => "-address or NOMAD_ADDR",
            Self::Catalog => "-http-addr or CONSUL_HTTP_ADDR",
        }
    }
}

/// A caller of an API.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    dialect: Dialect,
    /// As it is shown.
    address: String,
    /// What paths are added to.
    base: String,
    region: Option<String>,
    namespace: Option<String>,
    token: Option<String>,
}

/// Where and as whom to call.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// The API.
    pub(super) dialect: Dialect,
    /// Such as `http://127.0.0.1:4646`, or `unix:///run/agent.sock`.
    pub(super) address: String,
    /// Added to each query when given.
    pub(super) region: Option<String>,
    /// Added to each query when given.
    pub(super) namespace: Option<String>,
    /// Sent with each request when given.
    pub(super) token: Option<String>,
    /// Who is trusted over TLS.
    pub(super) trust: Trust,
}

/// Who is trusted over TLS, and what is shown there.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// TLS is spoken whatever the address says.
    pub(super) is_asked: bool,
    /// Any certificate will do.
    pub(super) is_blind: bool,
    /// A file of authorities; those of the system when there is neither this nor the directory.
    pub(super) authorities: Option<PathBuf>,
    /// A directory of such files.
    pub(super) authorities_dir: Option<PathBuf>,
    /// A file with the certificate to show.
    pub(super) certificate: Option<PathBuf>,
    /// A file with its key.
    pub(super) key: Option<PathBuf>,
}

impl Trust {
    /// Sets up a caller that speaks TLS.
    fn apply(&self, builder: reqwest::ClientBuilder) -> anyhow::Result<reqwest::ClientBuilder> {
        let mut files: Vec<PathBuf> = self.authorities.iter().cloned().collect();
        if let Some(dir) = &self.authorities_dir {
            let listed = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let listed = listed.with_context(|| format!("cannot list `{}`", dir.display()))?;
            files.extend(listed.iter().map(std::fs::DirEntry::path));
        }
        let mut trusted = Vec::new();
        for file in &files {
            let found = reqwest::Certificate::from_pem_bundle(&read(file)?);
            let found = found.with_context(|| format!("cannot use `{}`", file.display()))?;
            trusted.extend(found);
        }
        let mut builder = builder;
        if !files.is_empty() {
            builder = builder.tls_certs_only(trusted);
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
                let identity = reqwest::Identity::from_pem(&pem);
                let identity =
                    identity.with_context(|| format!("cannot use `{}`", certificate.display()))?;
                builder = builder.identity(identity);
            }
            (None, None) => {}
            _ => anyhow::bail!("a certificate and its key are shown together or not at all"),
        }
        Ok(if self.is_blind {
            builder.tls_danger_accept_invalid_certs(true)
        } else {
            builder
        })
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}

impl Http {
    /// A caller; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is no URL of HTTP, or a file of TLS cannot be used.
    pub(super) fn new(target: Target) -> anyhow::Result<Self> {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        let (builder, address, base) = match target.address.strip_prefix(UNIX) {
            Some(path) => {
                anyhow::ensure!(
                    path.starts_with('/'),
                    "`{}`: the path of a socket begins with `/`",
                    target.address
                );
                let builder = builder.tls_certs_only([]).unix_socket(Path::new(path));
                (builder, target.address, "http://localhost".to_owned())
            }
            None => {
                let (builder, address) = Self::over_tcp(&target, builder)?;
                (builder, address.clone(), address)
            }
        };
        let client = builder.build().context("cannot set up the HTTP caller")?;
        Ok(Self {
            client,
            dialect: target.dialect,
            address,
            base,
            region: target.region,
            namespace: target.namespace,
            token: target.token,
        })
    }

    fn over_tcp(
        target: &Target,
        builder: reqwest::ClientBuilder,
    ) -> anyhow::Result<(reqwest::ClientBuilder, String)> {
        let bare = target.address.strip_prefix("http://");
        let address = match (target.address.contains("://"), bare) {
            (true, Some(bare)) if target.trust.is_asked => format!("https://{bare}"),
            (true, _) => target.address.clone(),
            (false, _) if target.trust.is_asked => format!("https://{}", target.address),
            (false, _) => format!("http://{}", target.address),
        };
        let url = url::Url::parse(&address)
            .with_context(|| format!("`{}` is no address", target.address))?;
        let schemes: &[&str] = match target.dialect {
            Dialect::Jobs => &["http"],
            Dialect::Catalog => &["http", "https"],
        };
        anyhow::ensure!(
            schemes.contains(&url.scheme()),
            "`{}`: only {} and unix addresses are supported by this version",
            target.address,
            schemes.join(", ")
        );
        let builder = if url.scheme() == "https" {
            target.trust.apply(builder)?
        } else {
            // No certificates are loaded.
            builder.tls_certs_only([])
        };
        Ok((builder, address.trim_end_matches('/').to_owned()))
    }

    /// The same caller for another namespace.
    pub(super) fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            ..self.clone()
        }
    }

    /// The namespace of requests, where one was chosen.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Where the agent is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the agent is reached by a socket in the file system, which no browser opens.
    pub(super) fn is_socket(&self) -> bool {
        self.address.starts_with(UNIX)
    }

    /// The same caller for another region.
    pub(super) fn in_region(&self, region: &str) -> Self {
        Self {
            region: (!region.is_empty()).then(|| region.to_owned()),
            ..self.clone()
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When there is no answer, it is a refusal, or it is not the object expected.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
    ) -> Result<T, Error> {
        let body = self.get_value(path, query).await?;
        decode(path, body)
    }

    /// Reads an object as it is, for `-json` and `-t`.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn get_value(&self, path: &str, query: Query<'_>) -> Result<Value, Error> {
        let response = self.send(Method::GET, path, query, None).await?;
        self.value(path, response).await
    }

    /// Reads a report as it is, which has a status of its own when something is not well.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn get_report(&self, path: &str) -> Result<Value, Error> {
        let response = self.exchange(Method::GET, path, &[], None).await?;
        let is_report = response.status() == reqwest::StatusCode::TOO_MANY_REQUESTS;
        let response = match is_report {
            true => response,
            false => self.accepted(response).await?,
        };
        self.value(path, response).await
    }

    /// Reads a page of a list, with the token of the next one; none at the end.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn get_page(
        &self,
        path: &str,
        query: Query<'_>,
    ) -> Result<(Value, Option<String>), Error> {
        let response = self.send(Method::GET, path, query, None).await?;
        let next = response.headers().get("x-nomad-nexttoken");
        let next = next.and_then(|next| Some(next.to_str().ok()?.to_owned()));
        Ok((self.value(path, response).await?, next))
    }

    /// Reads an object once it is newer than `index`; 0 reads at once.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn get_after<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        index: u64,
        wait: Option<Duration>,
    ) -> Result<Answer<T>, Error> {
        let index_text = index.to_string();
        let wait_text = wait.map(|wait| format!("{}ms", wait.as_millis()));
        let mut all: Vec<(&str, &str)> = query.to_vec();
        if index > 0 {
            all.push(("index", &index_text));
        }
        if let Some(wait) = &wait_text {
            all.push(("wait", wait));
        }
        let response = self.send(Method::GET, path, &all, None).await?;
        let index = response
            .headers()
            .get(self.dialect.index_header())
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        let body = self.value(path, response).await?;
        Ok(Answer {
            body: decode(path, body)?,
            index,
        })
    }

    /// Reads what may be missing, which is null, once it is newer than `index`; 0 reads at once.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn look(
        &self,
        path: &str,
        query: Query<'_>,
        index: u64,
    ) -> Result<Answer<Value>, Error> {
        let index_text = index.to_string();
        let mut all: Vec<(&str, &str)> = query.to_vec();
        if index > 0 {
            all.push(("index", &index_text));
        }
        let response = self.exchange(Method::GET, path, &all, None).await?;
        let is_missing = response.status() == reqwest::StatusCode::NOT_FOUND;
        let seen = response.headers().get(self.dialect.index_header());
        let seen = seen.and_then(|value| value.to_str().ok()?.parse().ok());
        let index = seen.unwrap_or(0);
        if is_missing {
            let body = Value::Null;
            return Ok(Answer { body, index });
        }
        let response = self.accepted(response).await?;
        let body = self.value(path, response).await?;
        Ok(Answer { body, index })
    }

    /// Writes an object and reads the answer.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn put<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
    ) -> Result<T, Error> {
        decode(path, self.put_value(path, query, body).await?)
    }

    /// Writes an object and reads the answer as it is; null when there is none.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn put_value<B: Serialize + Sync>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
    ) -> Result<Value, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let response = self.send(Method::PUT, path, query, Some(body)).await?;
        self.value(path, response).await
    }

    /// Posts an object and reads the answer.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let response = self.send(Method::POST, path, query, Some(body)).await?;
        decode(path, self.value(path, response).await?)
    }

    /// Writes bytes as they are and reads the answer.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn put_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: Vec<u8>,
    ) -> Result<T, Error> {
        let response = self.send(Method::PUT, path, query, Some(body)).await?;
        decode(path, self.value(path, response).await?)
    }

    /// Reads a body as it is.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn get_bytes(&self, path: &str, query: Query<'_>) -> Result<Bytes, Error> {
        let response = self.send(Method::GET, path, query, None).await?;
        self.bytes(response, BODY_BYTES_MAX).await
    }

    /// Deletes an object and reads the answer.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(super) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
    ) -> Result<T, Error> {
        let response = self.send(Method::DELETE, path, query, None).await?;
        decode(path, self.value(path, response).await?)
    }

    /// Opens a web socket.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub(super) async fn socket(&self, path: &str, query: Query<'_>) -> Result<Socket, Error> {
        let broken = |reason: String| Error::Broken {
            address: self.address.clone(),
            reason,
        };
        let mut url = url::Url::parse(&format!("{}{path}", self.base))
            .map_err(|error| broken(error.to_string()))?;
        url.query_pairs_mut().extend_pairs(query);
        for (name, value) in [("region", &self.region), ("namespace", &self.namespace)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        let mut request = self
            .client
            .get(url)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", key);
        if let Some(token) = &self.token {
            request = request.header(self.dialect.token_header(), token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| broken(error.to_string()))?;
        let status = response.status().as_u16();
        if status != 101 {
            let body = response.text().await.unwrap_or_default();
            return Err(Error::Status { status, body });
        }
        let upgraded = response
            .upgrade()
            .await
            .map_err(|error| broken(error.to_string()))?;
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        Ok(Socket::from_raw_socket(upgraded, role, None).await)
    }

    /// Reads a body piece by piece, for logs and files.
    ///
    /// # Errors
    /// As [`Http::get`]; a connection that breaks later is an error of the stream.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: Query<'_>,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + use<>, Error> {
        let response = self.send(Method::GET, path, query, None).await?;
        let address = self.address.clone();
        Ok(Box::pin(response.bytes_stream().map(move |piece| {
            piece.map_err(|error| Error::Broken {
                address: address.clone(),
                reason: innermost(&error),
            })
        })))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Option<Vec<u8>>,
    ) -> Result<reqwest::Response, Error> {
        let response = self.exchange(method, path, query, body).await?;
        self.accepted(response).await
    }

    /// Sends a request and takes whatever is answered.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Option<Vec<u8>>,
    ) -> Result<reqwest::Response, Error> {
        let mut request = self.client.request(method, self.url(path, query));
        if let Some(token) = &self.token {
            request = request.header(self.dialect.token_header(), token);
        }
        if let Some(body) = body {
            request = request
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        request.send().await.map_err(|error| {
            let (address, reason) = (self.address.clone(), innermost(&error));
            if error.is_connect() {
                let named_by = self.dialect.named_by();
                Error::Unreachable {
                    address,
                    named_by,
                    reason,
                }
            } else {
                Error::Broken { address, reason }
            }
        })
    }

    /// An answer that is no refusal.
    async fn accepted(&self, response: reqwest::Response) -> Result<reqwest::Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.bytes(response, ERROR_BYTES_MAX).await;
        let body = body.unwrap_or_else(|_| Bytes::from_static(b"error text too long"));
        Err(Error::Status {
            status: status.as_u16(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    fn url(&self, path: &str, query: Query<'_>) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        let named = |name: &str| query.iter().any(|(key, _)| *key == name);
        for (key, value) in [("region", &self.region), ("namespace", &self.namespace)] {
            if let Some(value) = value.as_deref().filter(|_| !named(key)) {
                pairs.append_pair(key, value);
            }
        }
        let query = pairs.finish();
        if query.is_empty() {
            format!("{}{path}", self.base)
        } else {
            format!("{}{path}?{query}", self.base)
        }
    }

    async fn value(&self, path: &str, response: reqwest::Response) -> Result<Value, Error> {
        let body = self.bytes(response, BODY_BYTES_MAX).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| Error::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    async fn bytes(&self, response: reqwest::Response, most: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| Error::Broken {
                address: self.address.clone(),
                reason: innermost(&error),
            })?;
            if all.len() + piece.len() > most {
                return Err(Error::TooLong);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

/// One part of a path, with everything escaped that would change its meaning.
pub(super) fn segment(text: impl std::fmt::Display) -> String {
    // Unreserved characters stay readable in logs of the agent.
    const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(&text.to_string(), ESCAPED).to_string()
}

/// The parts of a path, each as [`segment`].
pub(super) fn segments(text: &str) -> String {
    let parts: Vec<String> = text.split('/').map(segment).collect();
    parts.join("/")
}

/// An object out of an answer. Nulls are dropped first: where the API may say null for an empty
/// list or map, our types have the empty value as default.
pub(super) fn decode<T: DeserializeOwned>(path: &str, mut value: Value) -> Result<T, Error> {
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| Error::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, item| !item.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> Http {
        Http::new(Target {
            address: "127.0.0.1:4646/".into(),
            namespace: Some("team a".into()),
            ..Target::default()
        })
        .unwrap()
    }

    #[test]
    fn queries_are_escaped_and_carry_the_namespace_once() {
        let http = http();
        assert_eq!(
            http.url("/v1/jobs", &[("prefix", "a&b")]),
            "http://127.0.0.1:4646/v1/jobs?prefix=a%26b&namespace=team+a"
        );
        assert_eq!(
            http.url("/v1/jobs", &[("namespace", "x")]),
            "http://127.0.0.1:4646/v1/jobs?namespace=x"
        );
        let plain = http.in_namespace("");
        assert_eq!(plain.url("/v1/jobs", &[]), "http://127.0.0.1:4646/v1/jobs");
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
    }

    #[test]
    fn addresses_that_cannot_work_are_refused() {
        for address in ["https://x:1", "unix://x", "http://", "ftp://x"] {
            let target = Target {
                address: address.into(),
                ..Target::default()
            };
            assert!(Http::new(target).is_err(), "{address}");
        }
    }

    #[test]
    fn null_lists_decode_as_empty() {
        let value = serde_json::json!({"Name": "n1", "Events": null, "Drivers": {"x": {"Attributes": null}}});
        let node: jobs::wire::Node = decode("/v1/node/n1", value).unwrap();
        assert_eq!(node.row.name, "n1");
        assert!(node.row.events.is_empty());
    }
}
