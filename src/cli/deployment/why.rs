//! `deployment why`: the reasons of every hold and abort.

use crate::{context::Context, lookup, render::rollouts};

/// Arguments of `deployment why`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning, or the name of the job
    id: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let current = lookup::deployment_or_job(cx, &arguments.id).await?;
    let view = cx.view(false);
    cx.print(&rollouts::why(&current, &view))?;
    Ok(0)
}
