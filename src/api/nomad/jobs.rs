//! Reading jobs and what belongs to them, and telling the calls below `/v1/job/` apart.

use axum::{
    extract::{FromRequest as _, Path, Request, State},
    http::Method,
    response::Response,
};
use jobs::{
    model::{Index, Job, JobKey},
    state::Table,
    wire,
};
use std::sync::Arc;

use super::{allocations::stub, plan, registration, scaling, versions};
use crate::{
    api::{Api, body::Raw, error::Error, page::Page, query::Query},
    server::{Snapshot, log::watch::Topic},
};

/// `GET /v1/jobs`
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let with_meta = query.flag("meta")?;
    let topics = [Topic::Jobs(Table::Jobs), Topic::Jobs(Table::Summaries)];
    let view = |snapshot: &Snapshot| -> Result<Page<wire::Complete<wire::JobListStub>>, Error> {
        let rows = snapshot
            .jobs
            .jobs(query.namespace.as_deref(), &query.prefix);
        let page = query.page(rows, |job: &&Arc<Job>| {
            (job.namespace.clone(), job.id.clone())
        })?;
        Ok(page.map(|job| {
            let summary = snapshot.jobs.summary(&job.key());
            let stub = wire::JobListStub::new(job, summary.map(|summary| &**summary), with_meta);
            wire::Complete(stub, &wire::shapes::JOB_STUB)
        }))
    };
    api.read_page(&query, topics, list_index, view).await
}

fn list_index(snapshot: &Snapshot) -> Index {
    let of = |table| snapshot.jobs.table_index(table);
    of(Table::Jobs).max(of(Table::Summaries))
}

/// What is asked of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Job,
    Allocations,
    Deployment,
    Deployments,
    Evaluate,
    Evaluations,
    Plan,
    Revert,
    Scale,
    Stable,
    Submission,
    Summary,
    Versions,
    /// The original has it, this version does not.
    Absent,
}

/// Ends of paths below `/v1/job/`. The longer of two that match comes first.
const ACTIONS: [(&str, Action); 18] = [
    ("/dispatch/payload", Action::Absent),
    ("/periodic/force", Action::Absent),
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
    ("/dispatch", Action::Absent),
    ("/services", Action::Absent),
    ("/actions", Action::Absent),
    ("/action", Action::Absent),
];

/// Takes `ID/action` apart; the id may hold `/` itself.
fn split(path: &str) -> (&str, Action) {
    if path.ends_with("/tag") && path.contains("/versions/") {
        return (path, Action::Absent);
    }
    ACTIONS
        .iter()
        .find_map(|(end, action)| Some((path.strip_suffix(end)?, *action)))
        .unwrap_or((path, Action::Job))
}

