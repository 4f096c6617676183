//! `operator …`: a file per thing that is looked after.

mod autopilot;
mod gossip;
mod raft;
mod root;
mod scheduler;
mod usage;

use crate::context::Context;

/// Look after the servers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Look after the group of servers
    #[command(subcommand)]
    Autopilot(autopilot::Command),
    /// Look after what servers tell each other
    #[command(subcommand)]
    Gossip(gossip::Command),
    /// Look at the replicated log
    #[command(subcommand)]
    Raft(raft::Command),
    /// Look after keys that encrypt
    #[command(subcommand)]
    Root(root::Command),
    /// Look after the scheduler
    #[command(subcommand)]
    Scheduler(scheduler::Command),
    /// See how much the catalog holds
    #[command(subcommand)]
    Usage(usage::Command),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Autopilot(command) => autopilot::run(cx, command).await,
        Command::Gossip(command) => gossip::run(cx, command).await,
        Command::Raft(command) => raft::run(cx, command).await,
        Command::Root(command) => root::run(cx, command).await,
        Command::Scheduler(command) => scheduler::run(cx, command).await,
        Command::Usage(command) => usage::run(cx, command).await,
    }
}
