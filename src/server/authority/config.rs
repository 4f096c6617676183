//! How the authority is configured.

use jobs::model::Span;
use mesh::wire::go_duration;
use serde_json::{Map, Value, json};
use std::time::Duration;

use super::{AuthorityError, certificate::KeyKind};

const LEAF: Duration = Duration::from_hours(72);
const INTERMEDIATE: Duration = Duration::from_hours(365 * 24);
const ROOT: Duration = Duration::from_hours(10 * 365 * 24);
const LEAF_MIN: Duration = Duration::from_hours(1);
const LEAF_MAX: Duration = Duration::from_hours(365 * 24);
/// A certificate that signs lives so many times as long as what it signs, at least.
const TIMES_LEAF: u32 = 3;

/// The configuration, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    settings: Map<String, Value>,
}

impl Default for Config {
    fn default() -> Self {
        let mut settings = Map::new();
        for (key, text) in [
            ("IntermediateCertTTL", "8760h"),
            ("LeafCertTTL", "72h"),
            ("RootCertTTL", "87600h"),
        ] {
            settings.insert(key.to_owned(), text.into());
        }
        Self { settings }
    }
}

fn wrong(reason: impl Into<String>) -> AuthorityError {
    AuthorityError::Config {
        reason: reason.into(),
    }
}

impl Config {
    /// Reads what was posted.
    ///
    /// # Errors
    /// What is wrong with it, in the words that clients know.
    pub(crate) fn read(
        provider: &str,
        settings: Map<String, Value>,
    ) -> Result<Self, AuthorityError> {
        if provider != "consul" {
            let reason = match provider {
                "vault" | "aws-pca" => {
                    format!("the CA provider {provider:?} is not part of this version of trivet")
                }
                _ => format!("unknown CA provider {provider:?}"),
            };
            return Err(AuthorityError::Provider { reason });
        }
        let config = Self { settings };
        for secret in ["PrivateKey", "RootCert"] {
            if config.text_of(secret).is_some_and(|text| !text.is_empty()) {
                return Err(wrong(format!(
                    "{secret} cannot be set: trivet makes its own root; leave it out"
                )));
            }
        }
        for key in ["LeafCertTTL", "IntermediateCertTTL", "RootCertTTL"] {
            config.duration(key)?;
        }
        config.check_lifetimes()?;
        config.check_key()?;
        Ok(config)
    }

    /// One that was read before it was stored.
    pub(crate) fn stored(text: &str) -> Self {
        let settings = serde_json::from_str(text);
        settings.map_or_else(|_| Self::default(), |settings| Self { settings })
    }

    pub(crate) fn text(&self) -> String {
        Value::Object(self.settings.clone()).to_string()
    }

    pub(crate) fn shown(&self) -> Value {
        json!(self.settings)
    }

    fn text_of(&self, key: &str) -> Option<&str> {
        self.settings.get(key).and_then(Value::as_str)
    }

