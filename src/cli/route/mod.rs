//! `route …`: a file per command.

mod list;
mod test;
mod weight;

use crate::context::Context;

/// Look at routes and set their shares.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the routes and their targets
    List(list::Arguments),
    /// Say where a request would go, and why
    Test(test::Arguments),
    /// Set the share of requests that instances get
    Weight(weight::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => list::run(cx, &arguments).await,
        Command::Test(arguments) => test::run(cx, &arguments).await,
        Command::Weight(arguments) => weight::run(cx, &arguments).await,
    }
}

/// A share as percent.
fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}
