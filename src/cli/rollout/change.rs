//! `rollout set-share`, `next`, `back` and `resume`.

use crate::{
    context::Context,
    http::{decode, segment},
    lookup,
    render::rollouts,
};
use anyhow::Context as _;
use jobs::model::Deployment;
use serde::Serialize;

/// Arguments of commands that move a rollout.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning, or the name of the job
    of: String,
    /// Task group; needed if several have canaries
    #[arg(long)]
    group: Option<String>,
    /// Why; shown with the change
    #[arg(long, default_value = "")]
    reason: String,
    /// Who asks; shown with the change
    #[arg(long, env = "USER", default_value = "operator")]
    actor: String,
}

/// Arguments of `rollout set-share`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SetShare {
    #[command(flatten)]
    common: Arguments,
    /// Percent of the requests, from 0 to 100, such as `5` or `0.25`
    share: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Move<'a> {
    group: Option<&'a str>,
    act: &'a str,
    share: Option<&'a str>,
    actor: &'a str,
    reason: &'a str,
}

pub(super) async fn set_share(cx: &mut Context, arguments: &SetShare) -> anyhow::Result<u8> {
    run(cx, &arguments.common, "set-share", Some(&arguments.share)).await
}

pub(super) async fn run(
    cx: &mut Context,
    arguments: &Arguments,
    act: &str,
    share: Option<&str>,
) -> anyhow::Result<u8> {
    let current = lookup::deployment_or_job(cx, &arguments.of).await?;
    let request = Move {
        group: arguments.group.as_deref(),
        act,
        share,
        actor: &arguments.actor,
        reason: &arguments.reason,
    };
    let path = format!("/v1/trivet/rollout/{}", segment(current.id));
    let http = cx.http.in_namespace(&current.namespace);
    let answer = http.put_value(&path, &[], &request).await;
    let answer = answer.context("Error moving the rollout")?;
    let changed: Deployment = decode(&path, answer)?;
    cx.print(&rollouts::lines(&changed))?;
    Ok(0)
}
