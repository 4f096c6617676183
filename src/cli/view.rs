//! How values look on the terminal: times, ids, sizes, durations, quotes and colors.

use jiff::tz::TimeZone;
use jobs::model::{Id, Kind, Timestamp};
use std::{borrow::Cow, time::Duration};

/// Characters of an id unless the user wants all.
const ID_SHORT: usize = 8;

/// What rendering depends on besides the data.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The present instant.
    pub(crate) now: Timestamp,
    /// Zone that times are shown in.
    pub(crate) zone: TimeZone,
    /// Full ids, absolute times and further columns.
    pub(crate) verbose: bool,
    /// Colors.
    pub(crate) paint: Paint,
}

impl View {
    /// An id at the length that the user wants; empty for none.
    pub(crate) fn id<K: Kind>(&self, id: impl Into<Option<Id<K>>>) -> String {
        let mut text = id.into().map_or_else(String::new, |id| id.to_string());
        if !self.verbose {
            text.truncate(ID_SHORT);
        }
        text
    }

    /// An instant as `2026-03-02T10:00:00Z`; empty for "never".
    pub(crate) fn time(&self, at: Timestamp) -> String {
        if at < Timestamp::from_secs(1) {
            return String::new();
        }
        let Ok(instant) = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())) else {
            return String::new();
        };
        let local = instant.to_zoned(self.zone.clone());
        let seconds = local.strftime("%Y-%m-%dT%H:%M:%S");
        if local.offset().seconds() == 0 {
            format!("{seconds}Z")
        } else {
            format!("{seconds}{}", local.strftime("%:z"))
        }
    }

    /// An instant of a state, `N/A` for "never".
    pub(crate) fn time_or_na(&self, at: Timestamp) -> String {
        if at.is_zero() {
            "N/A".to_owned()
        } else {
            self.time(at)
        }
    }

    /// The present instant.
    pub(crate) fn now(&self) -> String {
        self.time(self.now)
    }

    /// An instant relative to now, in its two largest units: `3m12s ago`, `5s from now`.
    pub(crate) fn ago(&self, at: Timestamp) -> String {
        if at.is_zero() {
            return String::new();
        }
        let half = Duration::from_millis(500);
        let round = |at: Timestamp| (at + half).as_nanos().div_euclid(1_000_000_000);
        let seconds = round(self.now) - round(at);
        let suffix = if seconds >= 0 { "ago" } else { "from now" };
        format!("{} {suffix}", two_units(seconds.unsigned_abs()))
    }

    /// An absolute time when verbose, a relative one otherwise.
    pub(crate) fn when(&self, at: Timestamp) -> String {
        if self.verbose {
            self.time(at)
        } else {
            self.ago(at)
        }
    }
}

/// The two largest units of a number of seconds, months of 30 days and years of 12 months.
fn two_units(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let months = days / 30;
    let parts = [
        (months / 12, "y"),
        (months % 12, "mo"),
        (days % 30, "d"),
        (hours % 24, "h"),
        (minutes % 60, "m"),
        (seconds % 60, "s"),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// A size as `256 MiB`, `1.5 GiB`: one digit after the point below ten.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 10 {
        return format!("{size} B");
    }
    let mut unit = 0;
    let mut scale = 1_u64;
    while size / scale >= 1024 && unit + 1 < UNITS.len() {
        scale *= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    // Tenths, rounded; u128 so that the largest sizes do not overflow.
    let tenths = (u128::from(size) * 10 + u128::from(scale) / 2) / u128::from(scale);
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (tenths + 5) / 10)
    }
}

/// MB as a size.
pub(crate) fn megabytes(mb: i64) -> String {
    bytes(u64::try_from(mb).unwrap_or(0).saturating_mul(1024 * 1024))
}

/// The escape of a character that a terminal would act on; none for others.
fn escape(c: char) -> Option<String> {
    match c {
        '\n' => Some("\\n".to_owned()),
        '\r' => Some("\\r".to_owned()),
        '\t' => Some("\\t".to_owned()),
        c if c.is_control() => Some(format!("\\x{:02x}", c as u32)),
        _ => None,
    }
}

/// A name without quotes: what a terminal would act on is escaped. Names come from whoever may
/// register a job.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match escape(c) {
            Some(escape) => out.push_str(&escape),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A whole text: lines, tabs and the colors of `paint` stay, anything else that a terminal would
/// act on is escaped.
pub(crate) fn printable(text: &str, paint: Paint) -> Cow<'_, str> {
    let stays = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let code = Paint::CODES
            .iter()
            .find(|code| paint == Paint::Color && rest.starts_with(**code));
        let length = code.map_or_else(|| c.len_utf8(), |code| code.len());
        let (piece, behind) = rest.split_at(length);
        match escape(c) {
            Some(escape) if code.is_none() && !stays(c) => out.push_str(&escape),
            _ => out.push_str(piece),
        }
        rest = behind;
    }
    Cow::Owned(out)
}

