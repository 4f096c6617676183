//! From what a user types to the object meant: ids by prefix, ambiguities as tables.

use super::context::Context;
use super::http::{Error, segment};
use super::render::{
    allocations as allocation_rows, deployments, evaluations, jobs as job_rows, nodes,
};
use super::view::{View, escaped};
use anyhow::{Context as _, anyhow, bail};
use jobs::model::{Deployment, Evaluation};
use jobs::wire::{Allocation, AllocationListStub, JobListStub, NodeListStub};
use serde_json::Value;

/// Length of a whole id.
const ID_LENGTH: usize = 36;
/// How many jobs are asked for when looking for one.
const JOBS_PER_PAGE: &str = "20";

/// A prefix of an id as the API takes it: hyphens stay, an odd digit at the end goes.
fn id_prefix(text: &str) -> anyhow::Result<String> {
    if text.chars().count() == 1 {
        bail!("Identifier must contain at least two characters.");
    }
    let digits = text.chars().filter(|c| *c != '-').count();
    let mut prefix = text.to_owned();
    if digits % 2 == 1 {
        prefix.pop();
    }
    Ok(prefix)
}

/// Which jobs may be meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// All.
    Any,
    /// Those that are launched at set times.
    Periodic,
    /// Those that are launched on request, and no children.
    Parameterized,
}

impl Kind {
    /// How the API is asked for them; none for all.
    fn filter(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::Periodic => Some("Periodic is not nil"),
            Self::Parameterized => Some(r#"ParentID == "" and ParameterizedJob is not nil"#),
        }
    }

    /// How messages call them.
    fn called(self) -> &'static str {
        match self {
            Self::Any => "job(s)",
            Self::Periodic => "periodic job(s)",
            Self::Parameterized => "parameterized job(s)",
        }
    }
}

/// The job whose id is or begins with `id`.
///
/// # Errors
/// When none or several match, or the agent does not answer.
pub(super) async fn job(cx: &Context, id: &str) -> anyhow::Result<JobListStub> {
    job_of(cx, id, Kind::Any).await
}

/// As [`job`], among those of a kind.
///
/// # Errors
/// As [`job`].
pub(super) async fn job_of(cx: &Context, id: &str, kind: Kind) -> anyhow::Result<JobListStub> {
    let mut query = vec![("prefix", id), ("per_page", JOBS_PER_PAGE)];
    query.extend(kind.filter().map(|filter| ("filter", filter)));
    let jobs: Vec<JobListStub> = match cx.http.get("/v1/jobs", &query).await {
        Ok(jobs) => jobs,
        // Without the right to list, the id must be the whole one.
        Err(Error::Status { status: 403, .. }) => {
            return Ok(JobListStub {
                id: id.into(),
                namespace: cx.namespace.clone().unwrap_or_default().into(),
                ..JobListStub::default()
            });
        }
        Err(error) => return Err(error).context("Error querying job prefix"),
    };
    let exact = jobs.iter().filter(|job| job.id == id).count();
    match jobs.as_slice() {
        [] => bail!("No {} with prefix or ID {id:?} found", kind.called()),
        [only] => Ok(only.clone()),
        [first, ..] if first.id == id && exact == 1 => Ok(first.clone()),
        _ => bail!(
            "Prefix matched multiple jobs\n\n{}",
            job_rows::list(&jobs, true, &cx.view(false))
        ),
    }
}

/// Allocations whose id begins with `id`.
///
/// # Errors
/// When none match, or the agent does not answer.
pub(super) async fn allocations(cx: &Context, id: &str) -> anyhow::Result<Vec<AllocationListStub>> {
    let prefix = id_prefix(id)?;
    let found: Vec<AllocationListStub> = cx
        .http
        .get("/v1/allocations", &[("prefix", &prefix)])
        .await
        .context("Error querying allocation")?;
    if found.is_empty() {
        bail!("No allocation(s) with prefix or id {id:?} found");
    }
    Ok(found)
}

/// The allocation whose id begins with `id`, as the API's object.
///
/// # Errors
/// When none or several match, or the agent does not answer.
pub(super) async fn allocation(cx: &Context, id: &str, view: &View) -> anyhow::Result<Allocation> {
    let found = allocations(cx, id).await?;
    let [one] = found.as_slice() else {
        bail!(
            "Prefix matched multiple allocations\n\n{}",
            allocation_rows::list(&found, view)
        );
    };
    let value = allocation_value(cx, one).await?;
    Ok(super::http::decode("/v1/allocation", value)?)
}

/// The API's object of a list entry.
///
/// # Errors
/// When the agent does not answer.
pub(super) async fn allocation_value(
    cx: &Context,
    stub: &AllocationListStub,
) -> anyhow::Result<Value> {
    cx.http
        .in_namespace(&stub.namespace)
        .get_value(&format!("/v1/allocation/{}", segment(stub.id)), &[])
        .await
        .context("Error querying allocation")
}

