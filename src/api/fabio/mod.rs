//! The ingress admin dialect: the table that is in force, and the operator's text over it.
//!
//! Start at [`router`].

mod page;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use mesh::{
    model::RouteOverrides,
    state::{Command, KeyCondition, PutKey},
};
use proxy::route::Table;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Api, body::Raw, error::Error, forward, overrides};
use server::{self, Dialect, state::Rejected};

/// Makes the router of the dialect, with absolute paths.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/routes", get(routes))
        .route("/api/version", get(version))
        .route("/api/config", get(config))
        .route("/api/paths", get(paths))
        .route("/api/problems", get(problems))
        .route("/metrics", get(metrics))
        .route("/api/manual", get(manual).put(set_manual))
        .route("/api/manual/", get(manual).put(set_manual))
        .route("/api/manual/{*path}", get(manual_at).put(set_manual_at))
        .route("/ui", get(web_ui))
        .route("/ui/", get(web_ui))
        .route("/ui/{*path}", get(web_ui))
        .route("/routes", get(table_page))
        .route("/", get(table_page))
        .route("/favicon.ico", get(async || StatusCode::NOT_FOUND))
        .fallback(elsewhere)
        .method_not_allowed_fallback(async || Error::method())
        .layer(middleware::from_fn_with_state(
            api.forward(Dialect::Ingress),
            forward::forward,
        ))
        .with_state(api)
}

/// Whether requests should come here. An agent that stops says no before it takes none: who
/// spreads requests over several can go elsewhere meanwhile.
async fn health(State(api): State<Api>) -> (StatusCode, &'static str) {
    if api.facts().stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "OK\n")
    }
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

/// What was counted, in the text format of Prometheus.
async fn metrics(State(api): State<Api>) -> Result<Response, Error> {
    let proxy = api.proxy();
    let proxy = proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))?;
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((content_type, proxy.metrics()).into_response())
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

/// The settings of the ingress; what is secret is not among them.
async fn config(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    encode(query.as_deref(), &api.facts().ingress)
}

/// Definitions that were left out of the table, each with the reason.
async fn problems(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let proxy = api.proxy();
    let proxy = proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))?;
    encode(query.as_deref(), &*proxy.problems())
}

/// The places of the operator's texts: empty for the one without a path.
async fn paths(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let catalog = &api.server().snapshot().mesh;
    let overrides = catalog.route_overrides();
    let mut paths: Vec<&str> = overrides
        .commands()
        .filter_map(|(key, _)| key.strip_prefix(RouteOverrides::CONFIG_KEY))
        .map(|path| path.trim_start_matches('/'))
        .collect();
    if !overrides::shown(catalog).is_empty() && !paths.contains(&"") {
        paths.insert(0, "");
    }
    // Readers of this API know an empty list as null.
    encode(
        query.as_deref(),
        &Some(paths).filter(|paths| !paths.is_empty()),
    )
}

/// The key that an operator's text is kept at. Without a path, that is the text of the catalog,
/// unless somebody keeps one in the key-value store.
fn key_of(api: &Api, path: &str) -> Option<String> {
    let root = RouteOverrides::CONFIG_KEY;
    if !path.is_empty() {
        return Some(format!("{root}/{path}"));
    }
    let catalog = &api.server().snapshot().mesh;
    catalog.key(root).is_some().then(|| root.to_owned())
}

async fn manual(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    read_manual(&api, "", query.as_deref())
}

async fn manual_at(
    State(api): State<Api>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    read_manual(&api, &path, query.as_deref())
}

fn read_manual(api: &Api, path: &str, query: Option<&str>) -> Result<Response, Error> {
    let catalog = &api.server().snapshot().mesh;
    let manual = match key_of(api, path) {
        Some(key) => {
            let row = catalog.key(&key);
            Manual {
                value: row.map_or_else(String::new, |row| {
                    String::from_utf8_lossy(&row.value).into_owned()
                }),
                version: row.map_or(0, |row| row.modify_index).to_string(),
            }
        }
        None => Manual {
            value: overrides::shown(catalog),
            version: catalog.route_overrides_version().to_string(),
        },
    };
    encode(query, &manual)
}

async fn set_manual(State(api): State<Api>, body: Raw) -> Result<(), Error> {
    write_manual(&api, "", &body).await
}

async fn set_manual_at(
    State(api): State<Api>,
    Path(path): Path<String>,
    body: Raw,
) -> Result<(), Error> {
    write_manual(&api, &path, &body).await
}

async fn write_manual(api: &Api, path: &str, body: &Raw) -> Result<(), Error> {
    let manual: Manual = body.json()?;
    let expected = manual
        .version
        .parse()
        .map_err(|_| Error::bad_request("version must be a number in quotes"))?;
    overrides::check(&manual.value).map_err(|refused| Error::bad_request(refused.to_string()))?;
    let written = match key_of(api, path) {
        Some(key) => {
            let command = PutKey {
                key,
                value: manual.value.into_bytes(),
                flags: 0,
                condition: KeyCondition::Unchanged(expected),
            };
            let (_, outcome) = api.server().propose(Command::PutKey(command)).await?;
            outcome.map(drop)
        }
        None => {
            let written = api
                .server()
                .set_route_overrides(manual.value, Some(expected))
                .await;
            match written {
                Ok(_) => Ok(()),
                Err(server::Error::Rejected(rejected)) => Err(rejected),
                Err(error) => return Err(error.into()),
            }
        }
    };
    match written {
        Ok(()) => Ok(()),
        Err(Rejected::Mesh(mesh::state::Rejected::IndexMismatch { .. })) => {
            Err(Error::new(StatusCode::CONFLICT, "version mismatch"))
        }
        Err(rejected) => Err(server::Error::Rejected(rejected).into()),
    }
}

/// The routes in the web UI.
async fn web_ui(State(api): State<Api>, headers: HeaderMap) -> Response {
    let config = &api.facts().config;
    let port = config.get("Ports").and_then(|ports| ports["HTTP"].as_u64());
    match port.and_then(|port| u16::try_from(port).ok()) {
        Some(port) => super::ui::of_ingress(&headers, port),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn table_page(State(api): State<Api>) -> Result<Html<String>, Error> {
    let proxy = api.proxy();
    let proxy = proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))?;
    Ok(Html(page::render(&proxy.table().rows(), &proxy.problems())))
}
