//! `deployment promote`, and what `job promote` shares with it.

use super::{Ways, follow};
use crate::{context::Context, http::segment, lookup};
use anyhow::Context as _;
use jobs::model::{Deployment, GroupName};
use jobs::wire::{DeploymentPromoteRequest, DeploymentUpdateResponse};
use std::fmt::Display;

/// Arguments of `deployment promote`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning
    id: String,
    /// Promote this group only; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let current = lookup::deployment(cx, &arguments.id).await?;
    let ways = Ways {
        detach: arguments.detach,
        verbose: arguments.verbose,
    };
    let promoting = "Error promoting deployment";
    promote(cx, &current, &arguments.group, ways, promoting).await
}

/// Promotes the canaries of a deployment; `failing` begins the error's text.
///
/// # Errors
/// When the agent refuses.
pub(crate) async fn promote(
    cx: &mut Context,
    current: &Deployment,
    groups: &[String],
    ways: Ways,
    failing: impl Display + Send + Sync + 'static,
) -> anyhow::Result<u8> {
    let request = DeploymentPromoteRequest {
        deployment_id: current.id.to_string(),
        all: groups.is_empty(),
        groups: groups.iter().map(GroupName::from).collect(),
    };
    let http = cx.http.in_namespace(&current.namespace);
    let path = format!("/v1/deployment/promote/{}", segment(current.id));
    let answer: DeploymentUpdateResponse = http.put(&path, &[], &request).await.context(failing)?;
    follow(cx, current, answer.eval_id, ways).await
}
