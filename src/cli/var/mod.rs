//! `var …`: a file per command.

mod get;
mod init;
mod list;
mod lock;
mod pairs;
mod purge;
mod put;
mod show;
mod spec;

use anyhow::ensure;
use jobs::wire::Variable;

use super::context::Context;
use super::http::{Error, segments};
use super::view::Ink;

/// Read and write variables.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Print a variable
    Get(get::Arguments),
    /// Write an example of a file that describes a variable
    Init(init::Arguments),
    /// List variables
    List(list::Arguments),
    /// Run a command while a variable is locked
    Lock(lock::Arguments),
    /// Remove a variable
    Purge(purge::Arguments),
    /// Write a variable
    Put(put::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Get(arguments) => get::run(cx, &arguments).await,
        Command::Init(arguments) => init::run(cx, &arguments),
        Command::List(arguments) => list::run(cx, &arguments).await,
        Command::Lock(arguments) => lock::run(cx, &arguments).await,
        Command::Purge(arguments) => purge::run(cx, &arguments).await,
        Command::Put(arguments) => put::run(cx, &arguments).await,
    }
}

fn path(variable: &str) -> String {
    format!("/v1/var/{}", segments(variable))
}

fn one_namespace(cx: &Context) -> anyhow::Result<()> {
    ensure!(
        cx.namespace.as_deref() != Some("*"),
        "The wildcard namespace (\"*\") is not valid for this command."
    );
    Ok(())
}

/// Says that the variable changed since the caller looked; any other error is handed back.
fn explain_conflict(cx: &mut Context, asked: u64, error: Error) -> Result<u8, Error> {
    let found = match &error {
        Error::Status { status: 409, body } => serde_json::from_str::<Variable>(body).ok(),
        _ => None,
    };
    let Some(found) = found else {
        return Err(error);
    };
    let view = cx.view(false);
    let index = found.modify_index;
    let updated = if index > 0 {
        let at = view.time(found.modify_time);
        format!("    The server-side item was last updated on {at}.\n")
    } else {
        String::new()
    };
    let title = view.paint.title("Check-and-Set conflict");
    let index = view.paint.ink(Ink::Green, &index.to_string());
    cx.complain(&format!(
        "\n{title}\n\n    Your provided check-index ({asked}) does not match the server-side\n    \
         index ({index}).\n{updated}    If you are sure you want to perform this operation, add \
         the -force or\n    -check-index={index} flag before the positional arguments.\n"
    ));
    Ok(1)
}
