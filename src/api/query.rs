//! Query parameters, and the one way in which reads wait for a change.

use axum::{
    Extension,
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use jobs::model::{DEFAULT_NAMESPACE, Index};
use serde::Serialize;
use std::{
    str::FromStr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Api, error::Error, filter::Filter, listener::Stopping, page::Page};
use crate::server::{Snapshot, log::watch::Topic};

/// Longest wait, and the wait of a query that names none.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Part of the wait that is added at most, so that readers do not return all at once.
const JITTER_PART: u32 = 16;

/// The parameters that reads share, checked; all others by name.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    /// None for every namespace.
    pub(crate) namespace: Option<String>,
    /// Start of the ids wanted; may be empty.
    pub(crate) prefix: String,
    /// What the rows must satisfy.
    pub(crate) filter: Option<Filter>,
    index: Index,
    wait: Duration,
    is_stale: bool,
    is_pretty: bool,
    stopping: Stopping,
}

impl FromRequestParts<Api> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Error> {
        let stopping = Extension::<Stopping>::from_request_parts(parts, api)
            .await
            .map_or_else(|_| Stopping::default(), |Extension(stopping)| stopping);
        let query = Self::parse(parts.uri.query().unwrap_or_default(), stopping)?;
        match query.get("region") {
            Some(region) if region != api.facts().region => {
                Err(Error::internal("No path to region"))
            }
            _ => Ok(query),
        }
    }
}

impl Query {
    fn parse(text: &str, stopping: Stopping) -> Result<Self, Error> {
        let parameters = url::form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect();
        let mut query = Self {
            parameters,
            namespace: None,
            prefix: String::new(),
            filter: None,
            index: 0,
            wait: WAIT_MAX,
            is_stale: false,
            is_pretty: false,
            stopping,
        };
        query.namespace = match query.get("namespace") {
            Some("*") => None,
            Some(namespace) => Some(namespace.to_owned()),
            None => Some(DEFAULT_NAMESPACE.to_owned()),
        };
        query.prefix = query.get("prefix").unwrap_or_default().to_owned();
        query.index = query.number("index", "Invalid index")?.unwrap_or(0);
        if let Some(wait) = query.get("wait") {
            query.wait = wait_of(wait)?;
        }
        query.is_stale = query.flag("stale")?;
        query.is_pretty = query.value("pretty").is_some_and(|value| value != "0");
        if let Some(filter) = query.get("filter") {
            let filter = Filter::parse(filter).map_err(|error| {
                Error::bad_request(format!("failed to create result paginator: {error}"))
            })?;
            query.filter = Some(filter);
        }
        Ok(query)
    }

    /// A parameter, empty or not.
    fn value(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// A number; `complaint` is the text of the refusal.
    pub(crate) fn number<T: FromStr>(
        &self,
        name: &str,
        complaint: &'static str,
    ) -> Result<Option<T>, Error> {
        self.get(name)
            .map(|text| text.parse().map_err(|_| Error::bad_request(complaint)))
            .transpose()
    }

    /// A switch: on when it stands there without a value.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Error> {
        self.switch(name, false)
    }

    /// A switch with the state that it has when it is not named.
    pub(crate) fn switch(&self, name: &str, otherwise: bool) -> Result<bool, Error> {
        match self.value(name) {
            None => Ok(otherwise),
            Some("" | "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some(other) => Err(Error::bad_request(format!(
                "Failed to parse value of {name:?} ({other:?}) as a bool: true or false is expected"
            ))),
        }
    }

    /// The namespace of a single object.
    pub(crate) fn one_namespace(&self) -> Result<&str, Error> {
        self.namespace
            .as_deref()
            .ok_or_else(|| Error::bad_request("a wildcard namespace is possible on lists only"))
    }

    /// The namespace, when the query names one.
    pub(crate) fn named_namespace(&self) -> Option<&str> {
        self.get("namespace")
    }

    /// True when rows of this namespace are wanted.
    pub(crate) fn wants(&self, namespace: &str) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|wanted| wanted == namespace)
    }

    /// Resolves when the listener of this request stops.
    pub(crate) fn stopping(&self) -> Stopping {
        self.stopping.clone()
    }

    /// A value as JSON, without index headers.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<Response, Error> {
        let body = self
            .encode(value)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    fn encode<T: Serialize>(&self, value: &T) -> serde_json::Result<Vec<u8>> {
        if !self.is_pretty {
            return serde_json::to_vec(value);
        }
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut text, formatter,
        ))?;
        text.push(b'\n');
        Ok(text)
    }

    /// The answer to a write.
    pub(crate) fn written<T: Serialize>(&self, index: Index, value: &T) -> Result<Response, Error> {
        let mut response = self.json(value)?;
        insert_index(&mut response, index);
        Ok(response)
    }
}

fn wait_of(text: &str) -> Result<Duration, Error> {
    let invalid = || Error::bad_request("Invalid wait time");
    let nanos = jobs::wire::Duration::parse(text).map_err(|_| invalid())?.0;
    match u64::try_from(nanos) {
        Ok(0) => Ok(WAIT_MAX),
        Ok(nanos) => Ok(Duration::from_nanos(nanos).min(WAIT_MAX)),
        Err(_) => Err(invalid()),
    }
}

fn insert_index(response: &mut Response, index: Index) {
    // A client that gets 0 asks again without waiting.
    let index = HeaderValue::from(index.max(1));
    response.headers_mut().insert("x-nomad-index", index);
}

