//! `rollout …`: a file per command.

mod change;
mod record;
mod replay;
mod status;

use crate::context::Context;

/// Look at and move the share of requests that canaries get
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Give canaries a share that stays until somebody goes on
    SetShare(change::SetShare),
    /// Go to the next step, whatever was counted
    Next(change::Arguments),
    /// Go back to the step before
    Back(change::Arguments),
    /// Go on with the step after a share was set by hand
    Resume(change::Arguments),
    /// Print what the judge saw, for `rollout replay`
    Record(record::Arguments),
    /// Judge again what was recorded
    Replay(replay::Arguments),
    /// Show the step, the share and both versions side by side
    Status(status::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::SetShare(arguments) => change::set_share(cx, &arguments).await,
        Command::Next(arguments) => change::run(cx, &arguments, "next", None).await,
        Command::Back(arguments) => change::run(cx, &arguments, "back", None).await,
        Command::Resume(arguments) => change::run(cx, &arguments, "resume", None).await,
        Command::Record(arguments) => record::run(cx, &arguments).await,
        Command::Replay(arguments) => replay::run(cx, &arguments).await,
        Command::Status(arguments) => status::run(cx, &arguments).await,
    }
}
