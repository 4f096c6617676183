//! Times in the form of cron: which instants a text means.

use super::{Periodic, Timestamp};
use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// First and last year that a launch may be in.
const YEARS: [i16; 2] = [1970, 2099];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Words for whole times, with their fields from seconds on.
const WORDS: [(&str, &str); 6] = [
    ("@yearly", "0 0 0 1 1 * *"),
    ("@annually", "0 0 0 1 1 * *"),
    ("@monthly", "0 0 0 1 * * *"),
    ("@weekly", "0 0 0 * * 0 *"),
    ("@daily", "0 0 0 * * * *"),
    ("@hourly", "0 0 * * * * *"),
];

/// The instants that a text in the form of cron means: every whole second at which the clocks of a
/// time zone show what its fields say. So a time that clocks skip does not happen, and one that
/// they show twice happens twice.
///
/// Shape: five fields from minutes to days of the week, six with years, seven with seconds before
/// and years behind. Of the two fields for days, one that restricts days is enough.
///
/// Source: the cron library of the original, whose ranges of days of the week end on Saturday when
/// they are written up to 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    /// Ascending, never empty.
    years: Vec<i16>,
}

/// Days of a month; in sets of numbers, bit n is number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Days {
    /// None when days of the month do not matter.
    of_month: Option<OfMonth>,
    /// None when days of the week do not matter.
    of_week: Option<OfWeek>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OfMonth {
    days: u64,
    /// The workday that is nearest to a day.
    near: u64,
    last: bool,
    last_workday: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OfWeek {
    /// 0 is Sunday.
    days: u64,
    last: u64,
    /// Bit `7 * (n - 1) + day` for the n-th of that day in the month.
    nth: u64,
}

impl Cron {
    /// Reads a time.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let word = WORDS.iter().find(|(word, _)| *word == text);
        let parts: Vec<&str> = word
            .map_or(text, |(_, fields)| fields)
            .split_whitespace()
            .collect();
        let (second, rest) = match parts.as_slice() {
            [second, rest @ ..] if rest.len() == 6 => (*second, rest),
            rest => ("0", rest),
        };
        let ([minute, hour, day, month, weekday], year) = match rest {
            [minute, hour, day, month, weekday] => ([minute, hour, day, month, weekday], "*"),
            [minute, hour, day, month, weekday, year] => {
                ([minute, hour, day, month, weekday], *year)
            }
            _ => {
                return Err(format!(
                    "missing field(s): {} instead of 5 to 7",
                    parts.len()
                ));
            }
        };
        let mut years = YEAR.numbers(year)?;
        years.sort_unstable();
        Ok(Self {
            seconds: set(&SECOND.numbers(second)?),
            minutes: set(&MINUTE.numbers(minute)?),
            hours: set(&HOUR.numbers(hour)?),
            days: Days {
                of_month: OfMonth::parse(day)?,
                of_week: OfWeek::parse(weekday)?,
            },
            months: set(&MONTH.numbers(month)?),
            years,
        })
    }

    /// The first instant after `after` in a time zone; none when there is none any more.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let seconds = after.as_nanos().div_euclid(1_000_000_000) + 1;
        let mut from = jiff::Timestamp::from_second(seconds).ok()?;
        // Between two changes of its offset, the clocks of a zone never jump.
        loop {
            let offset = zone.to_offset(from);
            let wanted = self.next_civil(offset.to_datetime(from))?;
            let found = offset.to_timestamp(wanted).ok()?;
            match zone.following(from).next() {
                Some(change) if change.timestamp() <= found => from = change.timestamp(),
                _ => return Some(Timestamp::from_secs(found.as_second())),
            }
        }
    }

    /// The first date and time that clocks show, this one or later.
    fn next_civil(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let mut earliest = [from.hour(), from.minute(), from.second()];
        loop {
            let year = *self.years.iter().find(|year| **year >= date.year())?;
            let month = if year == date.year() { date.month() } else { 1 };
            let Some(month) = next_in(self.months, month) else {
                (date, earliest) = (Date::new(year + 1, 1, 1).ok()?, [0; 3]);
                continue;
            };
            if (year, month) != (date.year(), date.month()) {
                (date, earliest) = (Date::new(year, month, 1).ok()?, [0; 3]);
            }
            let time = match next_in(self.days.in_month(date), date.day()) {
                None => {
                    (date, earliest) = (date.last_of_month().tomorrow().ok()?, [0; 3]);
                    continue;
                }
                Some(day) if day == date.day() => self.next_time(earliest),
                Some(day) => {
                    date = Date::new(year, month, day).ok()?;
                    self.next_time([0; 3])
                }
            };
            if let Some([hour, minute, second]) = time {
                return Some(date.at(hour, minute, second, 0));
            }
            (date, earliest) = (date.tomorrow().ok()?, [0; 3]);
        }
    }

    /// The first time of a day that is not before one.
    fn next_time(&self, [hour, minute, second]: [i8; 3]) -> Option<[i8; 3]> {
        let first = |numbers| next_in(numbers, 0);
        let next = next_in(self.hours, hour)?;
        if next > hour {
            return Some([next, first(self.minutes)?, first(self.seconds)?]);
        }
        let Some(next) = next_in(self.minutes, minute) else {
            return self.next_time([hour + 1, 0, 0]);
        };
        if next > minute {
            return Some([hour, next, first(self.seconds)?]);
        }
        match next_in(self.seconds, second) {
            Some(second) => Some([hour, minute, second]),
            None => self.next_time([hour, minute + 1, 0]),
        }
    }
}

