//! The ingress admin dialect: the table that is in force, and the operator's text over it.
//!
//! Start at [`router`], which answers from a whole agent, or at [`alone`] for an ingress that has
//! none beside it. Where the operator's texts are kept is all in which they differ (`texts`).

mod page;
#[cfg(test)]
mod tests;
mod texts;

pub use texts::Texts;

use axum::{
    Router,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use proxy::route::{PUBLISHED_BOUNDS, Table};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

use super::{Api, body::Raw, error::Error, forward, listener::WasCarried, overrides};
use server::Dialect;
use texts::Kept;

/// What the dialect says of an ingress by itself.
#[derive(Clone, Debug)]
pub struct Alone {
    /// What carries the requests.
    pub proxy: proxy::Handle,
    /// Version of the program.
    pub version: String,
    /// The configuration, without secrets.
    pub config: Value,
    /// Where the operator's texts are kept; none if they cannot be changed.
    pub texts: Option<Arc<dyn Texts>>,
    /// Whether texts are neither shown nor changed.
    pub is_read_only: bool,
    /// Stands before all paths but `/health`; empty for nothing.
    pub path: String,
    /// The title of the page; empty for the usual one.
    pub title: String,
    /// Begins the names of metrics that are published elsewhere.
    pub metrics_prefix: String,
    /// Times that answers are sorted by there.
    pub metrics_bounds: Vec<Duration>,
    /// Canceled when there are routes for the first time.
    pub routed: CancellationToken,
    /// Canceled when the ingress begins to stop.
    pub stopping: CancellationToken,
}

/// What the dialect answers from; cheap to clone.
#[derive(Clone, Debug)]
struct Admin {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    proxy: Option<proxy::Handle>,
    version: String,
    config: Value,
    /// Port of the web UI of the agent, if there may be one.
    ui_port: Option<u16>,
    texts: Kept,
    is_read_only: bool,
    path: String,
    title: String,
    /// Begins the names of metrics that are published elsewhere; none if only who asks gets them.
    metrics_prefix: Option<String>,
    metrics_bounds: Vec<Duration>,
    routed: CancellationToken,
    stopping: CancellationToken,
}

impl Admin {
    fn proxy(&self) -> Result<&proxy::Handle, Error> {
        let proxy = self.shared.proxy.as_ref();
        proxy.ok_or_else(|| Error::not_found("this agent has no ingress"))
    }
}

/// Makes the router of the dialect, with absolute paths.
pub fn router(api: Api) -> Router {
    let facts = api.facts();
    let port = facts.config.get("Ports");
    let port = port.and_then(|ports| ports["HTTP"].as_u64());
    let shared = Shared {
        proxy: api.proxy().cloned(),
        version: facts.version.clone(),
        config: facts.ingress.clone(),
        ui_port: port.and_then(|port| u16::try_from(port).ok()),
        is_read_only: facts.admin_is_read_only,
        path: String::new(),
        title: String::new(),
        metrics_prefix: None,
        metrics_bounds: PUBLISHED_BOUNDS.to_vec(),
        routed: facts.routed.clone(),
        stopping: facts.stopping.clone(),
        texts: Kept::Here(api.clone()),
    };
    let admin = Admin {
        shared: Arc::new(shared),
    };
    let forward = middleware::from_fn_with_state(api.forward(Dialect::Ingress), forward::forward);
    guarded(routes_of(admin.clone()).layer(forward), admin)
}

/// Makes the router of the dialect for an ingress by itself.
pub fn alone(alone: Alone) -> Router {
    let admin = Admin {
        shared: Arc::new(Shared {
            proxy: Some(alone.proxy),
            version: alone.version,
            config: alone.config,
            ui_port: None,
            texts: alone.texts.map_or(Kept::Nowhere, Kept::Elsewhere),
            is_read_only: alone.is_read_only,
            path: alone.path,
            title: alone.title,
            metrics_prefix: Some(alone.metrics_prefix),
            metrics_bounds: alone.metrics_bounds,
            routed: alone.routed,
            stopping: alone.stopping,
        }),
    };
    let path = admin.shared.path.clone();
    let router = guarded(routes_of(admin.clone()), admin.clone());
    if path.is_empty() {
        return router;
    }
    Router::new()
        .nest_service(&path, router)
        .route("/health", get(health))
        .fallback(elsewhere)
        .with_state(admin)
}

/// Makes a router that shows metrics at a path, and leads there; `prefix` begins the names of those
/// that are published elsewhere, and answers are sorted by `bounds` there.
pub fn only_metrics(
    proxy: proxy::Handle,
    path: &str,
    (prefix, bounds): (&str, &[Duration]),
) -> Router {
    let place = if path.is_empty() { "/" } else { path };
    let (prefix, bounds) = (prefix.to_owned(), bounds.to_vec());
    let shown = move || std::future::ready(metrics_of(&proxy, Some(&prefix), &bounds));
    let router = Router::new().route(place, get(shown));
    if place == "/" {
        return router;
    }
    let place = place.to_owned();
    let led = move || std::future::ready(Redirect::permanent(&place));
    router.route("/", get(led))
}

/// Keeps the operator's texts to themselves where nothing may be changed. What another agent sent
/// here was allowed there.
fn guarded(router: Router, admin: Admin) -> Router {
    router.layer(middleware::from_fn_with_state(admin, refuse))
}

async fn refuse(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let is_carried = request.extensions().get::<WasCarried>().is_some();
    let path = request.uri().path();
    let is_text = ["/api/manual", "/api/paths", "/manual"].iter().any(|own| {
        path.strip_prefix(own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if admin.shared.is_read_only && is_text && !is_carried {
        let message = "this address changes nothing: `admin_access` (`ui.access`) is `ro`";
        return Error::new(StatusCode::FORBIDDEN, message).into_response();
    }
    next.run(request).await
}

fn routes_of(admin: Admin) -> Router {
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
        .with_state(admin)
}

/// Whether requests should come here. An agent that stops says no before it takes none, and one
/// that starts until it knows where they go: who spreads requests over several can go elsewhere
/// meanwhile.
async fn health(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    let shared = &admin.shared;
    if shared.stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if !shared.routed.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "there are no routes yet\n")
    } else {
        (StatusCode::OK, "OK\n")
    }
}

/// Names of the other dialect's endpoints that are not here.
async fn elsewhere(State(admin): State<Admin>, uri: Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") || path.starts_with("/manual") {
        return Error::absent(path).into_response();
    }
    Redirect::to(&format!("{}/routes", admin.shared.path)).into_response()
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
    let table: Arc<Table> = admin.proxy()?.table();
    if has(query, "raw") {
        let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((content_type, table.text()).into_response());
    }
    let rows = table.rows();
    // Readers of this API know an empty table as null.
    encode(query, &Some(rows).filter(|rows| !rows.is_empty()))
}

/// What was counted, in the text format of Prometheus; with `names=fabio` also under those names.
async fn metrics(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let query = query.unwrap_or_default();
    let asks = || {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.any(|(key, value)| key == "names" && value == PUBLISHED)
    };
    let own = admin.shared.metrics_prefix.as_deref();
    let prefix = own.or_else(|| asks().then_some(PUBLISHED));
    let bounds = &admin.shared.metrics_bounds;
    Ok(metrics_of(admin.proxy()?, prefix, bounds))
}

/// Begins the published names of metrics.
const PUBLISHED: &str = "fabio";

fn metrics_of(proxy: &proxy::Handle, prefix: Option<&str>, bounds: &[Duration]) -> Response {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    let published = prefix.map(|prefix| proxy.published_metrics(prefix, bounds));
    let text = proxy.metrics() + &published.unwrap_or_default();
    (content_type, text).into_response()
}

async fn version(State(admin): State<Admin>) -> String {
    admin.shared.version.clone()
}

/// The operator's text with its version, which is text itself.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Manual {
    value: String,
    version: String,
}

