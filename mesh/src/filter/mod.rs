//! Filter expressions: which rows of an answer a client wants to see.
//!
//! [`Filter::new`] reads an expression and binds it to the fields that a kind of row has, so that
//! an unknown selector or an unfit operator is refused before any row is looked at;
//! [`Filter::holds`] then cannot fail. `syntax` reads the text, `bind` checks it against the
//! fields, `value` compares. Whoever has rows implements [`Row`].
//!
//! Source: filtering page of the API, and its expression library, whose refusals are kept word for
//! word. Differs: selectors in the form of a JSON pointer are understood too, and a pattern does
//! not match what is not there.

mod bind;
mod syntax;
mod value;

use std::collections::BTreeMap;

use bind::Bound;

/// Longest expression, bytes.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;
/// Deepest nesting of parentheses and negations.
pub const NESTING_MAX: usize = 64;
/// Largest compiled pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// An expression that fits a kind of row.
#[derive(Debug, Clone)]
pub struct Filter(Bound);

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is too long.
    #[error("the expression has {bytes} bytes, at most {EXPRESSION_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is no expression.
    #[error("{line}:{column} ({offset}): {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Offset in bytes, from 0.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The rows have no such field.
    #[error("Selector {selector:?} is not valid")]
    Selector {
        /// The part of the selector up to what is unknown.
        selector: String,
    },
    /// The operator does not go with the field.
    #[error("Invalid match operator {operator:?} for selector {selector:?}")]
    Operator {
        /// Name of the operator.
        operator: &'static str,
        /// The selector.
        selector: String,
    },
    /// The value is none of the field's kind.
    #[error("Failed to coerce value {value:?} for selector {selector:?}: {reason}")]
    Value {
        /// The value.
        value: String,
        /// The selector.
        selector: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pattern is no regular expression.
    #[error("Failed to compile regular expression {pattern:?}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The fields of a kind of row, by name.
pub type Fields = &'static [(&'static str, Kind)];

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number with a sign.
    Integer,
    /// A whole number from 0.
    Unsigned,
    /// Yes or no.
    Flag,
    /// Texts.
    Texts,
    /// Texts by key.
    TextMap,
    /// Rows; a field of them holds when it does for any row.
    Rows(Fields),
    /// Rows by key.
    RowMap(Fields),
    /// One row.
    Row(Fields),
}

/// Something that can be filtered.
pub trait Row {
    /// What the field of this name holds, of the kind that the row's [`Fields`] say;
    /// [`Value::Absent`] for one that is not set.
    fn value(&self, name: &str) -> Value<'_>;
}

/// A row whose fields are known before there is one.
pub trait Filterable: Row {
    /// Its fields.
    const FIELDS: Fields;
}

/// What a field of one row holds.
#[expect(missing_debug_implementations, reason = "a row need not be printable")]
#[derive(Clone)]
pub enum Value<'a> {
    /// Of [`Kind::Text`].
    Text(&'a str),
    /// Of [`Kind::Integer`] or [`Kind::Unsigned`].
    Number(i128),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Texts`].
    Texts(&'a [String]),
    /// Of [`Kind::TextMap`].
    TextMap(&'a BTreeMap<String, String>),
    /// Of [`Kind::Rows`].
    Rows(Vec<&'a dyn Row>),
    /// Of [`Kind::RowMap`].
    RowMap(Vec<(&'a str, &'a dyn Row)>),
    /// Of [`Kind::Row`].
    Row(&'a dyn Row),
    /// Nothing, which counts as the empty value of the field's kind.
    Absent,
}

impl Filter {
    /// Reads an expression over rows with these fields.
    ///
    /// # Errors
    /// [`Error`]: the first thing that is wrong.
    pub fn new(text: &str, fields: Fields) -> Result<Self, Error> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(Error::TooLong { bytes: text.len() });
        }
        bind::bind(syntax::parse(text)?, fields).map(Self)
    }

    /// As [`Filter::new`], for rows of type `T`.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn of<T: Filterable>(text: &str) -> Result<Self, Error> {
        Self::new(text, T::FIELDS)
    }

    /// Whether a row satisfies it.
    #[must_use]
    pub fn holds(&self, row: &dyn Row) -> bool {
        value::holds(&self.0, row)
    }
}
