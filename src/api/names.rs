//! The agent's name service, asked by the API as others ask its listener.

use serde::Serialize;
use std::fmt;

/// Answers questions about names as the DNS listener of the agent does.
pub trait Names: fmt::Debug + Send + Sync {
    /// The answer to a question for records of a type, such as `SRV`.
    ///
    /// # Errors
    /// A sentence when one of both is none.
    fn ask(&self, name: &str, record_type: &str) -> Result<Named, String>;
}

/// An answer of the name service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Named {
    /// How it was answered, as resolvers print it: `NOERROR`, `NXDOMAIN` …
    pub code: String,
    /// Records as lines of a zone file, in the order in which they were answered; may be empty.
    pub answers: Vec<String>,
    /// Records that save the client another question; may be empty.
    pub additionals: Vec<String>,
}
