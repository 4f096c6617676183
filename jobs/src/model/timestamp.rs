use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in nanoseconds since the Unix epoch, written as RFC 3339 in JSON; 0 ("never") is `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// True when no instant was recorded.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(instant) => instant.fmt(f),
            Err(_) => f.write_str("0001-01-01T00:00:00Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_zero() {
            serializer.serialize_none()
        } else {
            serializer.serialize_some(&self.to_string())
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        let instant: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        // Go's zero time lies before the range of 64-bit nanoseconds and means "never".
        Ok(Self(i64::try_from(instant.as_nanosecond()).unwrap_or(0)))
    }
}
