//! Scaling policies of groups.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::{
    model::ScalingPolicy,
    state::Table,
    wire::{self, ScalingPolicyStub},
};

use super::query::Query;
use crate::{Api, error::Error};
use server::{Snapshot, log::watch::Topic};

/// The kind of policies that there is, as `type` may begin.
const HORIZONTAL: &str = "horizontal";

/// The endpoints of scaling policies.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/scaling/policies", get(list))
        .route("/v1/scaling/policy/{id}", get(policy))
}

fn index(snapshot: &Snapshot) -> u64 {
    snapshot.jobs.table_index(Table::Jobs)
}

/// `GET /v1/scaling/policies`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let job = query.get("job").filter(|job| !job.is_empty());
    let kind = query.get("type").unwrap_or_default();
    let view = |snapshot: &Snapshot| {
        let jobs = snapshot.jobs.jobs(query.namespace.as_deref(), "");
        let stubs: Vec<ScalingPolicyStub> = jobs
            .filter(|row| job.is_none_or(|id| row.id == id) && HORIZONTAL.starts_with(kind))
            .flat_map(|row| wire::policies(row))
            .filter(|policy| policy.id.starts_with(query.prefix.as_str()))
            .map(|policy| ScalingPolicyStub::from(&policy))
            .collect();
        Ok(stubs)
    };
    api.read(&query, [Topic::Jobs(Table::Jobs)], index, view)
        .await
}

/// `GET /v1/scaling/policy/:id`
async fn policy(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let view = |snapshot: &Snapshot| {
        let jobs = snapshot.jobs.jobs(None, "");
        let found: Option<ScalingPolicy> = jobs
            .flat_map(|row| wire::policies(row))
            .find(|policy| policy.id == id);
        found.ok_or_else(|| Error::not_found("policy not found"))
    };
    api.read(&query, [Topic::Jobs(Table::Jobs)], index, view)
        .await
}