impl Api {
    /// Answers a read: waits as `query` asks until `index_of` passes its index, then shows `view`.
    /// `topics` is what moves that index.
    pub(crate) async fn read<T: Serialize>(
        &self,
        query: &Query,
        topics: impl IntoIterator<Item = Topic>,
        index_of: impl Fn(&Snapshot) -> Index,
        view: impl FnOnce(&Snapshot) -> Result<T, Error>,
    ) -> Result<Response, Error> {
        let show = |snapshot: &Snapshot| view(snapshot).and_then(|value| query.json(&value));
        self.read_with(query, topics, index_of, show).await
    }

    /// As [`Api::read`], for answers that are not JSON.
    pub(crate) async fn read_with(
        &self,
        query: &Query,
        topics: impl IntoIterator<Item = Topic>,
        index_of: impl Fn(&Snapshot) -> Index,
        show: impl FnOnce(&Snapshot) -> Result<Response, Error>,
    ) -> Result<Response, Error> {
        let snapshot = self.wait(query, topics, &index_of).await?;
        Ok(self.with_meta(show(&snapshot), index_of(&snapshot)))
    }

    /// As [`Api::read`], for lists that come in pages.
    pub(crate) async fn read_page<T: Serialize>(
        &self,
        query: &Query,
        topics: impl IntoIterator<Item = Topic>,
        index_of: impl Fn(&Snapshot) -> Index,
        view: impl FnOnce(&Snapshot) -> Result<Page<T>, Error>,
    ) -> Result<Response, Error> {
        let show = |snapshot: &Snapshot| {
            let page = view(snapshot)?;
            let mut response = query.json(&page.rows)?;
            if let Some(next) = page.next {
                let next = HeaderValue::try_from(next)
                    .map_err(|error| Error::internal(error.to_string()))?;
                response.headers_mut().insert("x-nomad-nexttoken", next);
            }
            Ok(response)
        };
        self.read_with(query, topics, index_of, show).await
    }

    /// Adds the headers of a read; a missing object has them too, so that a client can wait for it.
    fn with_meta(&self, answer: Result<Response, Error>, index: Index) -> Response {
        let mut response = answer.unwrap_or_else(axum::response::IntoResponse::into_response);
        insert_index(&mut response, index);
        let known_leader = if self.knows_leader() { "true" } else { "false" };
        let headers = response.headers_mut();
        headers.insert(
            "x-nomad-knownleader",
            HeaderValue::from_static(known_leader),
        );
        // The one server of this version is its own leader.
        headers.insert("x-nomad-lastcontact", HeaderValue::from_static("0"));
        response
    }

    /// True while there is a leader.
    pub(crate) fn knows_leader(&self) -> bool {
        self.server().raft_metrics().is_leader
    }

    async fn wait(
        &self,
        query: &Query,
        topics: impl IntoIterator<Item = Topic>,
        index_of: &impl Fn(&Snapshot) -> Index,
    ) -> Result<Arc<Snapshot>, Error> {
        if !query.is_stale {
            self.server().read_barrier().await?;
        }
        let server = self.server();
        if query.index == 0 || index_of(&server.snapshot()).max(1) > query.index {
            return Ok(server.snapshot());
        }
        let wait = query.wait + self.jitter(query.wait);
        tokio::select! {
            snapshot = server.wait_for(topics, query.index, wait, index_of) => Ok(snapshot),
            () = query.stopping.0.cancelled() => Ok(server.snapshot()),
        }
    }

    /// Between 0 and a part of `wait`, evenly spread over the reads of this agent.
    fn jitter(&self, wait: Duration) -> Duration {
        /// Steps of a golden-ratio sequence fill the range evenly, whatever the count.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let count = self.shared.waits.fetch_add(1, Ordering::Relaxed);
        let [share, ..] = count.wrapping_mul(GOLDEN).to_be_bytes();
        wait / JITTER_PART * u32::from(share) / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Query, Error> {
        Query::parse(text, Stopping::default())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let query = parse("").unwrap();
        assert_eq!(query.namespace.as_deref(), Some("default"));
        assert_eq!((query.index, query.wait), (0, WAIT_MAX));
        assert!(!query.is_stale && !query.is_pretty);
        assert!(parse("namespace=*").unwrap().namespace.is_none());
    }

    #[test]
    fn waits_are_durations_and_bounded() {
        assert_eq!(parse("wait=30s").unwrap().wait, Duration::from_secs(30));
        assert_eq!(parse("wait=60000ms").unwrap().wait, Duration::from_secs(60));
        assert_eq!(parse("wait=2h").unwrap().wait, WAIT_MAX);
        for bad in ["wait=30", "wait=soon", "wait=-1s"] {
            assert_eq!(
                parse(bad).unwrap_err(),
                Error::bad_request("Invalid wait time")
            );
        }
    }

    #[test]
    fn switches_stand_alone_or_have_a_value() {
        assert!(parse("stale").unwrap().is_stale);
        assert!(parse("stale=true").unwrap().is_stale);
        assert!(!parse("stale=false").unwrap().is_stale);
        assert!(parse("stale=maybe").is_err());
        assert!(parse("pretty").unwrap().is_pretty);
        assert!(!parse("pretty=0").unwrap().is_pretty);
    }

    #[test]
    fn a_bad_index_is_refused() {
        assert_eq!(
            parse("index=x").unwrap_err(),
            Error::bad_request("Invalid index")
        );
        assert!(parse("index=-1").is_err());
        assert_eq!(parse("index=18446744073709551615").unwrap().index, u64::MAX);
    }
}
