//! The jobs dialect: jobs and what became of them, a folder or file per noun.
//!
//! Start at [`router`]; `query` has the parameters and headers that reads share. Endpoints not
//! built here answer 501.

mod agent;
mod alloc;
pub(super) mod client;
mod deployment;
mod evaluation;
mod event;
#[cfg(test)]
mod event_tests;
mod identity;
mod job;
mod metrics;
mod namespace;
mod node;
mod operator;
pub(super) mod query;
pub(super) mod row_id;
mod scaling;
mod search;
mod service;
#[cfg(test)]
mod tests;
mod variable;

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, put},
};

use super::{Api, error::Error};

/// Makes the router of the dialect, with absolute paths.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/", any(root))
        .merge(job::router())
        .merge(alloc::router())
        .merge(evaluation::router())
        .merge(deployment::router())
        .merge(node::router())
        .merge(agent::router())
        .merge(namespace::router())
        .merge(operator::router())
        .merge(scaling::router())
        .merge(variable::router())
        .merge(identity::router())
        .merge(client::router())
        .merge(service::router())
        .merge(event::router())
        .route("/v1/metrics", get(metrics::metrics))
        .route("/v1/search", write(search::search))
        // There is none of these, and a list says so.
        .route("/v1/volumes", get(nothing))
        .route("/v1/plugins", get(nothing))
        .fallback(unknown)
        .method_not_allowed_fallback(async || Error::method())
        .with_state(api)
}

/// Routes PUT and POST, which mean the same here, to `handler`.
fn write<H, T>(handler: H) -> MethodRouter<Api>
where
    H: Handler<T, Api>,
    T: 'static,
{
    put(handler.clone()).post(handler)
}

async fn root(uri: Uri) -> Response {
    let target = match uri.query() {
        Some(query) => format!("/ui/?{query}"),
        None => "/ui/".to_owned(),
    };
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
}

async fn nothing(query: query::Query) -> Result<Response, Error> {
    query.json(&[(); 0])
}

/// First parts of paths that clients know and that are not built here.
const FAMILIES: [&str; 17] = [
    "agent",
    "allocation",
    "client",
    "event",
    "namespace",
    "namespaces",
    "node",
    "operator",
    "plugin",
    "plugins",
    "scaling",
    "search",
    "service",
    "services",
    "system",
    "volume",
    "volumes",
];

/// First parts of paths that only the enterprise version of the original has.
const ENTERPRISE: [&str; 7] = [
    "quota",
    "quota-usage",
    "quota-usages",
    "quotas",
    "recommendation",
    "recommendations",
    "sentinel",
];

async fn unknown(State(_): State<Api>, request: Request) -> Response {
    let path = request.uri().path();
    let family = path
        .strip_prefix("/v1/")
        .and_then(|rest| rest.split('/').next());
    match family {
        Some("acl") => Error::bad_request("ACL support disabled").into_response(),
        Some(family) if ENTERPRISE.contains(&family) => {
            let text = "Nomad Enterprise only endpoint";
            Error::new(StatusCode::NOT_IMPLEMENTED, text).into_response()
        }
        Some(family) if FAMILIES.contains(&family) => {
            Error::absent(&format!("{} {path}", request.method())).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