/// Every call below `/v1/job/`.
pub(super) async fn dispatch(
    State(api): State<Api>,
    Path(path): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, Error> {
    let (id, action) = split(&path);
    if action == Action::Absent {
        return Err(Error::absent(&format!("/v1/job/{path}")));
    }
    if id.is_empty() {
        return Err(Error::bad_request("Missing job ID"));
    }
    let key = JobKey::new(query.one_namespace()?, id);
    let method = request.method().clone();
    if method == Method::GET || method == Method::HEAD {
        return get(&api, &query, key, action).await;
    }
    let body = Raw::from_request(request, &()).await?;
    if method == Method::DELETE && action == Action::Job {
        return registration::deregister(&api, &query, key).await;
    }
    if method != Method::PUT && method != Method::POST {
        return Err(Error::method());
    }
    match action {
        Action::Job => registration::register_at(&api, &query, &key, &body).await,
        Action::Plan => plan::plan(&api, &query, key, &body).await,
        Action::Evaluate => registration::evaluate(&api, &query, key, &body).await,
        Action::Revert => versions::revert(&api, &query, key, &body).await,
        Action::Stable => versions::mark_stable(&api, &query, key, &body).await,
        Action::Scale => scaling::scale(&api, &query, key, &body).await,
        _ => Err(Error::method()),
    }
}

async fn get(api: &Api, query: &Query, key: JobKey, action: Action) -> Result<Response, Error> {
    match action {
        Action::Job => read(api, query, key).await,
        Action::Allocations => allocations(api, query, key).await,
        Action::Evaluations => evaluations(api, query, key).await,
        Action::Deployments => deployments(api, query, key).await,
        Action::Deployment => deployment(api, query, key).await,
        Action::Summary => summary(api, query, key).await,
        Action::Versions => versions::list(api, query, key).await,
        Action::Submission => versions::submission(api, query, key).await,
        Action::Scale => scaling::status(api, query, key).await,
        _ => Err(Error::method()),
    }
}

async fn read(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| {
        let jobs = &snapshot.jobs;
        jobs.job(&key)
            .map_or_else(|| jobs.table_index(Table::Jobs), |job| job.modify_index)
    };
    let view = |snapshot: &Snapshot| {
        let job = snapshot.jobs.job(&key).cloned();
        job.map(|job| wire::Complete(job, &wire::shapes::JOB))
            .ok_or_else(no_job)
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

/// The published text of a missing job.
pub(super) fn no_job() -> Error {
    Error::not_found("job not found")
}

/// Whether rows of an earlier job with the same id are wanted too.
fn of_this_job(
    snapshot: &Snapshot,
    query: &Query,
    key: &JobKey,
) -> Result<impl Fn(Index) -> bool + use<>, Error> {
    let all = query.flag("all")?;
    let since = snapshot.jobs.job(key).map(|job| job.create_index);
    Ok(move |create_index| all || since.is_none_or(|since| create_index >= since))
}

async fn allocations(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let options = wire::StubOptions::default();
    let index_of = |snapshot: &Snapshot| {
        let rows = snapshot.jobs.allocs_of_job(&key);
        let newest = rows.map(|alloc| alloc.modify_index).max();
        newest.unwrap_or_else(|| snapshot.jobs.table_index(Table::Allocs))
    };
    let view = |snapshot: &Snapshot| -> Result<Vec<_>, Error> {
        let wanted = of_this_job(snapshot, query, &key)?;
        let rows = snapshot.jobs.allocs_of_job(&key);
        let rows = rows.filter(|alloc| wanted(alloc.job.create_index));
        Ok(rows.map(|alloc| stub(alloc, options)).collect())
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

async fn evaluations(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| {
        let rows = snapshot.jobs.evals_of_job(&key);
        let newest = rows.map(|eval| eval.modify_index).max();
        newest.unwrap_or_else(|| snapshot.jobs.table_index(Table::Evals))
    };
    let view = |snapshot: &Snapshot| {
        let mut rows: Vec<_> = snapshot.jobs.evals_of_job(&key).cloned().collect();
        rows.sort_by_key(|eval| std::cmp::Reverse(eval.create_index));
        Ok(rows)
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

fn deployments_index(snapshot: &Snapshot, key: &JobKey) -> Index {
    let rows = snapshot.jobs.deployments_of_job(key);
    let newest = rows.map(|deployment| deployment.modify_index).max();
    newest.unwrap_or_else(|| snapshot.jobs.table_index(Table::Deployments))
}

async fn deployments(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| deployments_index(snapshot, &key);
    let view = |snapshot: &Snapshot| -> Result<Vec<_>, Error> {
        let wanted = of_this_job(snapshot, query, &key)?;
        let rows = snapshot.jobs.deployments_of_job(&key);
        let rows = rows.filter(|deployment| wanted(deployment.job_create_index));
        let mut rows: Vec<_> = rows.cloned().collect();
        rows.sort_by_key(|deployment| std::cmp::Reverse(deployment.create_index));
        Ok(rows)
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

async fn deployment(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| deployments_index(snapshot, &key);
    let view = |snapshot: &Snapshot| {
        let wanted = of_this_job(snapshot, query, &key)?;
        let latest = snapshot.jobs.latest_deployment(&key).cloned();
        Ok(latest.filter(|deployment| wanted(deployment.job_create_index)))
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

async fn summary(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| {
        let jobs = &snapshot.jobs;
        jobs.summary(&key).map_or_else(
            || jobs.table_index(Table::Summaries),
            |summary| summary.modify_index,
        )
    };
    let view = |snapshot: &Snapshot| {
        let summary = snapshot.jobs.summary(&key).cloned();
        summary
            .map(|summary| wire::Complete(summary, &wire::shapes::JOB_SUMMARY))
            .ok_or_else(no_job)
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
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
        assert_eq!(split("web/periodic/force").1, Action::Absent);
        assert_eq!(split("web/versions/v1/tag").1, Action::Absent);
        assert_eq!(split("/plan"), ("", Action::Plan));
    }
}
