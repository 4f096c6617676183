//! Durations as the reference writes them.

use std::time::Duration;

/// Writes a duration as hours, minutes and seconds: `0s`, `1.5s`, `500ms`, `1m30s`,
/// `72h0m0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000, "ms"), (1_000, "µs"), (1, "ns")];
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000_000_000 {
        let (unit, name) = UNITS
            .into_iter()
            .find(|(unit, _)| nanoseconds >= *unit)
            .unwrap_or((1, "ns"));
        return format!("{}{name}", decimal(nanoseconds, unit));
    }
    let minute = 60 * 1_000_000_000;
    let minutes = nanoseconds / minute;
    let seconds = decimal(nanoseconds % minute, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Writes `value / unit` with as many decimals as it needs.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::go_duration;
    use std::time::Duration;

    #[test]
    fn durations_read_as_in_the_reference() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (10_000_000_000, "10s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (259_200_000_000_000, "72h0m0s"),
            (1_000_000_001, "1.000000001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanoseconds)), expected);
        }
    }
}
