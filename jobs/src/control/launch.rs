//! Jobs that are launched of others: at set times, by hand, or with what a request gives.

use super::triggers;
use crate::{
    ids::Ids,
    model::{
        Job, JobId, JobKey, JobStatus, PAYLOAD_BYTES_MAX, Timestamp, Trigger, launch_time,
        periodic_id, whole_seconds,
    },
    state::{Command, RegisterJob, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

/// Bounds of a job's priority.
const PRIORITIES: RangeInclusive<i32> = 1..=100;

/// What a request gives to a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// In Base64.
    pub payload: String,
    /// Its length before that, bytes.
    pub payload_bytes: usize,
    /// Labels beside those of the job.
    pub meta: BTreeMap<String, String>,
    /// Stands in the child's id before the time; empty for nothing.
    pub id_prefix: String,
    /// Priority of the child instead of the job's.
    pub priority: Option<i32>,
    /// Makes the launch unique among those of the job; empty for nothing.
    pub idempotency_token: String,
}

/// Why nothing is launched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// There is no such job.
    #[error("job not found")]
    NoJob,
    /// The job is not launched at set times.
    #[error("can't force launch non-periodic job")]
    NotPeriodic,
    /// The job is stopped or paused, or takes something first.
    #[error("force launch for job {job:?} failed: it is stopped, paused or parameterized")]
    Resting {
        /// The job.
        job: JobId,
    },
    /// There is no such job to be launched with something.
    #[error("parameterized job not found")]
    NoParameterized,
    /// The job takes nothing.
    #[error("Specified job {job:?} is not a parameterized job")]
    NotParameterized {
        /// The job.
        job: JobId,
    },
    /// The job was stopped.
    #[error("Specified job {job:?} is stopped")]
    Stopped {
        /// The job.
        job: JobId,
    },
    /// What the request gives does not suit the job: every problem.
    #[error("{}", .0.join("; "))]
    Unsuitable(Vec<String>),
}

/// What comes of a request to launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Launch {
    /// A child, by this command.
    New {
        /// Its id.
        child: JobId,
        /// Registers it.
        command: Box<Command>,
    },
    /// The child that was launched with the same token before.
    Known(Arc<Job>),
}

/// Launches a job with what the request gives.
///
/// # Errors
/// [`LaunchError`]: the job is launched otherwise or not at all, or takes something else.
pub fn dispatch(
    state: &Snapshot,
    now: Timestamp,
    key: &JobKey,
    request: Dispatch,
    ids: &mut Ids,
) -> Result<Launch, LaunchError> {
    let job = state.job(key).ok_or(LaunchError::NoParameterized)?;
    if !job.is_parameterized() {
        return Err(LaunchError::NotParameterized {
            job: key.id.clone(),
        });
    }
    if job.stop {
        return Err(LaunchError::Stopped {
            job: key.id.clone(),
        });
    }
    let problems = problems(job, &request);
    if !problems.is_empty() {
        return Err(LaunchError::Unsuitable(problems));
    }
    if let Some(child) = state.launched_with(key, &request.idempotency_token) {
        return Ok(Launch::Known(Arc::clone(child)));
    }
    let prefix = match request.id_prefix.as_str() {
        "" => String::new(),
        prefix => format!("{prefix}-"),
    };
    let (time, tail) = (whole_seconds(now), ids.next_choice() >> 32);
    let id = JobId::from(format!("{}/dispatch-{prefix}{time}-{tail:08x}", key.id));
    let mut child = child(job, id.clone(), now);
    child.dispatched = true;
    child.dispatch_idempotency_token = request.idempotency_token;
    child.payload = request.payload;
    child.priority = request.priority.unwrap_or(job.priority);
    child.meta.extend(request.meta);
    Ok(Launch::New {
        child: id,
        command: Box::new(register(child, Trigger::JobRegister, now, ids)),
    })
}

