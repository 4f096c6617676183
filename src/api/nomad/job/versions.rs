//! Versions of a job: history, the text of one, going back, marking as stable.

use axum::response::Response;
use jobs::{
    model::{Index, Job, JobKey},
    spec,
    state::Table,
    wire,
};
use std::sync::Arc;

use super::register::registered;
use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic};

fn versions_index(snapshot: &Snapshot, key: &JobKey) -> Index {
    let newest = snapshot
        .jobs
        .versions(key)
        .iter()
        .map(|job| job.modify_index)
        .max();
    newest.unwrap_or_else(|| snapshot.jobs.table_index(Table::Jobs))
}

/// `GET /v1/job/:id/versions`
pub(super) async fn list(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let base = match query.get("diff_tag").filter(|tag| !tag.is_empty()) {
        Some(tag) => Some(Base::Tag(tag.to_owned())),
        None => query
            .number("diff_version", "diff_version is no number")?
            .map(Base::Version),
    };
    let with_diffs = query.flag("diffs")?;
    let known_leader = api.knows_leader();
    let index_of = |snapshot: &Snapshot| versions_index(snapshot, &key);
    let view = |snapshot: &Snapshot| {
        let versions = snapshot.jobs.versions(&key).to_vec();
        if versions.is_empty() {
            return Err(Error::not_found("job versions not found"));
        }
        let diffs = with_diffs
            .then(|| diffs(&versions, base.as_ref()))
            .transpose()?;
        let response = wire::JobVersionsResponse {
            versions,
            diffs,
            index: index_of(snapshot).max(1),
            last_contact: 0,
            known_leader,
        };
        Ok(wire::Complete(response, &wire::shapes::JOB_VERSIONS))
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

/// A version that all others are compared with.
#[derive(Clone, Debug)]
enum Base {
    Version(u64),
    /// The one that has this name.
    Tag(String),
}

impl Base {
    fn of<'v>(&self, versions: &'v [Arc<Job>]) -> Result<&'v Arc<Job>, Error> {
        let is_it = |job: &&Arc<Job>| match self {
            Self::Version(version) => job.version == *version,
            Self::Tag(name) => job
                .version_tag
                .as_ref()
                .is_some_and(|tag| tag.name == *name),
        };
        versions.iter().find(is_it).ok_or_else(|| {
            Error::internal(match self {
                Self::Version(version) => format!("version {version} not found"),
                Self::Tag(name) => format!("tag {name:?} not found"),
            })
        })
    }
}

/// Each version compared with the one before it, or every one with `base`.
fn diffs(versions: &[Arc<Job>], base: Option<&Base>) -> Result<Vec<wire::JobDiff>, Error> {
    let Some(base) = base else {
        let pairs = versions.iter().zip(versions.iter().skip(1));
        return Ok(pairs
            .map(|(new, old)| spec::diff(Some(old), Some(new)))
            .collect());
    };
    let old = base.of(versions)?;
    Ok(versions
        .iter()
        .map(|new| spec::diff(Some(old), Some(new)))
        .collect())
}

/// `GET /v1/job/:id/submission`
pub(super) async fn submission(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let complaint = "version must be a number";
    let version: u64 = query
        .number("version", complaint)?
        .ok_or_else(|| Error::bad_request(complaint))?;
    // A page that looks whether there is one is not refused: browsers note refusals as errors.
    let is_optional = query.switch("optional", false)?;
    let index_of = |snapshot: &Snapshot| versions_index(snapshot, &key);
    let view = |snapshot: &Snapshot| {
        let job = snapshot.jobs.version(&key, version);
        let submission = snapshot.jobs.submission(&key, version);
        match (job, submission) {
            (Some(job), Some(submission)) => Ok(Some(wire::JobSubmission::new(job, submission))),
            (Some(_), None) if is_optional => Ok(None),
            _ => Err(Error::not_found("job source not found")),
        }
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

/// `PUT /v1/job/:id/revert`
pub(super) async fn revert(
    api: &Api,
    query: &Query,
    key: JobKey,
    body: &Raw,
) -> Result<Response, Error> {
    let request: wire::JobRevertRequest = body.json()?;
    must_match(&request.job_id, &key)?;
    let version = request.job_version;
    let snapshot = api.server().snapshot();
    if snapshot.jobs.job(&key).is_some() && snapshot.jobs.version(&key, version).is_none() {
        let message = format!(
            "job {:?} in namespace {:?} at version {version} not found",
            key.id, key.namespace
        );
        return Err(Error::internal(message));
    }
    let written = api
        .server()
        .revert_job(&key, request.job_version, request.enforce_prior_version)
        .await?;
    registered(api, query, &key, written, String::new())
}

/// `PUT /v1/job/:id/stable`
pub(super) async fn mark_stable(
    api: &Api,
    query: &Query,
    key: JobKey,
    body: &Raw,
) -> Result<Response, Error> {
    let request: wire::JobStabilityRequest = body.json()?;
    must_match(&request.job_id, &key)?;
    let written = api
        .server()
        .mark_stable(&key, request.job_version, request.stable)
        .await?;
    let response = wire::JobStabilityResponse {
        job_modify_index: written.index,
        index: written.index,
    };
    query.written(written.index, &response)
}

fn must_match(id: &str, key: &JobKey) -> Result<(), Error> {
    if id.is_empty() {
        Err(Error::bad_request("JobID must be specified"))
    } else if id != key.id {
        Err(Error::bad_request("Job ID does not match"))
    } else {
        Ok(())
    }
}