/// The smallest number of a set that is not below `least`.
fn next_in(numbers: u64, least: i8) -> Option<i8> {
    let from = numbers & u64::MAX.checked_shl(u32::try_from(least).ok()?)?;
    (from != 0).then(|| i8::try_from(from.trailing_zeros()).ok())?
}

fn bit(number: i8) -> u64 {
    1 << number
}

impl Days {
    /// The days of the month that `of` is in.
    fn in_month(self, of: Date) -> u64 {
        let last = of.days_in_month();
        let every = (u64::MAX >> (63 - last)) & !1;
        if self.of_month.is_none() && self.of_week.is_none() {
            return every;
        }
        let day = |number: i8| of.with().day(number).build().ok();
        let by_month = self.of_month.map_or(0, |given| {
            let mut days = given.days;
            for number in (1..=last).filter(|number| given.near & bit(*number) != 0) {
                days |= day(number).map_or(0, |date| bit(workday(date)));
            }
            if given.last {
                days |= bit(last);
            }
            if given.last_workday {
                days |= bit(workday(of.last_of_month()));
            }
            days
        });
        let by_week = self.of_week.map_or(0, |given| {
            let matches = |number: &i8| {
                let weekday = day(*number).map_or(0, |date| date.weekday().to_sunday_zero_offset());
                given.days & bit(weekday) != 0
                    || (given.last & bit(weekday) != 0 && number + 7 > last)
                    || given.nth & bit((number - 1) / 7 * 7 + weekday) != 0
            };
            (1..=last).filter(matches).map(bit).sum()
        });
        (by_month | by_week) & every
    }
}

/// The workday that is nearest to a date within its month.
fn workday(date: Date) -> i8 {
    let (day, last) = (date.day(), date.days_in_month());
    match date.weekday() {
        jiff::civil::Weekday::Saturday if day > 1 => day - 1,
        jiff::civil::Weekday::Saturday => day + 2,
        jiff::civil::Weekday::Sunday if day < last => day + 1,
        jiff::civil::Weekday::Sunday => day - 2,
        _ => day,
    }
}

impl OfMonth {
    /// None when the field restricts nothing.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut given = Self::default();
        let mut restricts = true;
        for item in text.split(',') {
            match DAY.item(item)? {
                Item::All => restricts = false,
                Item::Numbers(numbers) => given.days |= set(&numbers),
                Item::Other => match item.to_lowercase().as_str() {
                    "l" => given.last = true,
                    "lw" => given.last_workday = true,
                    other => {
                        let day = other.strip_suffix('w').and_then(|day| DAY.value(day));
                        given.near |= set(&[day.ok_or_else(|| DAY.bad(item))?]);
                    }
                },
            }
        }
        Ok(restricts.then_some(given))
    }
}

impl OfWeek {
    /// None when the field restricts nothing.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut given = Self::default();
        let mut restricts = true;
        for item in text.split(',') {
            match WEEKDAY.item(item)? {
                Item::All => restricts = false,
                Item::Numbers(numbers) => given.days |= set(&numbers),
                Item::Other => {
                    let bad = || WEEKDAY.bad(item);
                    let day = |text: &str| WEEKDAY.value(text).ok_or_else(bad);
                    if let Some((weekday, number)) = item.split_once('#') {
                        let number = number.parse().ok();
                        let number: i16 = number.filter(|n| (1..=5).contains(n)).ok_or_else(bad)?;
                        given.nth |= set(&[7 * (number - 1) + day(weekday)?]);
                    } else {
                        let weekday = item.strip_suffix(['l', 'L']).ok_or_else(bad)?;
                        given.last |= set(&[day(weekday)?]);
                    }
                }
            }
        }
        Ok(restricts.then_some(given))
    }
}

/// Numbers below 64 as a set.
fn set(numbers: &[i16]) -> u64 {
    numbers.iter().fold(0, |set, number| set | (1 << number))
}

