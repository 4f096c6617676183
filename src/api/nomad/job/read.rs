//! Reading one job and what belongs to it.

use axum::response::Response;
use jobs::{
    model::{Index, JobKey},
    state::Table,
    wire,
};

use super::{Action, actions, launch, scale, versions};
use crate::{
    Api,
    error::Error,
    nomad::{alloc::stub, query::Query},
};
use server::{Snapshot, log::watch::Topic};

/// Every `GET` below `/v1/job/`.
pub(super) async fn get(
    api: &Api,
    query: &Query,
    key: JobKey,
    action: Action,
) -> Result<Response, Error> {
    match action {
        Action::Job => read(api, query, key).await,
        Action::Actions => actions::list(api, query, key).await,
        Action::Allocations => allocations(api, query, key).await,
        Action::Evaluations => evaluations(api, query, key).await,
        Action::Deployments => deployments(api, query, key).await,
        Action::Deployment => deployment(api, query, key).await,
        Action::Summary => summary(api, query, key).await,
        Action::Versions => versions::list(api, query, key).await,
        Action::Submission => versions::submission(api, query, key).await,
        Action::Scale => scale::status(api, query, key).await,
        Action::Payload => launch::payload(api, &key),
        _ => Err(Error::method()),
    }
}

async fn read(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let find = |snapshot: &Snapshot| {
        let job = snapshot.jobs.job(&key)?;
        Some((job.modify_index, job.clone()))
    };
    let show = |_: &Snapshot, job| wire::Complete(job, &wire::shapes::JOB);
    let of = (Topic::Job(key.clone()), Table::Jobs);
    api.read_row(query, of, find, show, "job not found").await
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
    let find = |snapshot: &Snapshot| {
        let summary = snapshot.jobs.summary(&key)?;
        Some((summary.modify_index, summary.clone()))
    };
    let show = |_: &Snapshot, summary| wire::Complete(summary, &wire::shapes::JOB_SUMMARY);
    let of = (Topic::Job(key.clone()), Table::Summaries);
    api.read_row(query, of, find, show, "job not found").await
}
