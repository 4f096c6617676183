use super::Span;
use serde::{Deserialize, Serialize};
use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// An instant: nanoseconds since the Unix epoch, a whole number in JSON; 0 is "never". Arithmetic
/// stays within the range of the type.
///
/// The published API writes some instants as RFC 3339 instead; those fields say so with
/// [`rfc3339`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// An instant in whole seconds since the Unix epoch, a whole number in JSON; 0 is "never".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(i64);

impl Timestamp {
    /// Later than every other instant.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant so many nanoseconds after the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The instant so many seconds after the epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// True when no instant was recorded.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// How long after `earlier` this is; nothing when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        (self - earlier).to_std()
    }
}

impl From<Timestamp> for UnixSeconds {
    fn from(at: Timestamp) -> Self {
        Self(at.0 / 1_000_000_000)
    }
}

impl From<UnixSeconds> for Timestamp {
    fn from(at: UnixSeconds) -> Self {
        Self::from_secs(at.0)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.as_nanos()))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self + Span::from(duration)
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.as_nanos()))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        self - Span::from(duration)
    }
}

impl Sub for Timestamp {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(instant) => instant.fmt(f),
            Err(_) => f.write_str("0001-01-01T00:00:00Z"),
        }
    }
}

/// Instants as RFC 3339, "never" as `null`: for `#[serde(with = "rfc3339")]`.
pub mod rfc3339 {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes an instant.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        if at.is_zero() {
            serializer.serialize_none()
        } else {
            serializer.serialize_some(&at.to_string())
        }
    }

    /// Reads an instant.
    ///
    /// # Errors
    /// When it is neither RFC 3339 nor `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Timestamp::default());
        };
        let instant: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        // Go's zero time lies before the range of 64-bit nanoseconds and means "never".
        let nanos = i64::try_from(instant.as_nanosecond()).unwrap_or(0);
        Ok(Timestamp::from_nanos(nanos))
    }

    /// The same for what was decided at an instant.
    pub mod decision {
        use super::Timestamp;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Decision(bool, #[serde(with = "super")] Timestamp);

        /// Writes a decision and its instant.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            decision: &Option<(bool, Timestamp)>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            let decision = decision.map(|(is_so, at)| Decision(is_so, at));
            decision.serialize(serializer)
        }

        /// Reads a decision and its instant.
        ///
        /// # Errors
        /// When it is not of this shape.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<(bool, Timestamp)>, D::Error> {
            let decision = Option::<Decision>::deserialize(deserializer)?;
            Ok(decision.map(|Decision(is_so, at)| (is_so, at)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        at: Timestamp,
        #[serde(with = "rfc3339")]
        shown: Timestamp,
        #[serde(with = "rfc3339::decision")]
        decided: Option<(bool, Timestamp)>,
        seconds: UnixSeconds,
    }

    #[test]
    fn both_spellings_are_read_back() {
        let at = Timestamp::from_nanos(1_700_000_000_123_456_789);
        for (row, json) in [
            (
                Row {
                    at,
                    shown: at,
                    decided: Some((true, at)),
                    seconds: at.into(),
                },
                r#"{"at":1700000000123456789,"shown":"2023-11-14T22:13:20.123456789Z","decided":[true,"2023-11-14T22:13:20.123456789Z"],"seconds":1700000000}"#,
            ),
            (
                Row {
                    at: Timestamp::default(),
                    shown: Timestamp::default(),
                    decided: None,
                    seconds: UnixSeconds::default(),
                },
                r#"{"at":0,"shown":null,"decided":null,"seconds":0}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&row).unwrap(), json);
            assert_eq!(serde_json::from_str::<Row>(json).unwrap(), row);
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let second = Duration::from_secs(1);
        let at = Timestamp::from_secs(10);
        assert_eq!(at + second, Timestamp::from_secs(11));
        assert_eq!(at - Span::SECOND, Timestamp::from_secs(9));
        assert_eq!(at - (at + second), Span::from_secs(-1));
        assert_eq!((at + second).since(at), second);
        assert_eq!(at.since(at + second), Duration::ZERO);
        assert_eq!(Timestamp::MAX + second, Timestamp::MAX);
        assert_eq!(at + Duration::MAX, Timestamp::MAX);
    }
}
