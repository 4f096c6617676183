//! Variables: small encrypted maps that tasks and people read, and the keys that encrypt them.

use super::{Index, LockId, Namespace, RootKeyId, Span, Timestamp, VariablePath};
use serde::{Deserialize, Serialize};

/// Largest size of all names and values of a variable together, bytes.
pub const VARIABLE_BYTES_MAX: usize = 64 * 1024;
/// Longest path of a variable, characters.
const VARIABLE_PATH_CHARACTERS_MAX: usize = 128;

/// Names one variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct VariableKey {
    /// Namespace.
    pub namespace: Namespace,
    /// Path in it.
    pub path: VariablePath,
}

/// A variable as the state holds it. What is in it cannot be read without the keyring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Namespace and path.
    pub key: VariableKey,
    /// Names and values.
    pub sealed: Sealed,
    /// Who alone may change it; none while anybody may.
    pub lock: Option<VariableLock>,
    /// Entry that made it.
    pub create_index: Index,
    /// Entry that changed it last.
    pub modify_index: Index,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was changed last.
    pub modify_time: Timestamp,
}

/// Encrypted bytes, together with what tells how to read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sealed {
    /// Key that encrypts them.
    pub root_key_id: RootKeyId,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// A lock on a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VariableLock {
    /// What its holder shows.
    pub id: LockId,
    /// How long it lasts after the last renewal.
    pub ttl: Span,
    /// How long nobody gets it after it was not renewed.
    pub lock_delay: Span,
}

impl VariableLock {
    /// How long a lock lasts, and how long nobody gets it afterwards, unless its maker says so.
    pub const DEFAULT: Span = Span::from_secs(15);
    /// Shortest time to live.
    pub const TTL_MIN: Span = Span::from_secs(10);
    /// Longest time to live.
    pub const TTL_MAX: Span = Span::from_secs(24 * 3_600);

    /// Checks its times; every problem at once.
    pub fn problems(&self) -> Vec<&'static str> {
        let mut problems = Vec::new();
        if self.ttl < Span::ZERO || self.lock_delay < Span::ZERO {
            problems.push("Lock delay and TTL must be positive");
        }
        if !(Self::TTL_MIN..=Self::TTL_MAX).contains(&self.ttl) {
            problems.push("TTL must be between 10 seconds and 24 hours");
        }
        problems
    }
}

/// A key that variables are encrypted with. It is encrypted itself: whoever has the state alone
/// reads nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootKey {
    /// Id.
    pub id: RootKeyId,
    /// What it is used for.
    pub state: RootKeyState,
    /// The key itself, encrypted with the wrapping key of the servers.
    pub wrapped: Vec<u8>,
    /// Entry that made it.
    pub create_index: Index,
    /// Entry that changed it last.
    pub modify_index: Index,
    /// When it was made.
    pub create_time: Timestamp,
}

/// What a root key is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKeyState {
    /// Encrypts what is written; one key has this state.
    #[default]
    Active,
    /// Reads what was written before.
    Inactive,
}

/// Why a text is no path of a variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariablePathError {
    /// There is none.
    #[error("variable requires path")]
    Missing,
    /// It has other characters, or too many.
    #[error("invalid path {0:?}")]
    Characters(String),
    /// The folder of what the program itself reads.
    #[error(
        "\"nomad\" is a reserved top-level directory path, but you may write variables to \
         \"nomad/jobs\", \"nomad/job-templates\", \"nomad/sentinel\", or below"
    )]
    Reserved,
    /// A template needs a name.
    #[error(
        "\"nomad/job-templates\" is a reserved directory path, but you may write variables at \
         the level below it, for example, \"nomad/job-templates/template-name\""
    )]
    Template,
    /// Another folder below the reserved one.
    #[error(
        "only paths at \"nomad/jobs\" or \"nomad/job-templates\" and below are valid paths \
         under the top-level \"nomad\" directory"
    )]
    Below,
}

/// Checks a path.
///
/// # Errors
/// [`VariablePathError`].
pub fn check_variable_path(path: &str) -> Result<(), VariablePathError> {
    if path.is_empty() {
        return Err(VariablePathError::Missing);
    }
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'~' | b'/');
    if path.len() > VARIABLE_PATH_CHARACTERS_MAX || !path.bytes().all(fits) {
        let start: String = path.chars().take(VARIABLE_PATH_CHARACTERS_MAX).collect();
        return Err(VariablePathError::Characters(start));
    }
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["nomad"] => Err(VariablePathError::Reserved),
        ["nomad", "jobs" | "sentinel", ..] | ["nomad", "job-templates", _] => Ok(()),
        ["nomad", "job-templates", ..] => Err(VariablePathError::Template),
        ["nomad", ..] => Err(VariablePathError::Below),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain_and_leave_the_reserved_folder_alone() {
        for path in [
            "a",
            "a/b-c_d~e/9",
            "nomads/x",
            "nomad/jobs",
            "nomad/jobs/web/group/task",
            "nomad/job-templates/one",
        ] {
            assert_eq!(check_variable_path(path), Ok(()), "{path}");
        }
        let long = "x".repeat(VARIABLE_PATH_CHARACTERS_MAX + 1);
        for (path, error) in [
            ("", VariablePathError::Missing),
            ("a.b", VariablePathError::Characters("a.b".into())),
            ("a b", VariablePathError::Characters("a b".into())),
            ("ä", VariablePathError::Characters("ä".into())),
            (
                &long,
                VariablePathError::Characters(long.chars().skip(1).collect()),
            ),
            ("nomad", VariablePathError::Reserved),
            ("nomad/job-templates", VariablePathError::Template),
            ("nomad/job-templates/a/b", VariablePathError::Template),
            ("nomad/other", VariablePathError::Below),
        ] {
            assert_eq!(check_variable_path(path), Err(error), "{path}");
        }
    }

    #[test]
    fn times_of_a_lock_have_bounds() {
        let problems = |ttl, delay| {
            let lock = VariableLock {
                ttl: Span::from_secs(ttl),
                lock_delay: Span::from_secs(delay),
                ..VariableLock::default()
            };
            lock.problems().len()
        };
        assert_eq!(problems(10, 0), 0);
        assert_eq!(problems(24 * 3_600, 5), 0);
        assert_eq!(problems(9, 5), 1);
        assert_eq!(problems(24 * 3_600 + 1, 5), 1);
        assert_eq!(problems(15, -1), 1);
        assert_eq!(problems(-15, -1), 2);
    }
}