/// One field of a time.
struct Field {
    name: &'static str,
    least: i16,
    most: i16,
    /// Words for numbers from `least` on.
    words: &'static [&'static str],
}

const fn field(name: &'static str, least: i16, most: i16) -> Field {
    Field {
        name,
        least,
        most,
        words: &[],
    }
}

const SECOND: Field = field("second", 0, 59);
const MINUTE: Field = field("minute", 0, 59);
const HOUR: Field = field("hour", 0, 23);
const DAY: Field = field("day-of-month", 1, 31);
const MONTH: Field = Field {
    words: &MONTHS,
    ..field("month", 1, 12)
};
const WEEKDAY: Field = Field {
    words: &DAYS,
    ..field("day-of-week", 0, 6)
};
const YEAR: Field = field("year", YEARS[0], YEARS[1]);

/// What an item of a field means.
enum Item {
    All,
    Numbers(Vec<i16>),
    /// Not a form that all fields have.
    Other,
}

impl Field {
    /// The numbers of a field, in any order.
    fn numbers(&self, text: &str) -> Result<Vec<i16>, String> {
        let mut all = Vec::new();
        for item in text.split(',') {
            match self.item(item)? {
                Item::All => return Ok((self.least..=self.most).collect()),
                Item::Numbers(numbers) => all.extend(numbers),
                Item::Other => return Err(self.bad(item)),
            }
        }
        Ok(all)
    }

    fn bad(&self, item: &str) -> String {
        format!("syntax error in {} field: '{item}'", self.name)
    }

