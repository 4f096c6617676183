use super::Findings;
use crate::model::{JobType, Parameterized, Periodic};
use std::collections::BTreeSet;

/// A `periodic` block with its defaults.
pub(super) fn periodic(
    findings: &mut Findings,
    given: Option<Periodic>,
    job_type: JobType,
) -> Option<Box<Periodic>> {
    let given = given?;
    findings.require(is_batch(job_type), || {
        "Periodic can only be used with \"batch\" or \"sysbatch\" scheduler".into()
    });
    let enabled = given.enabled.unwrap_or(true);
    let spec = given.spec.unwrap_or_default();
    let specs = given.specs.unwrap_or_default();
    if enabled {
        findings.require(spec.is_empty() || specs.is_empty(), || {
            "Only cron or crons may be used".into()
        });
        findings.require(!spec.is_empty() || !specs.is_empty(), || {
            "Must specify a spec".into()
        });
        for text in std::iter::once(&spec).chain(&specs) {
            if let Err(detail) = check_cron(text) {
                findings.error(format!("Invalid cron spec {text:?}: {detail}"));
            }
        }
    }
    if !spec.is_empty() {
        findings.warning(
            "cron is deprecated and may be removed in a future release. Use crons instead",
        );
    }
    let zone = given.time_zone.unwrap_or_default();
    let fine = zone
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    findings.require(fine, || {
        format!("Invalid time zone {zone:?}: unknown time zone")
    });
    Some(Box::new(Periodic {
        enabled: Some(enabled),
        spec: Some(spec),
        specs: Some(specs).filter(|list| !list.is_empty()),
        spec_type: Some("cron".into()),
        prohibit_overlap: Some(given.prohibit_overlap.unwrap_or(false)),
        time_zone: Some(if zone.is_empty() { "UTC".into() } else { zone }),
    }))
}

/// A `parameterized` block with its defaults.
pub(super) fn parameterized(
    findings: &mut Findings,
    given: Option<Parameterized>,
    job_type: JobType,
) -> Option<Box<Parameterized>> {
    let mut given = given?;
    findings.require(is_batch(job_type), || {
        "Parameterized job can only be used with \"batch\" or \"sysbatch\" scheduler".into()
    });
    if given.payload.is_empty() {
        "optional".clone_into(&mut given.payload);
    }
    let known = ["optional", "required", "forbidden"];
    findings.require(known.contains(&given.payload.as_str()), || {
        format!("Unknown payload requirement: {:?}", given.payload)
    });
    let required: BTreeSet<&String> = given.meta_required.iter().flatten().collect();
    let both: Vec<&String> = given
        .meta_optional
        .iter()
        .flatten()
        .filter(|key| required.contains(key))
        .collect();
    findings.require(both.is_empty(), || {
        format!("Required and optional meta keys should be disjoint. Following keys exist in both: {both:?}")
    });
    given.meta_required = given.meta_required.filter(|list| !list.is_empty());
    given.meta_optional = given.meta_optional.filter(|list| !list.is_empty());
    Some(Box::new(given))
}

fn is_batch(job_type: JobType) -> bool {
    matches!(job_type, JobType::Batch | JobType::Sysbatch)
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field of a time in the form of cron.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Words for numbers from `least` on.
    words: &'static [&'static str],
}

const fn field(name: &'static str, least: u32, most: u32) -> Field {
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
const DAY: Field = field("day of month", 1, 31);
const MONTH: Field = Field {
    words: &MONTHS,
    ..field("month", 1, 12)
};
const WEEKDAY: Field = Field {
    words: &DAYS,
    ..field("day of week", 0, 7)
};
const YEAR: Field = field("year", 1970, 2099);

/// Fields of five, six and seven parts: seconds come first, years last.
const FIELDS: [&[Field]; 3] = [
    &[MINUTE, HOUR, DAY, MONTH, WEEKDAY],
    &[MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR],
    &[SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR],
];

/// What is wrong with a time in the form of cron.
fn check_cron(text: &str) -> Result<(), String> {
    let known = [
        "@annually",
        "@yearly",
        "@monthly",
        "@weekly",
        "@daily",
        "@hourly",
    ];
    if text.is_empty() || known.contains(&text.trim()) {
        return Ok(());
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    let fields = FIELDS
        .iter()
        .find(|fields| fields.len() == parts.len())
        .ok_or_else(|| format!("missing field(s): {} instead of 5 to 7", parts.len()))?;
    fields
        .iter()
        .zip(parts)
        .try_for_each(|(field, part)| part.split(',').try_for_each(|item| field.check(item)))
}

impl Field {
    fn check(&self, item: &str) -> Result<(), String> {
        let bad = || format!("syntax error in {} field: '{item}'", self.name);
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        if let Some(step) = step {
            step.parse::<u32>()
                .ok()
                .filter(|step| *step > 0)
                .ok_or_else(bad)?;
        }
        if matches!(range, "*" | "?") || self.is_special(range) {
            return Ok(());
        }
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (
            self.value(from).ok_or_else(bad)?,
            self.value(to).ok_or_else(bad)?,
        );
        if from <= to { Ok(()) } else { Err(bad()) }
    }

    /// The last day, the nearest workday, or a weekday by its number in the month.
    fn is_special(&self, text: &str) -> bool {
        let value = |text: &str| self.value(text).is_some();
        match self.name {
            "day of month" => {
                matches!(text, "L" | "W" | "LW") || text.strip_suffix('W').is_some_and(value)
            }
            "day of week" => {
                text == "L"
                    || text.strip_suffix('L').is_some_and(value)
                    || text.split_once('#').is_some_and(|(day, number)| {
                        value(day) && matches!(number, "1" | "2" | "3" | "4" | "5")
                    })
            }
            _ => false,
        }
    }

    fn value(&self, text: &str) -> Option<u32> {
        let word = text.get(..3).unwrap_or_default().to_lowercase();
        let by_word = self.words.iter().position(|known| *known == word);
        let number = match by_word {
            Some(at) => u32::try_from(at).ok()? + self.least,
            None => text.parse().ok()?,
        };
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_cron_are_checked_field_by_field() {
        for text in [
            "*/15 * * * *",
            "0 0 1,15 * MON-FRI",
            "0 12 L * ?",
            "5 4 15W * 5#3",
            "0 0 * jan-mar Sunday 2030",
            "30 0 0 * * * *",
            "@daily",
        ] {
            assert_eq!(check_cron(text), Ok(()), "{text}");
        }
        for text in [
            "* * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "* * * * 5#6",
        ] {
            assert!(check_cron(text).is_err(), "{text}");
        }
    }
}
