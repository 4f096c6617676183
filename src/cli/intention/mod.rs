//! `intention …`: a file per command.

mod check;
mod create;
mod delete;
mod get;
mod list;
mod r#match;

use super::{context::Context, http::segment};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Say which services may talk to which.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Ask whether one service may connect to another
    Check(check::Arguments),
    /// Allow or deny connections
    Create(create::Arguments),
    /// Remove an intention
    Delete(delete::Arguments),
    /// Show an intention
    Get(get::Arguments),
    /// List all intentions
    List(list::Arguments),
    /// Show the intentions that fit a source or a destination
    Match(r#match::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Check(arguments) => check::run(cx, &arguments).await,
        Command::Create(arguments) => create::run(cx, &arguments).await,
        Command::Delete(arguments) => delete::run(cx, &arguments).await,
        Command::Get(arguments) => get::run(cx, &arguments).await,
        Command::List(arguments) => list::run(cx, &arguments).await,
        Command::Match(arguments) => r#match::run(cx, &arguments).await,
    }
}

/// An intention as the API has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Intention {
    #[serde(skip_serializing_if = "String::is_empty")]
    created_at: String,
    #[serde(rename = "ID", skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    source_name: String,
    destination_name: String,
    source_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(skip_serializing)]
    precedence: u8,
}

impl Intention {
    /// One line.
    fn line(&self) -> String {
        let decided = if self.permissions.is_empty() {
            self.action.clone()
        } else {
            format!("{} permissions", self.permissions.len())
        };
        format!(
            "{} => {} ({decided})",
            self.source_name, self.destination_name
        )
    }
}

/// Which intention a command is about.
enum Which<'a> {
    /// That of a source and a destination.
    Pair(&'a str, &'a str),
    /// That with an id.
    Id(&'a str),
}

impl<'a> Which<'a> {
    /// One argument is an id, two are names.
    fn of(names: &'a [String]) -> Option<Self> {
        match names {
            [id] => Some(Self::Id(id)),
            [source, destination] => Some(Self::Pair(source, destination)),
            _ => None,
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Pair(..) => "/v1/connect/intentions/exact".to_owned(),
            Self::Id(id) => format!("/v1/connect/intentions/{}", segment(id)),
        }
    }

    fn query(&self) -> Vec<(&'a str, &'a str)> {
        match self {
            Self::Pair(source, destination) => {
                vec![("source", source), ("destination", destination)]
            }
            Self::Id(_) => Vec::new(),
        }
    }
}
