//! `eval …`: reasons to look at a job; a file per command.

mod list;
pub(super) mod status;

use crate::context::Context;

/// Look at evaluations.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List evaluations
    List(list::Arguments),
    /// Show one evaluation
    Status(status::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => list::run(cx, &arguments).await,
        Command::Status(arguments) => Box::pin(status::run(cx, &arguments)).await,
    }
}
