//! Why the log cannot be used.

use std::{io, path::Path};

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read or written.
    #[error("cannot use `{path}`: {source}")]
    Files {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is damaged, missing, or of another version.
    #[error("`{path}` {what}. {way_out}")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong with it; follows its name.
        what: String,
        /// What to do.
        way_out: String,
    },
    /// Another process has the directory.
    #[error("cannot open the log in `{directory}`: another agent uses this directory")]
    InUse {
        /// Which.
        directory: String,
    },
    /// The library refused to start.
    #[error("cannot start the log: {reason}")]
    Library {
        /// Why.
        reason: String,
    },
    /// The system has no room for the threads of the log.
    #[error("cannot start the threads of the log: {source}")]
    Threads {
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    pub(crate) fn files(path: &Path, source: io::Error) -> Self {
        Self::Files {
            path: path.display().to_string(),
            source,
        }
    }

    pub(super) fn library(error: &dyn std::error::Error) -> Self {
        Self::Library {
            reason: error.to_string(),
        }
    }
}
