//! `snapshot …`: a file per command.

mod inspect;
mod restore;
mod save;

use super::context::Context;
use anyhow::Context as _;
use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};
use sys::archive::{self, Archive};

/// Save, look into and bring back snapshots of the catalog.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show what is in a snapshot
    Inspect(inspect::Arguments),
    /// Bring back what a snapshot holds
    Restore(restore::Arguments),
    /// Write a snapshot to a file
    Save(save::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Inspect(arguments) => inspect::run(cx, &arguments),
        Command::Restore(arguments) => restore::run(cx, &arguments).await,
        Command::Save(arguments) => save::run(cx, &arguments).await,
    }
}

/// The one file of a command; a complaint when it is missing.
fn file<'a>(cx: &mut Context, file: Option<&'a PathBuf>) -> Option<&'a Path> {
    if file.is_none() {
        cx.complain("Missing FILE argument");
    }
    file.map(PathBuf::as_path)
}

/// Reads and checks an archive.
fn read(path: &Path) -> anyhow::Result<Archive> {
    let file = File::open(path).with_context(|| {
        let name = path.display();
        format!("Error opening snapshot file `{name}`")
    })?;
    archive::unpack(BufReader::new(file)).context("Error reading snapshot")
}
