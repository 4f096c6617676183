//! How canaries get their share of the requests: looking at it, and moving it.

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use jobs::{
    control::rollout::{Act, Asked, Counts, Standing},
    model::{Deployment, DeploymentKind, Evidence, GroupName, Rollout, Share},
};
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    body::Raw,
    error::Error,
    nomad::{query::Query, row_id::RowId},
};

/// Longest reason or name of who asks, bytes.
const TEXT_MAX: usize = 512;

/// A rollout as it stands, by group.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    deployment: &'a Deployment,
    groups: Vec<Group<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Group<'a> {
    group: &'a GroupName,
    /// None while nothing was decided.
    rollout: Option<&'a Rollout>,
    /// What only the leader knows; none if nothing is judged here.
    standing: Option<Now>,
}

/// How it stands now.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Now {
    /// The share of canaries that can be used, in millionths.
    effective_millionths: u64,
    canary: Side,
    stable: Side,
    /// How much of the time of the step has passed, and how long it lasts; milliseconds.
    elapsed_ms: u64,
    hold_ms: u64,
    /// So many good attempts of canaries are missing to pass the step.
    attempts_missing: u64,
    /// Metrics and hooks that must still speak for the canaries, such as `metric errors`.
    awaited: Vec<String>,
    evidence: Vec<Evidence>,
}

/// What a version did since the step began.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Side {
    attempts: u64,
    failed: u64,
    /// Microseconds; none without answers.
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    restarts: u64,
}

/// A change that is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Move {
    /// Needed if several groups have canaries.
    #[serde(default)]
    group: Option<GroupName>,
    /// `set-share`, `next`, `back` or `resume`.
    act: String,
    /// Percent, for `set-share`.
    #[serde(default)]
    share: Option<String>,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    reason: String,
    /// Refused if the rollout is at another one; none for whichever.
    #[serde(default)]
    revision: Option<u64>,
}

fn side(counts: &Counts, restarts: u64) -> Side {
    Side {
        attempts: counts.attempts,
        failed: counts.failed,
        p50_us: counts.times.quantile(500),
        p99_us: counts.times.quantile(990),
        restarts,
    }
}

fn now(standing: &Standing) -> Now {
    let ms = |span: jobs::model::Span| u64::try_from(span.as_nanos() / 1_000_000).unwrap_or(0);
    Now {
        effective_millionths: standing.effective,
        canary: side(&standing.totals.canary, standing.restarts.0),
        stable: side(&standing.totals.stable, standing.restarts.1),
        elapsed_ms: ms(standing.elapsed),
        hold_ms: ms(standing.hold),
        attempts_missing: standing.attempts_missing,
        awaited: standing.awaited.clone(),
        evidence: standing.table.clone(),
    }
}

/// `GET /v1/trivet/rollout/:deployment`
pub(super) async fn read(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
) -> Result<Response, Error> {
    let server = api.server();
    let snapshot = server.snapshot();
    let deployment = snapshot
        .jobs
        .deployment(id)
        .ok_or_else(|| Error::not_found("deployment not found"))?;
    let groups = deployment.task_groups.iter();
    let groups = groups
        .filter(|(_, group)| group.desired_canaries > 0)
        .map(|(name, group)| Group {
            group: name,
            rollout: group.rollout.as_deref(),
            standing: server.rollout_standing(id, name).as_ref().map(now),
        });
    query.json(&Shown {
        deployment,
        groups: groups.collect(),
    })
}

/// `GET /v1/trivet/rollout/:deployment/record?group=…`
pub(super) async fn record(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
) -> Result<Response, Error> {
    let group = query.get("group").map(GroupName::from);
    let text = api.server().rollout_record(id, group.as_ref());
    let text = text.ok_or_else(|| {
        Error::not_found("nothing was recorded of it, or this server does not know it any more")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response())
}

/// `PUT /v1/trivet/rollout/:deployment`
pub(super) async fn change(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: Move = body.json()?;
    if request.actor.len() > TEXT_MAX || request.reason.len() > TEXT_MAX {
        let message = format!("Actor and Reason may have {TEXT_MAX} bytes each");
        return Err(Error::bad_request(message));
    }
    let act = match (request.act.as_str(), &request.share) {
        ("set-share", Some(share)) => Act::SetShare(
            Share::parse(share).map_err(|what| Error::bad_request(format!("Share {what}")))?,
        ),
        ("set-share", None) => return Err(Error::bad_request("set-share needs a Share")),
        ("next", None) => Act::Next,
        ("back", None) => Act::Back,
        ("resume", None) => Act::Resume,
        ("next" | "back" | "resume", Some(_)) => {
            return Err(Error::bad_request("only set-share takes a Share"));
        }
        _ => {
            let message = "Act must be set-share, next, back or resume";
            return Err(Error::bad_request(message));
        }
    };
    let asked = Asked {
        actor: if request.actor.is_empty() {
            "operator".to_owned()
        } else {
            request.actor
        },
        reason: request.reason,
        revision: request.revision,
    };
    let group = request.group.as_ref();
    let written = api.server().move_rollout(id, group, act, &asked).await?;
    let snapshot = api.server().snapshot();
    query.written(
        written.index,
        &snapshot.jobs.deployment(id).map(|row| &**row),
    )
}
