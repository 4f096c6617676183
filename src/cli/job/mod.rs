//! `job …`: one file per command.

mod action;
mod allocs;
mod children;
mod deployments;
mod detail;
mod diff;
mod dispatch;
mod eval;
mod history;
pub(super) mod init;
pub(super) mod inspect;
mod periodic;
pub(super) mod plan;
mod promote;
mod restart;
mod revert;
pub(super) mod run;
mod scale;
mod scaling_events;
mod source;
pub(super) mod start;
pub(super) mod status;
pub(super) mod stop;
mod tag;
pub(super) mod validate;

use super::context::Context;
use super::http::Http;
use super::render::monitor;
use jobs::model::EvalId;

/// Run, plan, look at and stop jobs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Run a command that the job names inside a task
    Action(action::Arguments),
    /// List a job's allocations
    Allocs(allocs::Arguments),
    /// List a job's deployments
    Deployments(deployments::Arguments),
    /// Launch a parameterized job
    Dispatch(dispatch::Arguments),
    /// Evaluate a job again
    Eval(eval::Arguments),
    /// List the versions of a job
    History(history::Arguments),
    /// Write an example job file
    Init(init::Arguments),
    /// Print a job as the API has it
    Inspect(inspect::Arguments),
    /// Act on jobs that are launched at set times
    #[command(subcommand)]
    Periodic(periodic::Command),
    /// Show what running a job file would do
    Plan(plan::Arguments),
    /// Make the canaries of a job normal and go on
    Promote(promote::Arguments),
    /// Restart or replace the allocations of a job, some at a time
    Restart(restart::Arguments),
    /// Go back to an earlier version of a job
    Revert(revert::Arguments),
    /// Register a job file and follow it until it is placed and healthy
    Run(run::Arguments),
    /// Change the count of a group
    Scale(scale::Arguments),
    /// List the latest changes of counts
    #[command(name = "scaling-events")]
    ScalingEvents(scaling_events::Arguments),
    /// Start a job again that was stopped
    Start(start::Arguments),
    /// List jobs, or show one
    Status(status::Arguments),
    /// Stop jobs
    Stop(stop::Arguments),
    /// Name versions of jobs
    #[command(subcommand)]
    Tag(tag::Command),
    /// Check a job file
    Validate(validate::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Action(arguments) => Box::pin(action::run(cx, &arguments)).await,
        Command::Allocs(arguments) => allocs::run(cx, &arguments).await,
        Command::Deployments(arguments) => deployments::run(cx, &arguments).await,
        Command::Dispatch(arguments) => Box::pin(dispatch::run(cx, &arguments)).await,
        Command::Eval(arguments) => Box::pin(eval::run(cx, &arguments)).await,
        Command::History(arguments) => history::run(cx, &arguments).await,
        Command::Init(arguments) => init::run(cx, &arguments).await,
        Command::Inspect(arguments) => inspect::run(cx, &arguments).await,
        Command::Periodic(command) => Box::pin(periodic::run(cx, command)).await,
        Command::Plan(arguments) => Box::pin(plan::run(cx, &arguments)).await,
        Command::Promote(arguments) => Box::pin(promote::run(cx, &arguments)).await,
        Command::Restart(arguments) => Box::pin(restart::run(cx, &arguments)).await,
        Command::Revert(arguments) => Box::pin(revert::run(cx, &arguments)).await,
        Command::Run(arguments) => Box::pin(run::run(cx, &arguments)).await,
        Command::Scale(arguments) => Box::pin(scale::run(cx, &arguments)).await,
        Command::ScalingEvents(arguments) => scaling_events::run(cx, &arguments).await,
        Command::Start(arguments) => Box::pin(start::run(cx, &arguments)).await,
        Command::Status(arguments) => Box::pin(status::run(cx, &arguments)).await,
        Command::Stop(arguments) => Box::pin(stop::run(cx, &arguments)).await,
        Command::Tag(command) => tag::run(cx, command).await,
        Command::Validate(arguments) => Box::pin(validate::run(cx, &arguments)).await,
    }
}

/// Prints the evaluation's id, or follows it.
async fn follow(
    cx: &mut Context,
    http: &Http,
    eval_id: Option<EvalId>,
    detach: bool,
    verbose: bool,
) -> anyhow::Result<u8> {
    let Some(eval_id) = eval_id else {
        return Ok(monitor::DONE);
    };
    if detach {
        cx.print(&format!("Evaluation ID: {eval_id}"))?;
        return Ok(monitor::DONE);
    }
    Box::pin(monitor::evaluation::follow(cx, http, eval_id, verbose)).await
}
