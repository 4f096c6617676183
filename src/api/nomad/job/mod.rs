//! Jobs: telling the calls below `/v1/job/` apart, and the list.

mod actions;
mod check;
mod deregister;
mod launch;
mod parse;
mod plan;
mod read;
mod register;
mod scale;
mod tags;
mod versions;

use axum::{
    Router,
    extract::{FromRequest as _, Path, Request, State},
    http::Method,
    response::Response,
    routing::any,
};
use jobs::{
    model::{Index, Job, JobKey},
    state::Table,
    wire,
};
use std::sync::Arc;

use super::{query::Query, write};
use crate::{Api, body::Raw, error::Error, read::page::Page};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of jobs.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/jobs", write(register::register).get(list))
        .route("/v1/jobs/parse", write(parse::parse))
        .route("/v1/validate/job", write(parse::validate))
        // An id may hold `/`, so the rest of the path is taken apart by hand.
        .route("/v1/job/{*rest}", any(dispatch))
}

/// `GET /v1/jobs`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let with_meta = query.flag("meta")?;
    let topics = [Topic::Jobs(Table::Jobs), Topic::Jobs(Table::Summaries)];
    let view = |snapshot: &Snapshot| -> Result<Page<wire::Complete<wire::JobListStub>>, Error> {
        let rows = snapshot
            .jobs
            .jobs(query.namespace.as_deref(), &query.prefix);
        let page = query.page(rows, |job: &&Arc<Job>| {
            (job.namespace.clone(), job.id.clone())
        })?;
        Ok(page.map(|job| stub(snapshot, job, with_meta)))
    };
    api.read_page(&query, topics, list_index, view).await
}

/// A job in a list.
pub(super) fn stub(
    snapshot: &Snapshot,
    job: &Job,
    with_meta: bool,
) -> wire::Complete<wire::JobListStub> {
    let summary = snapshot.jobs.summary(&job.key());
    let stub = wire::JobListStub::new(job, summary.map(|summary| &**summary), with_meta);
    wire::Complete(stub, &wire::shapes::JOB_STUB)
}

/// The index of what lists of jobs show.
pub(super) fn list_index(snapshot: &Snapshot) -> Index {
    let of = |table| snapshot.jobs.table_index(table);
    of(Table::Jobs).max(of(Table::Summaries))
}

/// What is asked of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Job,
    Actions,
    Allocations,
    Deployment,
    Deployments,
    Dispatch,
    Evaluate,
    Evaluations,
    Payload,
    PeriodicForce,
    Plan,
    Revert,
    Run,
    Scale,
    Stable,
    Submission,
    Summary,
    Versions,
    /// Known to clients, not built here.
    Absent,
}

/// Ends of paths below `/v1/job/`. The longer of two that match comes first.
const ACTIONS: [(&str, Action); 18] = [
    ("/dispatch/payload", Action::Payload),
    ("/periodic/force", Action::PeriodicForce),
    ("/allocations", Action::Allocations),
    ("/deployment", Action::Deployment),
    ("/deployments", Action::Deployments),
    ("/evaluate", Action::Evaluate),
    ("/evaluations", Action::Evaluations),
    ("/plan", Action::Plan),
    ("/revert", Action::Revert),
    ("/scale", Action::Scale),
    ("/stable", Action::Stable),
    ("/submission", Action::Submission),
    ("/summary", Action::Summary),
    ("/versions", Action::Versions),
    ("/dispatch", Action::Dispatch),
    ("/services", Action::Absent),
    ("/actions", Action::Actions),
    ("/action", Action::Run),
];

/// Takes `ID/action` apart; the id may hold `/` itself.
fn split(path: &str) -> (&str, Action) {
    ACTIONS
        .iter()
        .find_map(|(end, action)| Some((path.strip_suffix(end)?, *action)))
        .unwrap_or((path, Action::Job))
}

/// Every call below `/v1/job/`.
async fn dispatch(
    State(api): State<Api>,
    Path(path): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, Error> {
    if let Some((id, name)) = tags::split(&path) {
        let key = JobKey::new(query.one_namespace()?, id);
        let method = request.method().clone();
        let body = Raw::from_request(request, &()).await?;
        return tags::change(&api, &query, key, name, &method, &body).await;
    }
    let (id, action) = split(&path);
    if action == Action::Absent {
        return Err(Error::absent(&format!("/v1/job/{path}")));
    }
    if id.is_empty() {
        return Err(Error::bad_request("Missing job ID"));
    }
    let key = JobKey::new(query.one_namespace()?, id);
    let method = request.method().clone();
    if method == Method::GET && action == Action::Run {
        let (parts, _) = request.into_parts();
        return actions::run(&api, &query, &key, parts).await;
    }
    if method == Method::GET || method == Method::HEAD {
        return read::get(&api, &query, key, action).await;
    }
    let body = Raw::from_request(request, &()).await?;
    if method == Method::DELETE && action == Action::Job {
        return deregister::deregister(&api, &query, key).await;
    }
    if method != Method::PUT && method != Method::POST {
        return Err(Error::method());
    }
    match action {
        Action::Job => register::register_at(&api, &query, &key, body).await,
        Action::Dispatch => launch::dispatch(&api, &query, key, &body).await,
        Action::PeriodicForce => launch::force(&api, &query, &key).await,
        Action::Plan => plan::plan(&api, &query, key, body).await,
        Action::Evaluate => register::evaluate(&api, &query, key, &body).await,
        Action::Revert => versions::revert(&api, &query, key, &body).await,
        Action::Stable => versions::mark_stable(&api, &query, key, &body).await,
        Action::Scale => scale::scale(&api, &query, key, &body).await,
        _ => Err(Error::method()),
    }
}

/// The published text of a missing job.
fn no_job() -> Error {
    Error::not_found("job not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_hold_slashes_and_names_of_actions() {
        assert_eq!(split("web"), ("web", Action::Job));
        assert_eq!(split("web/plan"), ("web", Action::Plan));
        assert_eq!(split("a/b/versions"), ("a/b", Action::Versions));
        assert_eq!(
            split("batch/periodic-1700000000/summary"),
            ("batch/periodic-1700000000", Action::Summary)
        );
        assert_eq!(split("plan"), ("plan", Action::Job));
        assert_eq!(split("web/deployment"), ("web", Action::Deployment));
        assert_eq!(split("web/deployments"), ("web", Action::Deployments));
        assert_eq!(split("web/periodic/force").1, Action::PeriodicForce);
        assert_eq!(
            split("web/dispatch-1-2/dispatch/payload"),
            ("web/dispatch-1-2", Action::Payload)
        );
        assert_eq!(split("/plan"), ("", Action::Plan));
    }
}