/// The settings of the ingress; what is secret is not among them.
async fn config(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    encode(query.as_deref(), &admin.shared.config)
}

/// Definitions that were left out of the table, each with the reason, and certificates that end.
async fn problems(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let proxy = admin.proxy()?;
    let mut problems = Vec::clone(&proxy.problems());
    problems.extend(proxy.certificate_problems());
    encode(query.as_deref(), &problems)
}

/// The places of the operator's texts: empty for the one without a path.
async fn paths(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let paths = admin.shared.texts.paths().await?;
    // Readers of this API know an empty list as null.
    encode(
        query.as_deref(),
        &Some(paths).filter(|paths| !paths.is_empty()),
    )
}

async fn manual(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    read_manual(&admin, "", query.as_deref()).await
}

async fn manual_at(
    State(admin): State<Admin>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    read_manual(&admin, &path, query.as_deref()).await
}

async fn read_manual(admin: &Admin, path: &str, query: Option<&str>) -> Result<Response, Error> {
    let (value, version) = admin.shared.texts.text(path).await?;
    let version = version.to_string();
    encode(query, &Manual { value, version })
}

async fn set_manual(State(admin): State<Admin>, body: Raw) -> Result<(), Error> {
    write_manual(&admin, "", &body).await
}

async fn set_manual_at(
    State(admin): State<Admin>,
    Path(path): Path<String>,
    body: Raw,
) -> Result<(), Error> {
    write_manual(&admin, &path, &body).await
}

async fn write_manual(admin: &Admin, path: &str, body: &Raw) -> Result<(), Error> {
    let manual: Manual = body.json()?;
    let expected = manual
        .version
        .parse()
        .map_err(|_| Error::bad_request("version must be a number in quotes"))?;
    overrides::check(&manual.value).map_err(|refused| Error::bad_request(refused.to_string()))?;
    let texts = &admin.shared.texts;
    if texts.set(path, manual.value, expected).await? {
        Ok(())
    } else {
        Err(Error::new(StatusCode::CONFLICT, "version mismatch"))
    }
}

/// The routes in the web UI.
async fn web_ui(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    match admin.shared.ui_port {
        Some(port) => super::ui::of_ingress(&headers, port),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn table_page(State(admin): State<Admin>) -> Result<Html<String>, Error> {
    let proxy = admin.proxy()?;
    let shared = &admin.shared;
    let page = page::render(
        &proxy.table().rows(),
        (&proxy.problems(), &proxy.certificate_problems()),
        (&shared.title, shared.ui_port.is_some()),
    );
    Ok(Html(page))
}
