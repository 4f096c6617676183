//! `server …`: a file per command.

mod join;
mod members;

use crate::context::Context;

/// Look after servers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the servers
    Members(members::Arguments),
    /// Ask other servers who is there
    Join(join::Arguments),
    /// Take a server that does not answer for one that left
    #[command(name = "force-leave")]
    ForceLeave(join::ForceLeave),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Members(arguments) => members::run(cx, &arguments).await,
        Command::Join(arguments) => join::run(cx, &arguments).await,
        Command::ForceLeave(arguments) => join::force_leave(cx, &arguments).await,
    }
}
