use super::{CallError, Result, bounded, failed, text_at};
use crate::model::Span;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::Value;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// An instant as it was written: the local time and how far it is from UTC, in seconds.
struct Written {
    local: DateTime,
    offset: i32,
}

fn timestamp_at(args: &[Value], at: usize) -> Result<Written> {
    let text = text_at(args, at)?;
    read(&text).ok_or_else(|| {
        CallError::Argument(
            at,
            format!("not a valid RFC3339 timestamp: cannot use {text:?}"),
        )
    })
}

/// `2006-01-02T15:04:05` with or without a fraction, then `Z` or an offset such as `-07:00`.
fn read(text: &str) -> Option<Written> {
    let number = |from: usize, to: usize| -> Option<i16> {
        let digits = text.get(from..to)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    };
    let mark = |at: usize, wanted: &str| (text.get(at..at + 1)? == wanted).then_some(());
    for (at, wanted) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")] {
        mark(at, wanted)?;
    }
    let small = |from: usize, to: usize| i8::try_from(number(from, to)?).ok();
    let local = DateTime::new(
        number(0, 4)?,
        small(5, 7)?,
        small(8, 10)?,
        small(11, 13)?,
        small(14, 16)?,
        small(17, 19)?,
        0,
    )
    .ok()?;
    let mut zone = text.get(19..)?;
    let mut local = local;
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = fraction.get(..fraction.len() - zone.len())?;
        if digits.is_empty() {
            return None;
        }
        // Finer than nanoseconds is left out.
        let nanos: String = digits.chars().chain("000000000".chars()).take(9).collect();
        local = local
            .with()
            .subsec_nanosecond(nanos.parse().ok()?)
            .build()
            .ok()?;
    }
    if zone == "Z" {
        return Some(Written { local, offset: 0 });
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let at = text.len() - zone.len();
    if zone.len() != 6 {
        return None;
    }
    mark(at + 3, ":")?;
    let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(Written {
        local,
        offset: sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60),
    })
}

impl Written {
    /// `+07:00`, with the mark between hours and minutes that is asked.
    fn zone(&self, between: &str) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs() / 60;
        format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
    }

    fn zone_or(&self, utc: &str, between: &str) -> String {
        if self.offset == 0 {
            utc.to_owned()
        } else {
            self.zone(between)
        }
    }
}

pub(super) fn timeadd(args: &[Value]) -> Result {
    let written = timestamp_at(args, 0)?;
    let duration = Span::parse(&text_at(args, 1)?).map_err(|error| failed(error.to_string()))?;
    let out_of_range = |_| failed("the result is out of range");
    let offset = Offset::from_seconds(written.offset).map_err(out_of_range)?;
    let instant = offset
        .to_timestamp(written.local)
        .and_then(|instant| {
            instant.checked_add(jiff::SignedDuration::from_nanos(duration.as_nanos()))
        })
        .map_err(out_of_range)?;
    let moved = Written {
        local: offset.to_datetime(instant),
        ..written
    };
    let local = moved.local;
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
        moved.zone_or("Z", ":")
    )
    .into())
}

/// An instant in another form: letters stand for its parts, text in quotes for itself.
pub(super) fn formatdate(args: &[Value]) -> Result {
    let (pattern, written) = (text_at(args, 0)?, timestamp_at(args, 1)?);
    let mut out = String::new();
    let mut rest = pattern.as_str();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = quoted(rest, &mut out)?;
            continue;
        }
        let end = if first.is_ascii_alphabetic() {
            rest.find(|letter| letter != first)
        } else {
            rest.find(|letter: char| letter == '\'' || letter.is_ascii_alphabetic())
        };
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        if first.is_ascii_alphabetic() {
            out.push_str(&show(part, &written)?);
        } else {
            out.push_str(part);
        }
        bounded(out.len())?;
    }
    Ok(out.into())
}

/// Takes text in quotes, two of which are one; gives what follows.
fn quoted<'t>(text: &'t str, out: &mut String) -> Result<&'t str> {
    if let Some(rest) = text.strip_prefix("''") {
        out.push('\'');
        return Ok(rest);
    }
    let mut rest = text.strip_prefix('\'').unwrap_or(text);
    loop {
        let (part, after) = rest
            .split_once('\'')
            .ok_or_else(|| CallError::Argument(0, "unterminated literal '".into()))?;
        out.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                out.push('\'');
                rest = after;
            }
            None => return Ok(after),
        }
    }
}

