use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node proves itself with; never shown, neither in logs nor in answers.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretId(String);

impl SecretId {
    /// True when the node has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretId {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "hidden" })
    }
}

#[cfg(test)]
mod tests {
    use super::SecretId;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SecretId::from("s3cret".to_owned());
        assert_eq!(format!("{secret:?}"), "hidden");
        assert_eq!(format!("{:?}", SecretId::default()), "none");
    }
}
