//! Our own endpoints, beside the jobs dialect and with its parameters and headers.

mod jobs;
mod logs;
mod names;
mod nodes;
mod rollout;
mod routes;
mod servers;
mod services;
mod traffic;

use axum::{
    Router,
    routing::{get, put},
};

use super::{Api, error::Error};

/// Makes the router of our own endpoints, with absolute paths.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route(
            "/v1/trivet/rollout/{deployment}",
            get(rollout::read)
                .put(rollout::change)
                .post(rollout::change),
        )
        .route(
            "/v1/trivet/rollout/{deployment}/record",
            get(rollout::record),
        )
        .route("/v1/trivet/jobs", get(jobs::list))
        .route("/v1/trivet/nodes", get(nodes::list))
        .route("/v1/trivet/servers", get(servers::list))
        .route("/v1/trivet/services", get(services::list))
        .route("/v1/trivet/dns", get(names::ask))
        .route("/v1/trivet/logs", get(logs::logs))
        .route("/v1/trivet/routes", get(routes::list))
        .route("/v1/trivet/routes/counts", get(traffic::counts))
        .route("/v1/trivet/route/test", get(traffic::test))
        .route("/v1/trivet/traffic", get(traffic::traffic))
        .route(
            "/v1/trivet/route/weight",
            put(routes::weigh).post(routes::weigh),
        )
        .route(
            "/v1/trivet/routes/overrides",
            get(routes::overrides)
                .put(routes::replace)
                .post(routes::replace),
        )
        .method_not_allowed_fallback(async || Error::method())
        .with_state(api)
}