fn show(verb: &str, written: &Written) -> Result<String> {
    let local = written.local;
    let invalid = |rule: &str| {
        Err(CallError::Argument(
            0,
            format!("invalid date format verb {verb:?}{rule}"),
        ))
    };
    let name = |names: &[&str], at: usize| names.get(at).copied().unwrap_or_default().to_owned();
    let short = |name: String| name.chars().take(3).collect();
    let month = usize::try_from(local.month() - 1).unwrap_or(0);
    let day = usize::from(local.weekday().to_sunday_zero_offset().unsigned_abs());
    let hour = local.hour();
    let hour_12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let half = if hour < 12 { "AM" } else { "PM" };
    let letter = verb.chars().next().unwrap_or_default();
    let length = verb.len();
    let small = |number: i8, rule: &str| match length {
        1 => Ok(number.to_string()),
        2 => Ok(format!("{number:02}")),
        _ => invalid(rule),
    };
    match (letter, length) {
        ('Y', 2) => Ok(format!("{:02}", local.year().rem_euclid(100))),
        ('Y', 4) => Ok(format!("{:04}", local.year())),
        ('Y', _) => invalid(": year must either be \"YY\" or \"YYYY\""),
        ('M', 3) => Ok(short(name(&MONTHS, month))),
        ('M', 4) => Ok(name(&MONTHS, month)),
        ('M', _) => small(
            local.month(),
            ": month must be \"M\", \"MM\", \"MMM\", or \"MMMM\"",
        ),
        ('D', _) => small(local.day(), ": day of month must either be \"D\" or \"DD\""),
        ('E', 3) => Ok(short(name(&DAYS, day))),
        ('E', 4) => Ok(name(&DAYS, day)),
        ('E', _) => invalid(": day of week must either be \"EEE\" or \"EEEE\""),
        ('h', _) => small(hour, ": 24-hour must either be \"h\" or \"hh\""),
        ('H', _) => small(hour_12, ": 12-hour must either be \"H\" or \"HH\""),
        ('A', 2) => Ok(half.to_owned()),
        ('a', 2) => Ok(half.to_lowercase()),
        ('A' | 'a', _) => invalid(&format!(": must be \"{letter}{letter}\"")),
        ('m', _) => small(local.minute(), ": minute must either be \"m\" or \"mm\""),
        ('s', _) => small(local.second(), ": second must either be \"s\" or \"ss\""),
        ('Z', 1) => Ok(written.zone_or("Z", ":")),
        ('Z', 3) => Ok(written.zone_or("UTC", "")),
        ('Z', 4) => Ok(written.zone("")),
        ('Z', 5) => Ok(written.zone(":")),
        ('Z', _) => invalid(": timezone must be Z, ZZZZ, or ZZZZZ"),
        _ => invalid(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result) -> String {
        match result {
            Ok(value) => value.as_str().unwrap_or_default().to_owned(),
            Err(CallError::Failed(detail) | CallError::Argument(_, detail)) => detail,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn a_sum_keeps_the_zone_and_drops_the_fraction() {
        let add = |at: &str, by: &str| text(timeadd(&[at.into(), by.into()]));
        assert_eq!(add("2024-02-28T23:30:00Z", "1h"), "2024-02-29T00:30:00Z");
        assert_eq!(
            add("2024-01-01T00:00:00.75-07:00", "-90m"),
            "2023-12-31T22:30:00-07:00"
        );
        assert_eq!(
            add("2024-01-01T00:00:00+00:00", "0s"),
            "2024-01-01T00:00:00Z"
        );
        assert_eq!(
            add("2024-13-01T00:00:00Z", "0s"),
            "not a valid RFC3339 timestamp: cannot use \"2024-13-01T00:00:00Z\""
        );
        assert_eq!(
            add("2024-01-01T00:00:00Z", "1"),
            "time: missing unit in duration \"1\""
        );
    }

    #[test]
    fn letters_stand_for_the_parts_of_an_instant() {
        let show = |pattern: &str, at: &str| text(formatdate(&[pattern.into(), at.into()]));
        let at = "2024-03-05T14:07:09-03:30";
        assert_eq!(show("YYYY-MM-DD hh:mm:ss", at), "2024-03-05 14:07:09");
        assert_eq!(
            show("EEEE, D MMMM YY 'o''clock' H AA aa h m s", at),
            "Tuesday, 5 March 24 o'clock 2 PM pm 14 7 9"
        );
        assert_eq!(show("EEE MMM M HH '' Z", at), "Tue Mar 3 02 ' -03:30");
        assert_eq!(
            show("Z ZZZ ZZZZ ZZZZZ", "2024-03-05T00:00:00Z"),
            "Z UTC +0000 +00:00"
        );
        assert_eq!(show("ZZZ", at), "-0330");
        assert_eq!(
            show("YYY", at),
            "invalid date format verb \"YYY\": year must either be \"YY\" or \"YYYY\""
        );
        assert_eq!(show("'x", at), "unterminated literal '");
    }
}
