//! The routes of the ingress and the operator's text over them.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use mesh::view::Table;
use serde::Serialize;

use crate::{
    Api,
    body::Raw,
    error::Error,
    nomad::query::Query,
    overrides::{self, Edit, Refused, RouteWeight},
};
use server::{self, Snapshot, Written, log::watch::Topic, state::Rejected};

/// How often an edit is tried again because the text changed in between.
const EDITS_MAX: usize = 8;

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::bad_request(refused.to_string())
    }
}

/// Answer to a write of route overrides.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OverridesWritten {
    /// Version of the text; 0 when it was never set.
    version: u64,
    /// Index of the write.
    index: u64,
}

/// `GET /v1/trivet/routes`
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let proxy = api
        .proxy()
        .ok_or_else(|| Error::not_found("this agent has no ingress"))?;
    query.json(&proxy.table().rows())
}

/// `GET /v1/trivet/routes/overrides`: the text as it is; the index header is its version.
pub(super) async fn overrides(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.mesh.route_overrides_version();
    let topics = [Topic::Mesh(Table::RouteOverrides)];
    let show = |snapshot: &Snapshot| {
        let text = overrides::shown(&snapshot.mesh);
        Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
    };
    api.read_with(&query, topics, index_of, show).await
}

/// `PUT /v1/trivet/routes/overrides`: replaces the text, when it still has the version `version`
/// (if given).
pub(super) async fn replace(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let expected = query.number("version", "version is no number")?;
    let text = body.text()?.to_owned();
    overrides::check(&text)?;
    let written = api.server().set_route_overrides(text, expected).await?;
    answer(&api, &query, &written)
}

fn answer(api: &Api, query: &Query, written: &Written) -> Result<Response, Error> {
    let version = api.server().snapshot().mesh.route_overrides_version();
    let index = written.index;
    query.written(index, &OverridesWritten { version, index })
}

/// `PUT /v1/trivet/route/weight`
pub(super) async fn weigh(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let weight: RouteWeight = body.json()?;
    for _ in 0..EDITS_MAX {
        let snapshot = api.server().snapshot();
        let version = snapshot.mesh.route_overrides_version();
        let written = match weight.edit(&snapshot.mesh)? {
            Edit::Split(split) => api.server().set_split(split).await,
            Edit::Text(text) => api.server().set_route_overrides(text, Some(version)).await,
        };
        match written {
            Err(server::Error::Rejected(Rejected::Mesh(
                mesh::state::Rejected::IndexMismatch { .. },
            ))) => {}
            written => return answer(&api, &query, &written?),
        }
    }
    Err(Error::internal(
        "the route overrides change all the time; try again",
    ))
}
