//! `deployment fail`: gives a deployment up.

use super::{ActArguments, follow};
use crate::{context::Context, http::segment, lookup, view::quoted};
use anyhow::Context as _;
use jobs::wire::{DeploymentFailRequest, DeploymentUpdateResponse};

pub(super) async fn run(cx: &mut Context, arguments: &ActArguments) -> anyhow::Result<u8> {
    let current = lookup::deployment(cx, &arguments.id).await?;
    let request = DeploymentFailRequest {
        deployment_id: current.id.to_string(),
    };
    let path = format!("/v1/deployment/fail/{}", segment(current.id));
    let http = cx.http.in_namespace(&current.namespace);
    let answer: DeploymentUpdateResponse = http
        .put(&path, &[], &request)
        .await
        .context("Error failing deployment")?;
    let id = quoted(current.id.to_string());
    cx.print(&match answer.reverted_job_version {
        None => format!("Deployment {id} failed"),
        Some(version) => {
            format!("Deployment {id} failed. Auto-reverted to job version {version}.")
        }
    })?;
    if !arguments.detach {
        cx.print("")?;
    }
    // The deployment itself has just failed, so the code is that of the evaluation's own outcome.
    follow(cx, &current, answer.eval_id, arguments.ways()).await
}
