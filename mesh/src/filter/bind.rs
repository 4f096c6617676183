//! From an expression to one that fits the fields of a kind of row.

use regex::{Regex, RegexBuilder};

use super::syntax::{Expression, Operator};
use super::{Error, Fields, Kind, PATTERN_BYTES_MAX};

/// An expression whose selectors, operators and values go together.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    /// All of them hold.
    All(Vec<Bound>),
    /// One of them holds.
    Any(Vec<Bound>),
    /// It does not hold.
    Not(Box<Bound>),
    /// What is behind the steps is compared.
    Test { steps: Vec<Step>, test: Test },
}

/// One step from a row to what is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To the field of a row.
    Field(String),
    /// To the value of a key.
    Key(String),
    /// To any of several rows.
    Each,
}

/// A comparison, and whether it is turned round.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) comparison: Comparison,
    pub(super) is_negated: bool,
}

/// What has to be so.
#[derive(Debug, Clone)]
pub(super) enum Comparison {
    /// The text is this one.
    Text(String),
    /// The number is this one.
    Number(i128),
    /// It is this.
    Flag(bool),
    /// The text has this part.
    Part(String),
    /// It is among the texts or keys.
    Among(String),
    /// There are none.
    Empty,
    /// The text matches.
    Matches(Regex),
}

/// Binds an expression to fields.
pub(super) fn bind(expression: Expression, fields: Fields) -> Result<Bound, Error> {
    let all = |parts: Vec<Expression>| -> Result<Vec<Bound>, Error> {
        parts.into_iter().map(|part| bind(part, fields)).collect()
    };
    Ok(match expression {
        Expression::All(parts) => Bound::All(all(parts)?),
        Expression::Any(parts) => Bound::Any(all(parts)?),
        Expression::Not(inner) => Bound::Not(Box::new(bind(*inner, fields)?)),
        Expression::Test {
            selector,
            operator,
            value,
        } => {
            let (steps, kind) = steps(&selector, fields)?;
            let test = test(kind, operator, value, &selector.join("."))?;
            Bound::Test { steps, test }
        }
    })
}

/// The way to what a selector names, and what is there.
fn steps(selector: &[String], fields: Fields) -> Result<(Vec<Step>, Kind), Error> {
    let mut steps = Vec::new();
    let mut kind = Kind::Row(fields);
    for (at, name) in selector.iter().enumerate() {
        let invalid = || Error::Selector {
            selector: selector.get(..=at).unwrap_or_default().join("."),
        };
        let field = |fields: Fields| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, kind)| *kind).ok_or_else(invalid)
        };
        let (step, next) = match kind {
            Kind::Row(fields) => (Step::Field(name.clone()), field(fields)?),
            Kind::Rows(fields) => {
                steps.push(Step::Each);
                (Step::Field(name.clone()), field(fields)?)
            }
            Kind::TextMap => (Step::Key(name.clone()), Kind::Text),
            Kind::RowMap(fields) => (Step::Key(name.clone()), Kind::Row(fields)),
            Kind::Text | Kind::Integer | Kind::Unsigned | Kind::Flag | Kind::Texts => {
                return Err(invalid());
            }
        };
        steps.push(step);
        kind = next;
    }
    Ok((steps, kind))
}

fn test(kind: Kind, operator: Operator, value: String, selector: &str) -> Result<Test, Error> {
    let unfit = || Error::Operator {
        operator: operator.name(),
        selector: selector.to_owned(),
    };
    let comparison = match (kind, operator) {
        (Kind::Text, Operator::Equal | Operator::NotEqual) => Comparison::Text(value),
        (Kind::Text, Operator::In | Operator::NotIn) => Comparison::Part(value),
        (Kind::Text, Operator::Matches | Operator::NotMatches) => {
            Comparison::Matches(pattern(value)?)
        }
        (Kind::Integer | Kind::Unsigned | Kind::Flag, Operator::Equal | Operator::NotEqual) => {
            coerced(kind, &value).map_err(|reason| Error::Value {
                value,
                selector: selector.to_owned(),
                reason,
            })?
        }
        (Kind::Texts | Kind::TextMap | Kind::RowMap(_), Operator::In | Operator::NotIn) => {
            Comparison::Among(value)
        }
        (
            Kind::Texts | Kind::TextMap | Kind::RowMap(_) | Kind::Rows(_),
            Operator::IsEmpty | Operator::IsNotEmpty,
        ) => Comparison::Empty,
        _ => return Err(unfit()),
    };
    let is_negated = matches!(
        operator,
        Operator::NotEqual | Operator::NotIn | Operator::IsNotEmpty | Operator::NotMatches
    );
    Ok(Test {
        comparison,
        is_negated,
    })
}

fn pattern(text: String) -> Result<Regex, Error> {
    let built = RegexBuilder::new(&text)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    built.map_err(|error| Error::Pattern {
        pattern: text,
        reason: error.to_string(),
    })
}

fn coerced(kind: Kind, value: &str) -> Result<Comparison, String> {
    let refused =
        |function: &str, reason: &str| format!("strconv.{function}: parsing {value:?}: {reason}");
    if kind == Kind::Flag {
        return match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Comparison::Flag(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Comparison::Flag(false)),
            _ => Err(refused("ParseBool", "invalid syntax")),
        };
    }
    let (function, least, most) = match kind {
        Kind::Unsigned => ("ParseUint", 0, i128::from(u64::MAX)),
        _ => ("ParseInt", i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    let is_signed = value.starts_with(['-', '+']);
    let Some(number) = whole(value).filter(|_| !is_signed || kind == Kind::Integer) else {
        return Err(refused(function, "invalid syntax"));
    };
    if (least..=most).contains(&number) {
        Ok(Comparison::Number(number))
    } else {
        Err(refused(function, "value out of range"))
    }
}

/// A whole number, in the base that its first characters say.
fn whole(text: &str) -> Option<i128> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text.strip_prefix('+').unwrap_or(text), 1),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (lower.get(2..), 16),
        Some("0b") => (lower.get(2..), 2),
        Some("0o") => (lower.get(2..), 8),
        _ if lower.len() > 1 && lower.starts_with('0') => (lower.get(1..), 8),
        _ => (Some(lower.as_str()), 10),
    };
    let digits = digits.filter(|digits| !digits.is_empty())?;
    let mut number: i128 = 0;
    for c in digits.chars() {
        let digit = i128::from(c.to_digit(radix)?);
        // Beyond any range it only has to stay there.
        number = number
            .saturating_mul(i128::from(radix))
            .saturating_add(digit);
    }
    Some(number * sign)
}
