//! `job tag …`: one file per command.

mod apply;
mod unset;

use super::super::context::Context;

/// Name versions of jobs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Name a version, so that it is kept and can be compared and reverted to by name
    Apply(apply::Arguments),
    /// Take the name of a version away
    Unset(unset::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Apply(arguments) => apply::run(cx, &arguments).await,
        Command::Unset(arguments) => unset::run(cx, &arguments).await,
    }
}

/// The path of a tag.
fn path(job: &str, name: &str) -> anyhow::Result<String> {
    if name.is_empty() {
        anyhow::bail!("A version tag name is required");
    }
    let segment = super::super::http::segment;
    Ok(format!(
        "/v1/job/{}/versions/{}/tag",
        segment(job),
        segment(name)
    ))
}