    fn duration(&self, key: &str) -> Result<Option<Duration>, AuthorityError> {
        let unreadable = |text: String| {
            wrong(format!(
                "error decoding config: decoding failed due to the following error(s):\n\n'{key}' time: invalid \
                 duration {text}"
            ))
        };
        match self.settings.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => match Span::parse(text) {
                Ok(span) if span >= Span::ZERO => Ok(Some(span.to_std())),
                _ => Err(unreadable(format!("{text:?}"))),
            },
            Some(Value::Number(number)) => {
                let nanoseconds = number.as_u64();
                let duration = nanoseconds.map(Duration::from_nanos);
                duration
                    .map(Some)
                    .ok_or_else(|| unreadable(number.to_string()))
            }
            Some(other) => Err(unreadable(other.to_string())),
        }
    }

    fn lifetime(&self, key: &str, default: Duration) -> Duration {
        self.duration(key).ok().flatten().unwrap_or(default)
    }

    pub(crate) fn leaf_lifetime(&self) -> Duration {
        self.lifetime("LeafCertTTL", LEAF)
    }

    pub(crate) fn root_lifetime(&self) -> Duration {
        self.lifetime("RootCertTTL", ROOT)
    }

    fn check_lifetimes(&self) -> Result<(), AuthorityError> {
        let leaf = self.leaf_lifetime();
        let intermediate = self.lifetime("IntermediateCertTTL", INTERMEDIATE);
        let root = self.root_lifetime();
        if leaf < LEAF_MIN {
            return Err(wrong(format!(
                "leaf cert TTL must be greater or equal than {}",
                go_duration(LEAF_MIN)
            )));
        }
        if leaf > LEAF_MAX {
            return Err(wrong(format!(
                "leaf cert TTL must be less than {}",
                go_duration(LEAF_MAX)
            )));
        }
        if intermediate < leaf * TIMES_LEAF {
            return Err(wrong(format!(
                "Intermediate Cert TTL must be greater or equal than {TIMES_LEAF} * LeafCertTTL (>={}).",
                go_duration(leaf * TIMES_LEAF)
            )));
        }
        if root <= intermediate {
            return Err(wrong(format!(
                "root cert TTL is set and is not greater than intermediate cert ttl. root cert ttl: {}, intermediate \
                 cert ttl: {}",
                go_duration(root),
                go_duration(intermediate)
            )));
        }
        Ok(())
    }

    fn check_key(&self) -> Result<(), AuthorityError> {
        let kind = self.text_of("PrivateKeyType").unwrap_or("ec");
        let bits = self.settings.get("PrivateKeyBits").and_then(Value::as_u64);
        match (kind, bits) {
            ("" | "ec", None | Some(0 | 256 | 384)) => Ok(()),
            ("" | "ec", Some(_)) => Err(wrong("EC key length must be 256 or 384 bits")),
            ("rsa", _) => Err(wrong(
                "keys of type 'rsa' are not part of this version of trivet; use 'ec'",
            )),
            _ => Err(wrong("private key type must be either 'ec' or 'rsa'")),
        }
    }

    pub(crate) fn key_kind(&self) -> KeyKind {
        match self.settings.get("PrivateKeyBits").and_then(Value::as_u64) {
            Some(384) => KeyKind::P384,
            _ => KeyKind::P256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: Value) -> String {
        let Value::Object(settings) = config else {
            panic!("an object");
        };
        Config::read("consul", settings).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_said_in_the_known_words() {
        for (config, expected) in [
            (
                json!({"LeafCertTTL": "30m"}),
                "leaf cert TTL must be greater or equal than 1h0m0s",
            ),
            (
                json!({"LeafCertTTL": "9000h"}),
                "leaf cert TTL must be less than 8760h0m0s",
            ),
            (
                json!({"LeafCertTTL": "72h", "IntermediateCertTTL": "100h"}),
                "Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>=216h0m0s).",
            ),
            (
                json!({"RootCertTTL": "100h"}),
                "root cert TTL is set and is not greater than intermediate cert ttl. root cert ttl: 100h0m0s, \
                 intermediate cert ttl: 8760h0m0s",
            ),
            (
                json!({"PrivateKeyType": "foo"}),
                "private key type must be either 'ec' or 'rsa'",
            ),
        ] {
            let found = refusal(config);
            assert_eq!(found, format!("error configuring provider: {expected}"));
        }
        assert!(refusal(json!({"LeafCertTTL": "24"})).contains("'LeafCertTTL' time"));
        assert!(refusal(json!({"PrivateKey": "x"})).contains("makes its own root"));
        let unknown = Config::read("bogus", Map::new()).unwrap_err().to_string();
        assert_eq!(
            unknown,
            "could not initialize provider: unknown CA provider \"bogus\""
        );
        let free = json!({"Nope": "100h", "LeafCertTTL": 7_200_000_000_000_u64});
        let Value::Object(free) = free else {
            panic!("an object");
        };
        let free = Config::read("consul", free).unwrap();
        assert_eq!(free.leaf_lifetime(), Duration::from_hours(2));
        assert_eq!(Config::stored(&free.text()), free);
    }
}
