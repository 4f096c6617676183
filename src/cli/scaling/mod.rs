//! `scaling policy …`: how far, and by what rule, counts may be changed; a file per command.

mod info;
mod list;

use crate::context::Context;
use std::collections::BTreeMap;

/// Look at scaling policies.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Look at scaling policies
    #[command(subcommand)]
    Policy(Policy),
}

/// What to look at.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Policy {
    /// List scaling policies
    List(list::Arguments),
    /// Show a scaling policy
    Info(info::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Policy(command) = command;
    match command {
        Policy::List(arguments) => list::run(cx, &arguments).await,
        Policy::Info(arguments) => info::run(cx, &arguments).await,
    }
}

/// What a policy is about, outermost first: `Namespace:default,Job:web,Group:app`.
fn target_text(target: &BTreeMap<String, String>) -> String {
    const ORDER: [&str; 3] = ["namespace", "job", "group"];
    let mut parts: Vec<(usize, String)> = target
        .iter()
        .map(|(key, value)| {
            let known = ORDER
                .iter()
                .position(|known| key.eq_ignore_ascii_case(known));
            (known.unwrap_or(ORDER.len()), format!("{key}:{value}"))
        })
        .collect();
    parts.sort();
    let parts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    parts.join(",")
}

/// An id as it is shown: whole, or its beginning.
fn shown_id(id: &str, whole: bool) -> String {
    const SHORT: usize = 8;
    match id.get(..SHORT) {
        Some(start) if !whole => start.to_owned(),
        _ => id.to_owned(),
    }
}
