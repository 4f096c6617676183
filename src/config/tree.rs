//! What stands in configuration files: keys with their values and places, and what is wrong with
//! them.

use std::fmt;

/// The place of problems that no single file has.
pub(super) const SETTINGS: &str = "configuration";

/// Line and column, from 1, of what stands behind so many bytes of a text.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    (line, column)
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File, or the name of a flag.
    pub file: String,
    /// Line and column, from 1; none where a file has no such place.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    pub(super) fn new(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            place: None,
            message: message.into(),
        }
    }

    pub(super) fn at(
        file: &str,
        place: Option<(usize, usize)>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            place,
            ..Self::new(file, message)
        }
    }
}

/// A text with the place where it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The text.
    pub text: String,
    /// File, or another name for where it stands.
    pub file: String,
    /// Line and column, from 1; none where the file has no such place.
    pub place: Option<(usize, usize)>,
}

impl Placed {
    /// What a flag says.
    #[must_use]
    pub fn of_flag(text: String) -> Self {
        Self {
            text,
            file: SETTINGS.to_owned(),
            place: None,
        }
    }

    pub(super) fn problem(&self, message: String) -> Problem {
        Problem::at(&self.file, self.place, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line},{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// A key with its value and its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    /// Labels of a block, such as `raw_exec` in `plugin "raw_exec"`.
    pub labels: Vec<String>,
    pub place: Option<(usize, usize)>,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(f64),
    Bool(bool),
    List(Vec<Value>),
    Tree(Vec<Entry>),
    Other,
}
