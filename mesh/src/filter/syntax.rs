//! From text to expression. Words need white space around them; a number has to end where it ends.

use super::{Error, NESTING_MAX};

/// An expression as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// All of them hold.
    All(Vec<Expression>),
    /// One of them holds.
    Any(Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// What a selector names is compared.
    Test {
        selector: Vec<String>,
        operator: Operator,
        value: String,
    },
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Operator {
    /// The name that refusals give it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "Not Equal",
            Self::In => "In",
            Self::NotIn => "Not In",
            Self::IsEmpty => "Is Empty",
            Self::IsNotEmpty => "Is Not Empty",
            Self::Matches => "Matches",
            Self::NotMatches => "Not Matches",
        }
    }
}

/// What stands between a selector and a value. White space around the signs is optional.
const BEFORE_VALUES: [(&[&str], Operator); 6] = [
    (&["=="], Operator::Equal),
    (&["!="], Operator::NotEqual),
    (&["contains"], Operator::In),
    (&["not", "contains"], Operator::NotIn),
    (&["matches"], Operator::Matches),
    (&["not", "matches"], Operator::NotMatches),
];
/// What stands behind a selector.
const AT_END: [(&[&str], Operator); 2] = [
    (&["is", "empty"], Operator::IsEmpty),
    (&["is", "not", "empty"], Operator::IsNotEmpty),
];
/// What stands between a value and a selector.
const BEFORE_SELECTORS: [(&[&str], Operator); 2] =
    [(&["in"], Operator::In), (&["not", "in"], Operator::NotIn)];

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Expression, Error> {
    let mut reader = Reader { text, at: 0 };
    reader.spaces();
    let expression = reader.any(0).map_err(|failure| failure.located(text))?;
    reader.spaces();
    if reader.rest().is_empty() {
        return Ok(expression);
    }
    let failure = reader.failure("`and`, `or` or the end of the expression is expected");
    Err(failure.located(text))
}

/// What is wrong, and where.
#[derive(Debug)]
struct Failure {
    at: usize,
    reason: String,
}

impl Failure {
    fn located(self, text: &str) -> Error {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Error::Syntax {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            offset: self.at,
            reason: self.reason,
        }
    }

