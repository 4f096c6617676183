//! The ingress admin dialect: the table that is in force, and the operator's text over it.
//!
//! Start at [`router`].

mod page;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc};

use super::{body::Raw, error::Error, overrides};
use crate::server::{self, state::Rejected};

/// What the dialect answers from; cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The running ingress.
    pub proxy: proxy::Handle,
    /// Keeps the operator's text.
    pub server: server::Handle,
    /// What the ingress was told.
    pub settings: Arc<Settings>,
}

/// What the ingress was told, as far as it is shown.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Version of the program.
    pub version: String,
    /// Where the ingress listens.
    pub listen: Vec<SocketAddr>,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// The ingress.
    pub proxy: proxy::Config,
}

/// Makes the router of the dialect, with absolute paths.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/health", get(async || "OK\n"))
        .route("/api/routes", get(routes))
        .route("/api/version", get(version))
        .route("/api/config", get(config))
        .route("/api/manual", get(manual).put(set_manual))
        .route("/routes", get(table_page))
        .route("/", get(table_page))
        .route("/favicon.ico", get(async || StatusCode::NOT_FOUND))
        .fallback(elsewhere)
        .method_not_allowed_fallback(async || Error::method())
        .with_state(admin)
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

async fn routes(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let query = query.as_deref();
    let table = admin.proxy.table();
    if has(query, "raw") {
        let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((content_type, table.text()).into_response());
    }
    let rows = table.rows();
    // Readers of this API know an empty table as null.
    encode(query, &Some(rows).filter(|rows| !rows.is_empty()))
}

async fn version(State(admin): State<Admin>) -> String {
    admin.settings.version.clone()
}

async fn config(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let settings = &admin.settings;
    let proxy = &settings.proxy;
    let strategy = match proxy.strategy {
        proxy::Strategy::RoundRobin => "rr",
        proxy::Strategy::Random => "rnd",
    };
    let seconds = |duration: std::time::Duration| duration.as_secs_f64();
    let shown = json!({
        "Listen": settings.listen,
        "UI": { "Addr": settings.admin, "Access": "rw" },
        "Proxy": {
            "Strategy": strategy,
            "NoRouteStatus": proxy.no_route_status,
            "ConnectTimeoutSeconds": seconds(proxy.connect_timeout),
            "ResponseTimeoutSeconds": proxy.response_timeout.map(seconds),
            "UpstreamIdleTimeoutSeconds": seconds(proxy.upstream_idle_timeout),
            "UpstreamIdleMax": proxy.upstream_idle_max,
            "Retries": proxy.retries,
            "ClientTimeoutSeconds": seconds(proxy.client_timeout),
            "ClientIdleTimeoutSeconds": seconds(proxy.client_idle_timeout),
            "ConnectionsMax": proxy.connections_max,
            "RequestBodyMax": proxy.request_body_max,
            "DrainTimeoutSeconds": seconds(proxy.drain_timeout),
        },
    });
    encode(query.as_deref(), &shown)
}

/// The operator's text with its version, which is text itself.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Manual {
    value: String,
    version: String,
}

async fn manual(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let (value, version) = admin.server.route_overrides();
    let version = version.to_string();
    encode(query.as_deref(), &Manual { value, version })
}

async fn set_manual(State(admin): State<Admin>, body: Raw) -> Result<(), Error> {
    let manual: Manual = body.json()?;
    let expected = manual
        .version
        .parse()
        .map_err(|_| Error::bad_request("version must be a number in quotes"))?;
    overrides::check(&manual.value).map_err(|refused| Error::bad_request(refused.to_string()))?;
    match admin
        .server
        .set_route_overrides(manual.value, Some(expected))
        .await
    {
        Ok(_) => Ok(()),
        Err(server::Error::Rejected(Rejected::Mesh(mesh::state::Rejected::IndexMismatch {
            ..
        }))) => Err(Error::new(StatusCode::CONFLICT, "version mismatch")),
        Err(error) => Err(error.into()),
    }
}

async fn table_page(State(admin): State<Admin>) -> Html<String> {
    Html(page::render(&admin.proxy.table().rows()))
}
