use crate::model::Nanos;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration: whole nanoseconds in JSON; text such as `"30s"` is accepted too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub Nanos);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
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

impl Duration {
    /// Reads Go's form: numbers with the units `ns`, `us`, `ms`, `s`, `m` and `h`, with a sign.
    ///
    /// # Errors
    /// When the text is empty, has no unit, has an unknown one, or is out of range.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
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
                "" => return Err(DurationError::MissingUnit(text.to_owned())),
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                unit => {
                    return Err(DurationError::UnknownUnit {
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

impl std::fmt::Display for Duration {
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

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Duration;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("nanoseconds or a duration such as \"30s\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Duration, E> {
                Ok(Duration(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Duration, E> {
                i64::try_from(value)
                    .map(Duration)
                    .map_err(|_| E::custom("duration out of range"))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Duration, E> {
                if value.fract() == 0.0 && value.abs() < i64::MAX as f64 {
                    Ok(Duration(value as i64))
                } else {
                    Err(E::custom("a duration is a whole number of nanoseconds"))
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                Duration::parse(text).map_err(E::custom)
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
            assert_eq!(Duration::parse(text), Ok(Duration(nanos)), "{text}");
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
            assert!(Duration::parse(text).is_err(), "{text}");
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
            assert_eq!(Duration(nanos).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(nanos in any::<i32>(), scale in 0_u32..9) {
            let duration = Duration(i64::from(nanos) * 10_i64.pow(scale));
            assert_eq!(Duration::parse(&duration.to_string()), Ok(duration));
        }
    }
}
