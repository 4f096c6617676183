//! The ingress admin dialect: the table that is in force, and the operator's text over it.
//!
//! Start at [`router`].

mod page;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use proxy::route::Table;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Api, body::Raw, error::Error, overrides};
use crate::server::{self, state::Rejected};

/// Makes the router of the dialect, with absolute paths.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/health", get(async || "OK\n"))
        .route("/api/routes", get(routes))
        .route("/api/version", get(version))
        .route("/api/manual", get(manual).put(set_manual))
        .route("/routes", get(table_page))
        .route("/", get(table_page))
        .route("/favicon.ico", get(async || StatusCode::NOT_FOUND))
        .fallback(elsewhere)
        .method_not_allowed_fallback(async || Error::method())
        .with_state(api)
}

/// Names of the other dialect's endpoints that are not here.
async fn elsewhere(uri: Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") || path.starts_with("/manual") {
        return Error::absent(path).into_response();
    }
    Redirect::to("/routes").into_response()
}

fn has(query: Option<&str>, name: &str) -> bool {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|(key, _)| key == name)
}

fn encode<T: Serialize>(query: Option<&str>, value: &T) -> Result<Response, Error> {
    let body = if has(query, "pretty") {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    };
    let body = body.map_err(|error| Error::internal(error.to_string()))?;
    let content_type = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    Ok((content_type, body).into_response())
}

fn table(api: &Api) -> Result<Arc<Table>, Error> {
    let proxy = api.proxy();
    let proxy = proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))?;
    Ok(proxy.table())
}

async fn routes(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let query = query.as_deref();
    let table = table(&api)?;
    if has(query, "raw") {
        let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((content_type, table.text()).into_response());
    }
    let rows = table.rows();
    // Readers of this API know an empty table as null.
    encode(query, &Some(rows).filter(|rows| !rows.is_empty()))
}

async fn version(State(api): State<Api>) -> String {
    api.facts().version.clone()
}

/// The operator's text with its version, which is text itself.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Manual {
    value: String,
    version: String,
}

async fn manual(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let catalog = &api.server().snapshot().mesh;
    let value = overrides::shown(catalog);
    let version = catalog.route_overrides_version().to_string();
    encode(query.as_deref(), &Manual { value, version })
}

async fn set_manual(State(api): State<Api>, body: Raw) -> Result<(), Error> {
    let manual: Manual = body.json()?;
    let expected = manual
        .version
        .parse()
        .map_err(|_| Error::bad_request("version must be a number in quotes"))?;
    overrides::check(&manual.value).map_err(|refused| Error::bad_request(refused.to_string()))?;
    let written = api
        .server()
        .set_route_overrides(manual.value, Some(expected))
        .await;
    match written {
        Ok(_) => Ok(()),
        Err(server::Error::Rejected(Rejected::Mesh(mesh::state::Rejected::IndexMismatch {
            ..
        }))) => Err(Error::new(StatusCode::CONFLICT, "version mismatch")),
        Err(error) => Err(error.into()),
    }
}

async fn table_page(State(api): State<Api>) -> Result<Html<String>, Error> {
    Ok(Html(page::render(&table(&api)?.rows())))
}
