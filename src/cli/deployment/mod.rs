//! `deployment …`: how a new version replaces the old one; a file per command.

mod fail;
mod list;
mod pause;
pub(super) mod promote;
mod resume;
mod status;
mod why;

use crate::{context::Context, render::monitor};
use jobs::model::{Deployment, EvalId};

/// Look at and act on deployments.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List deployments
    List(list::Arguments),
    /// Show one deployment
    Status(status::Arguments),
    /// Make canaries normal and go on
    Promote(promote::Arguments),
    /// Give a deployment up
    Fail(ActArguments),
    /// Hold a deployment
    Pause(pause::Arguments),
    /// Go on with a held deployment
    Resume(ActArguments),
    /// Say why canaries are held or were given up, and what that rests on
    Why(why::Arguments),
}

/// Arguments of a command that starts an evaluation.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ActArguments {
    /// Deployment id or its beginning
    id: String,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => list::run(cx, &arguments).await,
        Command::Status(arguments) => Box::pin(status::run(cx, &arguments)).await,
        Command::Promote(arguments) => Box::pin(promote::run(cx, &arguments)).await,
        Command::Fail(arguments) => Box::pin(fail::run(cx, &arguments)).await,
        Command::Pause(arguments) => pause::run(cx, &arguments).await,
        Command::Resume(arguments) => Box::pin(resume::run(cx, &arguments)).await,
        Command::Why(arguments) => why::run(cx, &arguments).await,
    }
}

/// How a write is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    pub(super) detach: bool,
    pub(super) verbose: bool,
}

impl ActArguments {
    fn ways(&self) -> Ways {
        Ways {
            detach: self.detach,
            verbose: self.verbose,
        }
    }
}

async fn follow(
    cx: &mut Context,
    current: &Deployment,
    eval_id: Option<EvalId>,
    ways: Ways,
) -> anyhow::Result<u8> {
    let Some(eval_id) = eval_id else {
        return Ok(monitor::DONE);
    };
    if ways.detach {
        cx.print(&format!("Evaluation ID: {eval_id}"))?;
        return Ok(monitor::DONE);
    }
    let http = cx.http.in_namespace(&current.namespace);
    monitor::evaluation::follow(cx, &http, eval_id, ways.verbose).await
}
