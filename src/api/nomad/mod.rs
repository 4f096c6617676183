//! The jobs dialect: jobs and what became of them, one file per noun.
//!
//! Start at [`router`]. What the original has beyond this is absent and says so when it is asked for.

mod agent;
mod allocations;
mod deployments;
mod evaluations;
mod jobs;
mod nodes;
mod operator;
mod plan;
mod registration;
mod routes;
mod scaling;
mod search;
mod versions;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
    routing::{any, get, put},
};

use super::{Api, error::Error};

/// Makes the router of the dialect, with absolute paths.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/", any(root))
        .route("/ui", any(root))
        .route("/ui/{*path}", get(placeholder))
        .route("/ui/", get(placeholder))
        .merge(job_routes())
        .merge(row_routes())
        .merge(agent_routes())
        .route("/v1/trivet/routes", get(routes::list))
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
        .fallback(unknown)
        .method_not_allowed_fallback(async || Error::method())
        .with_state(api)
}

fn job_routes() -> Router<Api> {
    let register = put(registration::register).post(registration::register);
    Router::new()
        .route("/v1/jobs", register.get(jobs::list))
        .route(
            "/v1/jobs/parse",
            put(registration::parse).post(registration::parse),
        )
        .route(
            "/v1/validate/job",
            put(registration::validate).post(registration::validate),
        )
        // An id may hold `/`, so the rest of the path is taken apart by hand.
        .route("/v1/job/{*rest}", any(jobs::dispatch))
}

fn row_routes() -> Router<Api> {
    let stop = put(allocations::stop).post(allocations::stop);
    Router::new()
        .route("/v1/allocations", get(allocations::list))
        .route("/v1/allocation/{id}", get(allocations::read))
        .route("/v1/allocation/{id}/stop", stop)
        .route(
            "/v1/evaluations",
            get(evaluations::list).delete(evaluations::delete),
        )
        .route("/v1/evaluations/count", get(evaluations::count))
        .route("/v1/evaluation/{id}", get(evaluations::read))
        .route(
            "/v1/evaluation/{id}/allocations",
            get(evaluations::allocations),
        )
        .route("/v1/deployments", get(deployments::list))
        .route("/v1/deployment/{id}", get(deployments::read))
        .route(
            "/v1/deployment/allocations/{id}",
            get(deployments::allocations),
        )
        .route(
            "/v1/deployment/fail/{id}",
            put(deployments::fail).post(deployments::fail),
        )
        .route(
            "/v1/deployment/pause/{id}",
            put(deployments::pause).post(deployments::pause),
        )
        .route(
            "/v1/deployment/promote/{id}",
            put(deployments::promote).post(deployments::promote),
        )
        .route(
            "/v1/deployment/allocation-health/{id}",
            put(deployments::health).post(deployments::health),
        )
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/node/{id}", get(nodes::read))
        .route("/v1/node/{id}/allocations", get(nodes::allocations))
        .route(
            "/v1/node/{id}/eligibility",
            put(nodes::set_eligibility).post(nodes::set_eligibility),
        )
        .route(
            "/v1/node/{id}/evaluate",
            put(nodes::evaluate).post(nodes::evaluate),
        )
}

fn agent_routes() -> Router<Api> {
    Router::new()
        .route("/v1/agent/self", get(agent::this))
        .route("/v1/agent/health", get(agent::health))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/agent/servers", get(agent::servers))
        .route("/v1/agent/schedulers", get(agent::schedulers))
        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))
        .route("/v1/regions", get(agent::regions))
        .route("/v1/namespaces", get(agent::namespaces))
        .route("/v1/namespace/{name}", get(agent::namespace))
        .route("/v1/search", put(search::search).post(search::search))
        .route("/v1/operator/raft/configuration", get(operator::raft))
        .route(
            "/v1/operator/scheduler/configuration",
            get(operator::scheduler),
        )
        .route("/v1/operator/autopilot/health", get(operator::autopilot))
        .route("/v1/operator/license", get(async || StatusCode::NO_CONTENT))
        .route(
            "/v1/system/gc",
            put(operator::collect_garbage).post(operator::collect_garbage),
        )
}

async fn root(uri: Uri) -> Response {
    let target = match uri.query() {
        Some(query) => format!("/ui/?{query}"),
        None => "/ui/".to_owned(),
    };
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
}

async fn placeholder() -> Html<&'static str> {
    Html(include_str!("placeholder.html"))
}

/// First parts of paths that the original has and this version has not.
const FAMILIES: [&str; 28] = [
    "acl",
    "agent",
    "allocation",
    "client",
    "event",
    "metrics",
    "namespace",
    "namespaces",
    "node",
    "operator",
    "plugin",
    "plugins",
    "quota",
    "quota-usage",
    "quota-usages",
    "quotas",
    "recommendation",
    "recommendations",
    "scaling",
    "search",
    "sentinel",
    "service",
    "services",
    "system",
    "var",
    "vars",
    "volume",
    "volumes",
];

async fn unknown(State(_): State<Api>, request: Request) -> Response {
    let path = request.uri().path();
    let family = path
        .strip_prefix("/v1/")
        .and_then(|rest| rest.split('/').next());
    match family {
        Some(family) if FAMILIES.contains(&family) => {
            Error::absent(&format!("{} {path}", request.method())).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