    /// The one that got further.
    fn further(self, other: Self) -> Self {
        if other.at > self.at { other } else { self }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn failure(&self, reason: &str) -> Failure {
        Failure {
            at: self.at,
            reason: reason.to_owned(),
        }
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over characters that satisfy `is`; returns them.
    fn take(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// Steps over white space; returns whether there was any.
    fn spaces(&mut self) -> bool {
        !self
            .take(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
            .is_empty()
    }

    fn skip(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    /// Steps over words with white space before and after each of them; none are stepped over when
    /// one is missing. The last word may be the last of the text when `ends`.
    fn words(&mut self, words: &[&str], ends: bool) -> bool {
        let start = self.at;
        let mut is_there = self.spaces();
        for (at, word) in words.iter().enumerate() {
            let is_last = at + 1 == words.len();
            is_there = is_there && self.skip(word) && (self.spaces() || (is_last && ends));
        }
        if !is_there {
            self.at = start;
        }
        is_there
    }

    fn any(&mut self, depth: usize) -> Result<Expression, Failure> {
        let mut parts = vec![self.all(depth)?];
        while self.words(&["or"], false) {
            parts.push(self.all(depth)?);
        }
        Ok(joined(parts, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, Failure> {
        let mut parts = vec![self.one(depth)?];
        while self.words(&["and"], false) {
            parts.push(self.one(depth)?);
        }
        Ok(joined(parts, Expression::All))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, Failure> {
        if depth >= NESTING_MAX {
            return Err(self.failure("the expression is nested too deeply"));
        }
        let start = self.at;
        let mut failed = None;
        if self.skip("not") && self.spaces() {
            match self.one(depth + 1) {
                Ok(Expression::Not(inner)) => return Ok(*inner),
                Ok(inner) => return Ok(Expression::Not(Box::new(inner))),
                // `not` may be a value or a selector too.
                Err(failure) => failed = Some(failure),
            }
        }
        self.at = start;
        if self.next() == Some('(') {
            return self.grouped(depth);
        }
        self.test().map_err(|failure| match failed {
            Some(other) => failure.further(other),
            None => failure,
        })
    }

    fn grouped(&mut self, depth: usize) -> Result<Expression, Failure> {
        self.skip("(");
        self.spaces();
        let inner = self.any(depth + 1)?;
        self.spaces();
        if self.skip(")") {
            Ok(inner)
        } else {
            Err(self.failure("rule \"grouping\": Unmatched parentheses"))
        }
    }

    fn test(&mut self) -> Result<Expression, Failure> {
        let start = self.at;
        let first = match self.after_selector() {
            Ok(test) => return Ok(test),
            Err(failure) => failure,
        };
        self.at = start;
        self.after_value().map_err(|second| second.further(first))
    }

    fn after_selector(&mut self) -> Result<Expression, Failure> {
        let selector = self.selector()?;
        for (words, operator) in BEFORE_VALUES {
            if self.operator(words) {
                let value = self.value()?;
                return Ok(Expression::Test {
                    selector,
                    operator,
                    value,
                });
            }
        }
        for (words, operator) in AT_END {
            let start = self.at;
            if self.words(words, true) {
                // White space behind it belongs to what follows.
                let read = self.text.get(start..self.at).unwrap_or_default();
                self.at = start + read.trim_end().len();
                let value = String::new();
                return Ok(Expression::Test {
                    selector,
                    operator,
                    value,
                });
            }
        }
        Err(self.failure("rule \"match\": an operator is expected"))
    }

    fn after_value(&mut self) -> Result<Expression, Failure> {
        let value = self.value()?;
        for (words, operator) in BEFORE_SELECTORS {
            if self.words(words, false) {
                let selector = self.selector()?;
                return Ok(Expression::Test {
                    selector,
                    operator,
                    value,
                });
            }
        }
        Err(self.failure("rule \"match\": an operator is expected"))
    }

    fn operator(&mut self, words: &[&str]) -> bool {
        let [sign @ ("==" | "!=")] = words else {
            return self.words(words, false);
        };
        let start = self.at;
        self.spaces();
        let is_there = self.skip(sign);
        if is_there {
            self.spaces();
        } else {
            self.at = start;
        }
        is_there
    }

    fn selector(&mut self) -> Result<Vec<String>, Failure> {
        if self.next() == Some('"') {
            return self.pointer();
        }
        let mut parts = vec![self.identifier()?];
        loop {
            if self.skip(".") {
                let digits = self.take(|c| c.is_ascii_digit());
                parts.push(if digits.is_empty() {
                    self.identifier()?
                } else {
                    digits.to_owned()
                });
            } else if self.skip("[") {
                self.spaces();
                if !matches!(self.next(), Some('"' | '`')) {
                    return Err(self.failure("rule \"index\": Invalid index"));
                }
                parts.push(self.quoted()?);
                self.spaces();
                if !self.skip("]") {
                    return Err(self.failure("rule \"index\": Unclosed index expression"));
                }
            } else {
                return Ok(parts);
            }
        }
    }

    /// `"/Meta/a.b"`, with `~1` for `/` and `~0` for `~`.
    fn pointer(&mut self) -> Result<Vec<String>, Failure> {
        self.skip("\"");
        let mut parts = Vec::new();
        while self.skip("/") {
            let is_part =
                |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | ':' | '|');
            let part = self.take(is_part);
            if part.is_empty() {
                return Err(self.failure("rule \"selector\": a part of the pointer is empty"));
            }
            parts.push(part.replace("~1", "/").replace("~0", "~"));
        }
        if parts.is_empty() || !self.skip("\"") {
            return Err(self.failure("rule \"selector\": this is no pointer"));
        }
        Ok(parts)
    }

    fn identifier(&mut self) -> Result<String, Failure> {
        if !self.next().is_some_and(|c| c.is_ascii_alphabetic()) {
            return Err(self.failure("a selector or a value is expected"));
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
        Ok(self.take(is_part).to_owned())
    }

    fn value(&mut self) -> Result<String, Failure> {
        match self.next() {
            Some('"' | '`') => self.quoted(),
            Some('-' | '0'..='9') => self.number(),
            _ => Ok(self.selector()?.join(".")),
        }
    }

    fn number(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.skip("-");
        let whole = self.take(|c| c.is_ascii_digit());
        let has_part = self.skip(".");
        let part = self.take(|c| c.is_ascii_digit());
        let is_number = (whole == "0" || (!whole.is_empty() && !whole.starts_with('0')))
            && has_part != part.is_empty();
        let ends = matches!(self.next(), None | Some(' ' | '\t' | '\r' | '\n' | ')'));
        if is_number && ends {
            return Ok(self.text.get(start..self.at).unwrap_or_default().to_owned());
        }
        self.at = start;
        Err(self.failure("rule \"number\": Invalid number literal"))
    }

    fn quoted(&mut self) -> Result<String, Failure> {
        let start = self.at;
        let Some(quote) = self.next() else {
            return Err(self.failure("a text is expected"));
        };
        self.at += quote.len_utf8();
        let inner = self.take(|c| c != quote);
        if self.next() != Some(quote) {
            return Err(self.failure("rule \"string\": Unterminated string literal"));
        }
        self.at += quote.len_utf8();
        if quote == '`' {
            return Ok(inner.replace('\r', ""));
        }
        unescaped(inner).ok_or_else(|| {
            self.at = start;
            self.failure("rule \"string\": invalid syntax")
        })
    }
}

fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}

/// A text without its escapes; none when one of them is no escape.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\n' {
            return None;
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next()? {
            'a' => bytes.push(0x07),
            'b' => bytes.push(0x08),
            'f' => bytes.push(0x0c),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(0x0b),
            '\\' => bytes.push(b'\\'),
            'x' => bytes.push(u8::try_from(digits(&mut chars, 2, 16)?).ok()?),
            'u' => push(&mut bytes, digits(&mut chars, 4, 16)?)?,
            'U' => push(&mut bytes, digits(&mut chars, 8, 16)?)?,
            first @ '0'..='7' => {
                let rest = digits(&mut chars, 2, 8)?;
                bytes.push(u8::try_from(first.to_digit(8)? * 64 + rest).ok()?);
            }
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn push(bytes: &mut Vec<u8>, code: u32) -> Option<()> {
    let c = char::from_u32(code)?;
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, count: u32, radix: u32) -> Option<u32> {
    let mut code: u32 = 0;
    for _ in 0..count {
        let digit = chars.next()?.to_digit(radix)?;
        code = code.checked_mul(radix)?.checked_add(digit)?;
    }
    Some(code)
}
