//! What files of the machine define, read and handed to the client part.

use api::consul::Definitions;
use client::Registered;
use config::{Config, definitions::trees};
use std::path::PathBuf;

/// Reads the definitions of a configuration.
///
/// # Errors
/// All that is wrong, a sentence each.
pub(super) fn read(config: &Config) -> Result<Definitions, Vec<String>> {
    let of = &config.registration;
    if !of.definitions.is_empty() && config.client.is_none() {
        let sentence = "`catalog.definitions` needs a client part: set `client { enabled = true }`";
        return Err(vec![sentence.to_owned()]);
    }
    read_from(&of.definitions, of.local_scripts)
}

fn read_from(paths: &[PathBuf], takes_scripts: bool) -> Result<Definitions, Vec<String>> {
    let trees = trees(paths).map_err(|problems| {
        let problems = problems.iter();
        problems.map(ToString::to_string).collect::<Vec<_>>()
    })?;
    Definitions::read(trees, takes_scripts)
}

/// Checks files of definitions, as an agent would read them that takes scripts.
///
/// # Errors
/// All that is wrong, a sentence each.
pub fn validate(paths: &[PathBuf]) -> Result<(), Vec<String>> {
    read_from(paths, true).map(drop)
}

/// Registers what files define.
///
/// # Errors
/// Why that cannot be kept.
pub(super) async fn load(registered: &Registered, found: Definitions) -> Result<(), String> {
    let loaded = registered.load(found.services, found.checks).await;
    loaded.map_err(|error| error.to_string())
}
