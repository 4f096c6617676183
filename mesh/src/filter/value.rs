//! Whether a row satisfies an expression.

use super::bind::{Bound, Comparison, Step, Test};
use super::{Row, Value};

/// Whether it does.
pub(super) fn holds(bound: &Bound, row: &dyn Row) -> bool {
    match bound {
        Bound::All(parts) => parts.iter().all(|part| holds(part, row)),
        Bound::Any(parts) => parts.iter().any(|part| holds(part, row)),
        Bound::Not(inner) => !holds(inner, row),
        Bound::Test { steps, test } => reaches(Value::Row(row), steps, test),
    }
}

/// Walks to what is compared, and compares.
fn reaches(value: Value<'_>, steps: &[Step], test: &Test) -> bool {
    let Some((step, steps)) = steps.split_first() else {
        return test.comparison.holds(&value) != test.is_negated;
    };
    match (step, value) {
        (Step::Field(name), Value::Row(row)) => reaches(row.value(name), steps, test),
        (Step::Field(_), _) => reaches(Value::Absent, steps, test),
        (Step::Key(key), Value::TextMap(map)) => match map.get(key) {
            Some(text) => reaches(Value::Text(text), steps, test),
            None => test.holds_without_key(),
        },
        (Step::Key(key), Value::RowMap(rows)) => {
            let row = rows.into_iter().find(|(known, _)| known == key);
            match row {
                Some((_, row)) => reaches(Value::Row(row), steps, test),
                None => test.holds_without_key(),
            }
        }
        (Step::Key(_), _) => test.holds_without_key(),
        (Step::Each, Value::Rows(rows)) => rows
            .into_iter()
            .any(|row| reaches(Value::Row(row), steps, test)),
        (Step::Each, _) => false,
    }
}

impl Test {
    /// What is said of a key that is not there: it equals nothing, is in nothing and is empty.
    fn holds_without_key(&self) -> bool {
        matches!(self.comparison, Comparison::Empty) != self.is_negated
    }
}

impl Comparison {
    fn holds(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(wanted), Value::Text(text)) => wanted == text,
            (Self::Text(wanted), _) => wanted.is_empty(),
            (Self::Part(part), Value::Text(text)) => text.contains(part),
            (Self::Part(part), _) => part.is_empty(),
            (Self::Matches(pattern), Value::Text(text)) => pattern.is_match(text),
            (Self::Matches(pattern), _) => pattern.is_match(""),
            (Self::Number(wanted), Value::Number(number)) => wanted == number,
            (Self::Number(wanted), _) => *wanted == 0,
            (Self::Flag(wanted), Value::Flag(flag)) => wanted == flag,
            (Self::Flag(wanted), _) => !*wanted,
            (Self::Among(wanted), Value::Texts(texts)) => texts.contains(wanted),
            (Self::Among(wanted), Value::TextMap(map)) => map.contains_key(wanted),
            (Self::Among(wanted), Value::RowMap(rows)) => rows.iter().any(|(key, _)| key == wanted),
            (Self::Among(_), _) => false,
            (Self::Empty, Value::Texts(texts)) => texts.is_empty(),
            (Self::Empty, Value::TextMap(map)) => map.is_empty(),
            (Self::Empty, Value::Rows(rows)) => rows.is_empty(),
            (Self::Empty, Value::RowMap(rows)) => rows.is_empty(),
            (Self::Empty, _) => true,
        }
    }
}
