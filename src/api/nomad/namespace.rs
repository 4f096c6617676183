//! The one namespace.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::model::DEFAULT_NAMESPACE;
use serde::Serialize;
use std::collections::BTreeMap;

use super::query::Query;
use crate::{Api, error::Error};
use server::Snapshot;

/// The endpoints of namespaces.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/namespaces", get(namespaces))
        .route("/v1/namespace/{name}", get(namespace))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Namespace {
    name: &'static str,
    description: &'static str,
    quota: &'static str,
    meta: BTreeMap<String, String>,
    capabilities: Option<()>,
    node_pool_configuration: Option<()>,
    create_index: u64,
    modify_index: u64,
}

/// The one namespace; it is there from the start.
const NAMESPACE: Namespace = Namespace {
    name: DEFAULT_NAMESPACE,
    description: "Default shared namespace",
    quota: "",
    meta: BTreeMap::new(),
    capabilities: None,
    node_pool_configuration: None,
    create_index: 1,
    modify_index: 1,
};

/// Why nothing can be in a namespace of that name; none for the one that there is.
pub(super) fn refusal(name: &str) -> Option<String> {
    (name != DEFAULT_NAMESPACE).then(|| {
        format!("nonexistent namespace {name:?}: this version has the namespace \"default\" only")
    })
}

/// `GET /v1/namespaces`
async fn namespaces(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let found = DEFAULT_NAMESPACE.starts_with(&query.prefix);
    let view = |_: &Snapshot| Ok(found.then_some(NAMESPACE).into_iter().collect::<Vec<_>>());
    api.read(&query, [], |_| NAMESPACE.modify_index, view).await
}

/// `GET /v1/namespace/:name`
async fn namespace(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let view = |_: &Snapshot| {
        if name == DEFAULT_NAMESPACE {
            Ok(NAMESPACE)
        } else {
            Err(Error::not_found("Namespace not found"))
        }
    };
    api.read(&query, [], |_| NAMESPACE.modify_index, view).await
}
