//! The name service as the API asks it.

use api::{Named, Names};

/// The agent's own.
#[derive(Debug)]
pub(super) struct OwnNames(pub(super) dns::Handle);

impl Names for OwnNames {
    fn ask(&self, name: &str, record_type: &str) -> Result<Named, String> {
        let told = self.0.ask(name, record_type);
        let told = told.map_err(|error| error.to_string())?;
        Ok(Named {
            code: told.code,
            answers: told.answers,
            additionals: told.additionals,
        })
    }
}
