//! `server …`: a file per command.

mod members;

use crate::context::Context;

/// Look at servers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the servers
    Members(members::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Members(arguments) = command;
    members::run(cx, &arguments).await
}