/// The newest allocation of a job that runs, or else the newest one.
///
/// # Errors
/// When the job has none, or the agent does not answer.
pub(super) async fn allocation_of_job(
    cx: &Context,
    job: &str,
    group: Option<&str>,
) -> anyhow::Result<Allocation> {
    let job = self::job(cx, job).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let mut allocs: Vec<AllocationListStub> = http
        .get(&format!("/v1/job/{}/allocations", segment(&job.id)), &[])
        .await
        .context("Error fetching allocations")?;
    allocs.retain(|alloc| group.is_none_or(|group| alloc.task_group == group));
    let newest = allocs
        .iter()
        .max_by_key(|alloc| {
            let running = alloc.client_status == jobs::model::ClientStatus::Running;
            (running, alloc.create_index)
        })
        .ok_or_else(|| anyhow!("No running allocations found for job {}", escaped(&job.id)))?;
    let value = allocation_value(cx, newest).await?;
    Ok(super::http::decode("/v1/allocation", value)?)
}

/// The node whose id begins with `id`.
///
/// # Errors
/// When none or several match, or the agent does not answer.
pub(super) async fn node(cx: &Context, id: &str) -> anyhow::Result<NodeListStub> {
    let prefix = id_prefix(id)?;
    let found: Vec<NodeListStub> = cx
        .http
        .get("/v1/nodes", &[("prefix", &prefix)])
        .await
        .context("Error querying node info")?;
    match found.as_slice() {
        [] => bail!("No node(s) with prefix {id:?} found"),
        [only] => Ok(only.clone()),
        _ => bail!(
            "Prefix matched multiple nodes\n\n{}",
            nodes::list(&found, nodes::Columns::default(), &cx.view(false))
        ),
    }
}

/// The evaluation whose id begins with `id`.
///
/// # Errors
/// When none or several match, or the agent does not answer.
pub(super) async fn evaluation(cx: &Context, id: &str) -> anyhow::Result<Evaluation> {
    let prefix = id_prefix(id)?;
    let mut found: Vec<Evaluation> = cx
        .http
        .get("/v1/evaluations", &[("prefix", &prefix)])
        .await
        .context("Error querying evaluation")?;
    match found.len() {
        0 => bail!("No evaluation(s) with prefix or id {id:?} found"),
        1 => Ok(found.remove(0)),
        _ => bail!(
            "Prefix matched multiple evaluations\n\n{}",
            evaluations::list(&found, &cx.view(false))
        ),
    }
}

/// The deployment whose id is or begins with `id`, as the API's object.
///
/// # Errors
/// When none or several match, or the agent does not answer.
pub(super) async fn deployment_value(cx: &Context, id: &str) -> anyhow::Result<Value> {
    let retrieving = "Error retrieving deployment";
    if id.chars().count() == ID_LENGTH {
        let path = format!("/v1/deployment/{}", segment(id));
        return cx.http.get_value(&path, &[]).await.context(retrieving);
    }
    let prefix = id_prefix(&id.replace('-', "")).context(retrieving)?;
    let found = cx
        .http
        .get_value("/v1/deployments", &[("prefix", &prefix)])
        .await
        .context(retrieving)?;
    let Value::Array(mut found) = found else {
        bail!("{retrieving}: the agent sent no list");
    };
    match found.len() {
        0 => bail!("{retrieving}: Deployment ID {id:?} matched no deployments"),
        1 => Ok(found.remove(0)),
        _ => {
            let found: Vec<Deployment> =
                super::http::decode("/v1/deployments", Value::Array(found))?;
            bail!(
                "Prefix matched multiple deployments\n\n{}",
                deployments::list(&found, &cx.view(false))
            )
        }
    }
}

/// The deployment whose id is or begins with `id`.
///
/// # Errors
/// As [`deployment_value`].
pub(super) async fn deployment(cx: &Context, id: &str) -> anyhow::Result<Deployment> {
    let value = deployment_value(cx, id).await?;
    Ok(super::http::decode("/v1/deployment", value)?)
}

/// The newest deployment of the job of exactly that name; else the one whose id is or begins with
/// it; else that of the job whose name begins so. What moves traffic must not take a name for the
/// beginning of an id.
///
/// # Errors
/// As [`deployment`], if there is no such job either.
pub(super) async fn deployment_or_job(cx: &Context, of: &str) -> anyhow::Result<Deployment> {
    let named = job(cx, of).await.ok();
    if let Some(job) = named.as_ref().filter(|job| job.id == of)
        && let Ok(Some(found)) = deployment_of_job(cx, job).await
    {
        return Ok(found);
    }
    let error = match deployment(cx, of).await {
        Ok(found) if found.id.to_string().starts_with(of) => return Ok(found),
        Ok(_) => anyhow!("No deployment or job with ID or prefix {of:?} found"),
        Err(error) => error,
    };
    if let Some(job) = &named
        && let Ok(Some(found)) = deployment_of_job(cx, job).await
    {
        return Ok(found);
    }
    Err(error)
}

/// The newest deployment of a job; none if it has none.
///
/// # Errors
/// When the agent does not answer.
async fn deployment_of_job(cx: &Context, job: &JobListStub) -> anyhow::Result<Option<Deployment>> {
    let path = format!("/v1/job/{}/deployment", segment(&job.id));
    let http = cx.http.in_namespace(&job.namespace);
    let found = http.get(&path, &[]).await;
    found.context("Error querying the deployment of the job")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_an_even_number_of_digits() {
        for (typed, sent) in [
            ("7ab3", "7ab3"),
            ("7ab3c", "7ab3"),
            ("7ab3c2ff-1", "7ab3c2ff-"),
            ("7ab3c2ff-12", "7ab3c2ff-12"),
        ] {
            assert_eq!(id_prefix(typed).unwrap(), sent);
        }
        assert!(id_prefix("7").is_err());
    }
}