/// A text in double quotes, with the escapes of a program's source.
pub(crate) fn quoted(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c => match escape(c) {
                Some(escape) => out.push_str(&escape),
                None => out.push(c),
            },
        }
    }
    out.push('"');
    out
}

/// Whether and how text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Not at all.
    Plain,
    /// With the codes of a terminal.
    Color,
}

/// One color or weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Bold,
    Red,
    Green,
    Yellow,
    Blue,
    Cyan,
    LightYellow,
}

impl Paint {
    /// Every code that [`Paint::ink`] writes.
    const CODES: [&str; 8] = [
        "\u{1b}[0m",
        "\u{1b}[1m",
        "\u{1b}[31m",
        "\u{1b}[32m",
        "\u{1b}[33m",
        "\u{1b}[34m",
        "\u{1b}[36m",
        "\u{1b}[93m",
    ];

    /// The text in a color.
    pub(crate) fn ink(self, ink: Ink, text: &str) -> String {
        if self == Self::Plain || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Red => 31,
            Ink::Green => 32,
            Ink::Yellow => 33,
            Ink::Blue => 34,
            Ink::Cyan => 36,
            Ink::LightYellow => 93,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A section title.
    pub(crate) fn title(self, text: &str) -> String {
        self.ink(Ink::Bold, text)
    }
}

#[cfg(test)]
pub(crate) fn test_view() -> View {
    View {
        // 2026-03-02T10:05:00Z
        now: Timestamp::from_secs(1_772_445_900),
        zone: TimeZone::UTC,
        verbose: false,
        paint: Paint::Plain,
    }
}

/// The first id that begins with these digits.
#[cfg(test)]
pub(super) fn test_id<K: Kind>(digits: &str) -> Id<K> {
    *Id::with_prefix(digits).unwrap().start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::Span;

    #[test]
    fn relative_times_show_their_two_largest_units() {
        let view = test_view();
        for (back, expected) in [
            (0, "0s ago"),
            (3, "3s ago"),
            (60, "1m ago"),
            (192, "3m12s ago"),
            (3 * 86_400 + 4 * 3600 + 5, "3d4h ago"),
            (61 * 86_400, "2mo1d ago"),
            (420 * 86_400, "1y2mo ago"),
            (-12, "12s from now"),
        ] {
            assert_eq!(view.ago(view.now - back * Span::SECOND), expected);
        }
        assert_eq!(view.ago(Timestamp::default()), "");
    }

    #[test]
    fn times_carry_the_zone() {
        let mut view = test_view();
        assert_eq!(view.now(), "2026-03-02T10:05:00Z");
        view.zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(view.now(), "2026-03-02T12:05:00+02:00");
        assert_eq!(view.time(Timestamp::default()), "");
    }

    #[test]
    fn sizes_are_binary() {
        for (size, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (256 << 20, "256 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
    }

    #[test]
    fn names_cannot_drive_a_terminal() {
        assert_eq!(escaped("web"), "web");
        assert_eq!(
            escaped("a\nb\u{1b}[2J\u{9b}m\u{7f}"),
            "a\\nb\\x1b[2J\\x9bm\\x7f"
        );
    }

    #[test]
    fn texts_keep_their_lines_and_our_colors_only() {
        let red = Paint::Color.ink(Ink::Red, "no\tgood");
        assert_eq!(printable(&red, Paint::Color), red);
        assert_eq!(printable("a\nb", Paint::Plain), "a\nb");
        let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31mred\r";
        assert_eq!(
            printable(hostile, Paint::Plain),
            "\\x1b]0;title\\x07\\x1b[2J\\x1b[31mred\\r"
        );
        assert_eq!(
            printable(hostile, Paint::Color),
            "\\x1b]0;title\\x07\\x1b[2J\u{1b}[31mred\\r"
        );
    }

    #[test]
    fn every_ink_is_a_known_code() {
        for ink in [
            Ink::Bold,
            Ink::Red,
            Ink::Green,
            Ink::Yellow,
            Ink::Blue,
            Ink::Cyan,
            Ink::LightYellow,
        ] {
            let text = Paint::Color.ink(ink, "x");
            assert_eq!(printable(&text, Paint::Color), text);
        }
    }

    #[test]
    fn quotes_escape_what_a_terminal_would_act_on() {
        assert_eq!(quoted("a\"b\\\n\u{1b}[0m"), "\"a\\\"b\\\\\\n\\x1b[0m\"");
    }
}
