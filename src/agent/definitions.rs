//! What files of the machine define, read and handed to the client part.

use api::consul::Definitions;
use client::Registered;
use config::{Config, Problem, definitions::trees, validate_consul};
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
    let mut trees = trees(&of.definitions).map_err(|problems| sentences(&problems))?;
    trees.extend(of.defined.iter().cloned());
    Definitions::read(trees, of.local_scripts)
}

fn sentences(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Checks files of definitions, as an agent would read them that takes scripts.
///
/// # Errors
/// All that is wrong, a sentence each.
pub fn validate(paths: &[PathBuf]) -> Result<(), Vec<String>> {
    let trees = trees(paths).map_err(|problems| sentences(&problems))?;
    Definitions::read(trees, true).map(drop)
}

/// Checks files that an agent of the catalog's name would read: settings and definitions.
///
/// # Errors
/// All that is wrong, a sentence each.
pub fn validate_catalog(paths: &[PathBuf]) -> Result<(), Vec<String>> {
    let defined = validate_consul(paths).map_err(|problems| sentences(&problems))?;
    Definitions::read(defined, true).map(drop)
}

/// Registers what files define.
///
/// # Errors
/// Why that cannot be kept.
pub(super) async fn load(registered: &Registered, found: Definitions) -> Result<(), String> {
    let loaded = registered.load(found.services, found.checks).await;
    loaded.map_err(|error| error.to_string())
}