    fn item(&self, item: &str) -> Result<Item, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let step = match step.map(str::parse) {
            None => None,
            Some(Ok(step)) if (1..=self.most).contains(&step) => Some(step),
            Some(_) => return Err(self.bad(item)),
        };
        let (from, to) = match (range, step) {
            ("*" | "?", None) => return Ok(Item::All),
            ("*" | "?", Some(_)) => (Some(self.least), Some(self.most)),
            (range, step) => match range.split_once('-') {
                Some((from, to)) => (self.value(from), self.value(to)),
                None if step.is_some() => (self.value(range), Some(self.most)),
                None => (self.value(range), self.value(range)),
            },
        };
        let (Some(from), Some(to)) = (from, to) else {
            return match step {
                None => Ok(Item::Other),
                Some(_) => Err(self.bad(item)),
            };
        };
        let ends_on_sunday = self.is_week() && to == 0 && range.contains('-');
        let to = if ends_on_sunday { self.most } else { to };
        if from > to {
            return Err(self.bad(item));
        }
        let step = step.and_then(|step| usize::try_from(step).ok());
        Ok(Item::Numbers(
            (from..=to).step_by(step.unwrap_or(1)).collect(),
        ))
    }

    fn is_week(&self) -> bool {
        self.name == WEEKDAY.name
    }

    fn value(&self, text: &str) -> Option<i16> {
        let word = text.get(..3).unwrap_or_default().to_lowercase();
        let by_word = self.words.iter().position(|known| *known == word);
        let number = match by_word {
            Some(at) => i16::try_from(at).ok()? + self.least,
            None => text.parse().ok()?,
        };
        // Sunday is 0 and 7.
        let number = if self.is_week() && number == 7 {
            0
        } else {
            number
        };
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

impl Periodic {
    /// The first launch after `after` in a time zone; none when it is paused, when there is none
    /// any more, or when its times cannot be read.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.enabled == Some(false) {
            return None;
        }
        let spec = self.spec.as_ref().filter(|spec| !spec.is_empty());
        let specs = match spec {
            Some(spec) => std::slice::from_ref(spec),
            None => self.specs.as_deref().unwrap_or_default(),
        };
        let crons = specs.iter().filter_map(|spec| Cron::parse(spec).ok());
        crons.filter_map(|cron| cron.next(after, zone)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that the zone of these tests is ahead of UTC: an hour, and another one from the last
    /// Sunday of March to that of October.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        let instant: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_secs(instant.as_second())
    }

    /// The next launches after an instant, in UTC.
    fn launches(cron: &str, zone: &TimeZone, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let first = cron.next(at(after), zone);
        std::iter::successors(first, |last| cron.next(*last, zone))
            .take(count)
            .map(|launch| launch.to_string())
            .collect()
    }

    #[test]
    fn times_are_read_field_by_field() {
        for text in [
            "*/15 * * * *",
            "0 0 1,15 * MON-FRI",
            "0 12 L * ?",
            "5 4 15W * 5#3",
            "5 4 LW * 5L,sun",
            "0 0 * jan-mar Sunday 2030",
            "30 0 0 * * * *",
            "@daily",
            " @hourly ",
        ] {
            assert!(Cron::parse(text).is_ok(), "{text}");
        }
        for (text, problem) in [
            ("* * *", "missing field(s): 3 instead of 5 to 7"),
            ("", "missing field(s): 0 instead of 5 to 7"),
            ("60 * * * *", "syntax error in minute field: '60'"),
            ("* * 0 * *", "syntax error in day-of-month field: '0'"),
            ("5-1 * * * *", "syntax error in minute field: '5-1'"),
            ("*/0 * * * *", "syntax error in minute field: '*/0'"),
            ("*/60 * * * *", "syntax error in minute field: '*/60'"),
            ("x * * * *", "syntax error in minute field: 'x'"),
            ("1,, * * * *", "syntax error in minute field: ''"),
            ("-1 * * * *", "syntax error in minute field: '-1'"),
            ("* * W * *", "syntax error in day-of-month field: 'W'"),
            ("* * * * L", "syntax error in day-of-week field: 'L'"),
            ("* * * * 5#6", "syntax error in day-of-week field: '5#6'"),
            ("* * * * * 1969", "syntax error in year field: '1969'"),
        ] {
            assert_eq!(Cron::parse(text), Err(problem.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_next_launch_is_what_the_fields_say() {
        let after = "2026-01-31T23:59:59Z";
        for (cron, expected) in [
            (
                "* * * * *",
                ["2026-02-01T00:00:00Z", "2026-02-01T00:01:00Z"],
            ),
            (
                "*/20 * * * *",
                ["2026-02-01T00:00:00Z", "2026-02-01T00:20:00Z"],
            ),
            (
                "50/5 3 * * *",
                ["2026-02-01T03:50:00Z", "2026-02-01T03:55:00Z"],
            ),
            (
                "0 0 31 * *",
                ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
            ),
            (
                "0 0 29 2 *",
                ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
            ),
            (
                "0 12 L * *",
                ["2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z"],
            ),
            (
                "0 12 LW * *",
                ["2026-02-27T12:00:00Z", "2026-03-31T12:00:00Z"],
            ),
            (
                "0 12 1W * *",
                ["2026-02-02T12:00:00Z", "2026-03-02T12:00:00Z"],
            ),
            (
                "0 12 ? * 5#2",
                ["2026-02-13T12:00:00Z", "2026-03-13T12:00:00Z"],
            ),
            (
                "0 12 ? * 5L",
                ["2026-02-27T12:00:00Z", "2026-03-27T12:00:00Z"],
            ),
            // A day of the month or one of the week.
            (
                "0 0 13 * fri",
                ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"],
            ),
            (
                "0 0 * * 5-7",
                ["2026-02-06T00:00:00Z", "2026-02-07T00:00:00Z"],
            ),
            (
                "0 0 * * 7",
                ["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z"],
            ),
            (
                "7,9 0 0 1 1 * 2030",
                ["2030-01-01T00:00:07Z", "2030-01-01T00:00:09Z"],
            ),
            ("@weekly", ["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z"]),
        ] {
            assert_eq!(launches(cron, &TimeZone::UTC, after, 2), expected, "{cron}");
        }
        for cron in [
            "0 0 30 2 *",
            "0 0 * * * 2025",
            "0 0 31 4,6,9,11 * 2030-2099",
        ] {
            assert!(
                launches(cron, &TimeZone::UTC, after, 1).is_empty(),
                "{cron}"
            );
        }
    }

    #[test]
    fn clocks_that_are_changed_skip_a_time_or_show_it_twice() {
        let zone = berlin();
        let spring = "2026-03-28T12:00:00Z";
        assert_eq!(
            launches("30 2 * * *", &zone, spring, 2),
            ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
        );
        assert_eq!(
            launches("0 */2 29 3 *", &zone, "2026-03-28T23:30:00Z", 3),
            [
                "2026-03-29T02:00:00Z",
                "2026-03-29T04:00:00Z",
                "2026-03-29T06:00:00Z"
            ]
        );
        let autumn = "2026-10-24T12:00:00Z";
        assert_eq!(
            launches("30 2 * * *", &zone, autumn, 3),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:30:00Z"
            ]
        );
        assert_eq!(
            launches("0 0 * * *", &zone, autumn, 2),
            ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]
        );
    }

    #[test]
    fn the_earliest_of_several_times_counts() {
        let mut block = Periodic {
            specs: Some(vec!["0 5 * * *".into(), "0 4 * * *".into()]),
            ..Periodic::default()
        };
        let after = at("2026-01-01T00:00:00Z");
        assert_eq!(
            block.next(after, &TimeZone::UTC),
            Some(at("2026-01-01T04:00:00Z"))
        );
        block.enabled = Some(false);
        assert_eq!(block.next(after, &TimeZone::UTC), None);
    }
}
