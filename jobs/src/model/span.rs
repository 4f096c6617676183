use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    ops::{Add, Mul},
    time::Duration,
};

/// A length of time that may be negative, as job files and the API write it: whole nanoseconds in
/// JSON; text such as `"30s"` is read too. Arithmetic stays within the range of the type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Nothing, or something that is no number with units.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number alone.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit.
        unit: String,
    },
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// One second.
    pub const SECOND: Self = Self::from_secs(1);
    /// 60 seconds.
    pub const MINUTE: Self = Self::from_secs(60);
    /// 60 minutes.
    pub const HOUR: Self = Self::from_secs(3_600);

    /// So many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// So many seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds, without the part of a second that is left.
    pub const fn as_secs(self) -> i64 {
        self.0 / 1_000_000_000
    }

    /// True for no time.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The same as a length of time that is never negative: nothing for what is below zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads Go's form: numbers with the units `ns`, `us`, `ms`, `s`, `m` and `h`, with a sign.
    ///
    /// # Errors
    /// When the text is empty, has no unit, has an unknown one, or is out of range.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        let invalid = || SpanError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: f64 = 0.0;
        let mut exact: i128 = 0;
        while !rest.is_empty() {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let (number, tail) = rest.split_at(end);
            let value: f64 = number.parse().map_err(|_| invalid())?;
            let end = tail
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(end);
            let scale: i64 = match unit {
                "" => return Err(SpanError::MissingUnit(text.to_owned())),
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                unit => {
                    return Err(SpanError::UnknownUnit {
                        text: text.to_owned(),
                        unit: unit.to_owned(),
                    });
                }
            };
            match number.parse::<i64>() {
                Ok(whole) => exact += i128::from(whole) * i128::from(scale),
                Err(_) => total += value * scale as f64,
            }
            rest = next;
        }
        let sum = exact.saturating_add(total.round() as i128);
        let nanos = i64::try_from(sum).map_err(|_| invalid())?;
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<Span> for i64 {
    type Output = Span;

    fn mul(self, span: Span) -> Span {
        Span(self.saturating_mul(span.0))
    }
}

impl std::fmt::Display for Span {
    /// Go's form: `1h30m0s`, `1.5s`, `500ms`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (below, unit, scale) in [
            (1_000, "ns", 1),
            (1_000_000, "µs", 1_000),
            (1_000_000_000, "ms", 1_000_000),
        ] {
            if nanos < below {
                return write!(f, "{}{unit}", decimal(nanos, scale));
            }
        }
        let (minute, hour) = (60_000_000_000, 3_600_000_000_000);
        if nanos >= hour {
            write!(f, "{}h", nanos / hour)?;
        }
        if nanos >= minute {
            write!(f, "{}m", nanos % hour / minute)?;
        }
        write!(f, "{}s", decimal(nanos % minute, 1_000_000_000))
    }
}

/// `nanos / scale` in decimals without trailing zeros.
fn decimal(nanos: u64, scale: u64) -> String {
    let (whole, part) = (nanos / scale, nanos % scale);
    if part == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!(
        "{whole}.{}",
        format!("{part:0width$}").trim_end_matches('0')
    )
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("nanoseconds or a duration such as \"30s\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Span, E> {
                Ok(Span(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Span, E> {
                i64::try_from(value)
                    .map(Span)
                    .map_err(|_| E::custom("duration out of range"))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Span, E> {
                if value.fract() == 0.0 && value.abs() < i64::MAX as f64 {
                    Ok(Span(value as i64))
                } else {
                    Err(E::custom("a duration is a whole number of nanoseconds"))
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn texts_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("30s", 30_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            ("100ms", 100_000_000),
            ("-2us", -2_000),
            ("+7ns", 7),
            ("2µs", 2_000),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(nanos)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1x",
            "1.2.3s",
            "--1s",
            "99999999999h",
            "1e3s",
            " 1s",
        ] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (12_345, "12.345µs"),
            (250_000_000, "250ms"),
            (-1_500_000_000, "-1.5s"),
            (15_703_000_000, "15.703s"),
            (90_000_000_000, "1m30s"),
            (86_400_000_000_000, "24h0m0s"),
        ] {
            assert_eq!(Span(nanos).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(nanos in any::<i32>(), scale in 0_u32..9) {
            let duration = Span(i64::from(nanos) * 10_i64.pow(scale));
            assert_eq!(Span::parse(&duration.to_string()), Ok(duration));
        }
    }
}