/// What a request lacks, or gives too much, in the order of its fields.
fn problems(job: &Job, request: &Dispatch) -> Vec<String> {
    let block = job
        .parameterized_job
        .as_deref()
        .cloned()
        .unwrap_or_default();
    let mut problems = Vec::new();
    let bytes = request.payload_bytes;
    if block.payload == "required" && bytes == 0 {
        problems.push("Payload is not provided but required by parameterized job".to_owned());
    }
    if block.payload == "forbidden" && bytes > 0 {
        problems.push("Payload provided but forbidden by parameterized job".to_owned());
    }
    if bytes > PAYLOAD_BYTES_MAX {
        problems.push(format!(
            "Payload exceeds maximum size; {bytes} > {PAYLOAD_BYTES_MAX}"
        ));
    }
    let required: BTreeSet<&String> = block.meta_required.iter().flatten().collect();
    let optional: BTreeSet<&String> = block.meta_optional.iter().flatten().collect();
    let given = request.meta.keys();
    let surplus: Vec<&str> = given
        .filter(|key| !required.contains(key) && !optional.contains(key))
        .map(String::as_str)
        .collect();
    if !surplus.is_empty() {
        problems.push(format!(
            "Dispatch request included unpermitted metadata keys: [{}]",
            surplus.join(" ")
        ));
    }
    let missing: Vec<&str> = required
        .into_iter()
        .filter(|key| !request.meta.contains_key(*key))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        problems.push(format!(
            "Dispatch did not provide required meta keys: [{}]",
            missing.join(" ")
        ));
    }
    if request
        .priority
        .is_some_and(|priority| !PRIORITIES.contains(&priority))
    {
        let (least, most) = (PRIORITIES.start(), PRIORITIES.end());
        problems.push(format!(
            "dispatch job priority must be between [{least}, {most}]"
        ));
    }
    if request.id_prefix.contains([' ', '\0']) {
        problems.push("the id prefix contains a space or a null character".to_owned());
    }
    problems
}

/// Launches a job now that is launched at set times, whatever runs of it. The child's id tells a
/// second that no other child has.
///
/// # Errors
/// [`LaunchError::NoJob`], [`LaunchError::NotPeriodic`] and [`LaunchError::Resting`].
pub fn force(
    state: &Snapshot,
    now: Timestamp,
    key: &JobKey,
    ids: &mut Ids,
) -> Result<Command, LaunchError> {
    let job = state.job(key).ok_or(LaunchError::NoJob)?;
    if job.periodic.is_none() {
        return Err(LaunchError::NotPeriodic);
    }
    if job.launches().is_none() {
        return Err(LaunchError::Resting {
            job: key.id.clone(),
        });
    }
    let taken: BTreeSet<Timestamp> = state
        .children(key)
        .filter_map(|job| launch_time(job))
        .collect();
    let mut at = Timestamp::from_secs(whole_seconds(now));
    while taken.contains(&at) {
        at += Duration::from_secs(1);
    }
    Ok(at_time(job, at, now, ids))
}

/// The command that launches a job at a set time; refused when that happened before.
pub(super) fn at_time(job: &Job, at: Timestamp, now: Timestamp, ids: &mut Ids) -> Command {
    let mut child = child(job, periodic_id(&job.id, at), now);
    child.periodic = None;
    register(child, Trigger::PeriodicJob, now, ids)
}

/// True when something that was launched of the job is not over.
pub(super) fn has_live_children(state: &Snapshot, key: &JobKey) -> bool {
    let mut children = state.children(key);
    children.any(|child| child.status != JobStatus::Dead)
}

/// The job as a child of itself.
fn child(job: &Job, id: JobId, now: Timestamp) -> Job {
    Job {
        name: id.to_string(),
        id,
        parent_id: Some(job.id.clone()),
        status: JobStatus::default(),
        status_description: String::new(),
        stable: false,
        version: 0,
        version_tag: None,
        submit_time: now,
        create_index: 0,
        modify_index: 0,
        job_modify_index: 0,
        ..job.clone()
    }
}

/// Registers a child that must not be there, with the evaluation that places it. A child that
/// never runs itself needs none.
fn register(child: Job, trigger: Trigger, now: Timestamp, ids: &mut Ids) -> Command {
    let eval = (!child.is_parent()).then(|| triggers::for_job(&child, trigger, now, ids));
    Command::RegisterJob(Box::new(RegisterJob {
        job: child,
        eval,
        enforce_index: Some(0),
        ..RegisterJob::default()
    }))
}
