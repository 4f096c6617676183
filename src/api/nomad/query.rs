//! Parameters and headers of the jobs dialect.

use axum::{
    Extension,
    extract::FromRequestParts,
    http::{HeaderValue, request::Parts},
    response::Response,
};
use jobs::{
    model::{DEFAULT_NAMESPACE, Index},
    state::Table,
};
use serde::Serialize;
use std::str::FromStr;

use crate::{
    Api,
    error::Error,
    forward::is_of_agent,
    listener::Stopping,
    read::{
        Consistency,
        filter::Filter,
        json::{self, Layout},
        of_server::OfServer,
        page::{Key, Page, Paging},
        parameters::Parameters,
        wait::{Asked, wait},
    },
};
use server::{Snapshot, log::watch::Topic};

/// The parameters that reads share, checked; all others by name.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    parameters: Parameters,
    /// None for every namespace.
    pub(crate) namespace: Option<String>,
    /// Start of the ids wanted; may be empty.
    pub(crate) prefix: String,
    /// What the rows must satisfy.
    pub(crate) filter: Option<Filter>,
    asked: Asked,
    consistency: Consistency,
    layout: Layout,
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
            Some(region) if region != api.facts().region && !is_of_agent(&parts.uri) => {
                Err(Error::internal("No path to region"))
            }
            _ => Ok(query),
        }
    }
}

impl Query {
    fn parse(text: &str, stopping: Stopping) -> Result<Self, Error> {
        let parameters = Parameters::parse(text)?;
        let namespace = match parameters.get("namespace") {
            Some("*") => None,
            Some(namespace) => Some(namespace.to_owned()),
            None => Some(DEFAULT_NAMESPACE.to_owned()),
        };
        let prefix = parameters.get("prefix").unwrap_or_default().to_owned();
        let asked = parameters.asked()?;
        let is_stale = switch(&parameters, "stale", false)?;
        let is_pretty = parameters.value("pretty").is_some_and(|value| value != "0");
        let filter = parameters.get("filter").map(Filter::parse).transpose();
        let filter = filter.map_err(|error| {
            Error::bad_request(format!("failed to create result paginator: {error}"))
        })?;
        Ok(Self {
            namespace,
            prefix,
            filter,
            asked,
            consistency: if is_stale {
                Consistency::Stale
            } else {
                Consistency::Default
            },
            layout: if is_pretty {
                Layout::Pretty
            } else {
                Layout::Compact
            },
            stopping,
            parameters,
        })
    }

    /// The query with this text, for tests.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Result<Self, Error> {
        Self::parse(text, Stopping::default())
    }

    /// The index that a reader names; 0 for none.
    pub(crate) fn asked_index(&self) -> Index {
        self.asked.index
    }

    /// Every value of a parameter, empty ones too.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.all(name)
    }

    /// A parameter that is not empty.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.parameters.get(name)
    }

    /// True when the parameter is there, with a value or without.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.parameters.has(name)
    }

    /// A number; `complaint` is the text of the refusal.
    pub(crate) fn number<T: FromStr>(
        &self,
        name: &str,
        complaint: &'static str,
    ) -> Result<Option<T>, Error> {
        self.parameters.number(name, complaint)
    }

    /// A switch: on when it stands there without a value.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Error> {
        self.switch(name, false)
    }

    /// A switch with the state that it has when it is not named.
    pub(crate) fn switch(&self, name: &str, otherwise: bool) -> Result<bool, Error> {
        switch(&self.parameters, name, otherwise)
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

    /// The page of `rows` that this query asks for: filtered, ordered by `key`, from its token on.
    pub(crate) fn page<R: Serialize, K: Key>(
        &self,
        rows: impl Iterator<Item = R>,
        key: impl Fn(&R) -> K,
    ) -> Result<Page<R>, Error> {
        Paging::new(&self.parameters, self.filter.as_ref()).page(rows, key)
    }

    /// A value as JSON, without index headers.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<Response, Error> {
        json::encode(value, self.layout).map(json::answer)
    }

    /// The answer to a write.
    pub(crate) fn written<T: Serialize>(&self, index: Index, value: &T) -> Result<Response, Error> {
        let mut response = self.json(value)?;
        insert_index(&mut response, index);
        Ok(response)
    }
}

fn switch(parameters: &Parameters, name: &str, otherwise: bool) -> Result<bool, Error> {
    let value = parameters.switch(name, |other| Error::no_switch(name, other))?;
    Ok(value.unwrap_or(otherwise))
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

    /// Answers with one row that `find` finds together with its index, or with the refusal
    /// `missing`, which has the index of the row's table, so that a client can wait for the row.
    pub(crate) async fn read_row<R, T: Serialize>(
        &self,
        query: &Query,
        (topic, table): (Topic, Table),
        find: impl Fn(&Snapshot) -> Option<(Index, R)>,
        show: impl FnOnce(&Snapshot, R) -> T,
        missing: &'static str,
    ) -> Result<Response, Error> {
        let index_of = |snapshot: &Snapshot| {
            find(snapshot).map_or_else(|| snapshot.jobs.table_index(table), |(index, _)| index)
        };
        let view = |snapshot: &Snapshot| {
            let (_, row) = find(snapshot).ok_or_else(|| Error::not_found(missing))?;
            Ok(show(snapshot, row))
        };
        self.read(query, [topic], index_of, view).await
    }

    /// As [`Api::read`], for answers that are not JSON.
    pub(crate) async fn read_with(
        &self,
        query: &Query,
        topics: impl IntoIterator<Item = Topic>,
        index_of: impl Fn(&Snapshot) -> Index,
        show: impl FnOnce(&Snapshot) -> Result<Response, Error>,
    ) -> Result<Response, Error> {
        if query.consistency != Consistency::Stale {
            self.server().read_barrier().await?;
        }
        let source = OfServer::new(self.server(), topics);
        let waits = &self.shared.waits;
        let snapshot = wait(source, query.asked, waits, &query.stopping, &index_of).await;
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
        let silence = self.server().silence().as_millis();
        let silence = u64::try_from(silence).unwrap_or(u64::MAX);
        headers.insert("x-nomad-lastcontact", HeaderValue::from(silence));
        response
    }

    /// True while there is a leader.
    pub(crate) fn knows_leader(&self) -> bool {
        self.server().leads() || self.server().leader().is_some()
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
        assert_eq!(query.asked.index, 0);
        assert_eq!(query.consistency, Consistency::Default);
        assert_eq!(query.layout, Layout::Compact);
        assert!(parse("namespace=*").unwrap().namespace.is_none());
    }

    #[test]
    fn switches_stand_alone_or_have_a_value() {
        let consistency = |text| parse(text).unwrap().consistency;
        assert_eq!(consistency("stale"), Consistency::Stale);
        assert_eq!(consistency("stale=true"), Consistency::Stale);
        assert_eq!(consistency("stale=false"), Consistency::Default);
        assert!(parse("stale=maybe").is_err());
        assert_eq!(parse("pretty").unwrap().layout, Layout::Pretty);
        assert_eq!(parse("pretty=0").unwrap().layout, Layout::Compact);
    }
}
