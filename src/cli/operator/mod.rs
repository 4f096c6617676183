//! `operator …`: a file per thing that is looked after.

mod raft;

use crate::cli::context::Context;

/// Look after the servers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Look at the replicated log
    #[command(subcommand)]
    Raft(raft::Command),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Raft(command) = command;
    raft::run(cx, command).await
}
