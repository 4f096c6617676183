//! Filter expressions over the JSON of a row: selectors, comparisons, `and`, `or`, `not`,
//! parentheses.
//!
//! The language is a part of go-bexpr: `any` and `all` are not in it and are refused.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Longest expression, bytes.
const BYTES_MAX: usize = 8 * 1024;
/// Deepest nesting of parentheses and `not`.
const DEPTH_MAX: usize = 32;
/// Largest compiled pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// The text is no expression.
    #[error("failed to read filter expression: {0}")]
    Syntax(String),
    /// A selector names nothing.
    #[error("error finding value in datum: {0:?} not found")]
    NoField(String),
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Node);

#[derive(Clone, Debug)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Test { selector: Vec<String>, test: Test },
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    Contains(String),
    Empty,
    Nil,
    Matches(Regex),
}

impl Filter {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > BYTES_MAX {
            return Err(syntax("the expression is too long"));
        }
        let tokens = tokens(text)?;
        let mut parser = Parser {
            tokens: &tokens,
            depth: 0,
        };
        let node = parser.or()?;
        match parser.tokens.first() {
            None => Ok(Self(node)),
            Some(token) => Err(syntax(format!("unexpected {token:?}"))),
        }
    }

    /// Whether a row satisfies it.
    pub(crate) fn matches(&self, row: &Value) -> Result<bool, FilterError> {
        holds(&self.0, row)
    }
}

fn syntax(message: impl Into<String>) -> FilterError {
    FilterError::Syntax(message.into())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Equal,
    Unequal,
    Word(String),
    Quoted(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, rest.strip_prefix('(')),
            ')' => (Token::Close, rest.strip_prefix(')')),
            '=' => (Token::Equal, rest.strip_prefix("==")),
            '!' => (Token::Unequal, rest.strip_prefix("!=")),
            '"' | '`' => quoted(rest, first)?,
            _ => word(rest)?,
        };
        let after = after.ok_or_else(|| syntax(format!("unexpected {first:?}")))?;
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Result<(Token, Option<&str>), FilterError> {
    let mut value = String::new();
    let mut chars = text.chars();
    chars.next();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Quoted(value), Some(chars.as_str()))),
            '\\' if quote == '"' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(c @ ('"' | '\\' | '/')) => value.push(c),
                _ => return Err(syntax("unknown escape in a string")),
            },
            c => value.push(c),
        }
    }
    Err(syntax("a string does not end"))
}

/// A bare word; `Meta["key"]` belongs to it.
fn word(text: &str) -> Result<(Token, Option<&str>), FilterError> {
    let mut in_brackets = false;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            match c {
                '[' => in_brackets = true,
                ']' => in_brackets = false,
                _ => {}
            }
            !in_brackets && (c.is_whitespace() || matches!(c, '(' | ')' | '=' | '!' | '"' | '`'))
        })
        .map_or(text.len(), |(at, _)| at);
    let (word, after) = text.split_at(end);
    if word.is_empty() {
        return Err(syntax("a word is missing"));
    }
    Ok((Token::Word(word.to_owned()), Some(after)))
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(word)) if word == keyword);
        if found {
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        found
    }

    fn next(&mut self) -> Result<Token, FilterError> {
        let (first, rest) = self
            .tokens
            .split_first()
            .ok_or_else(|| syntax("the expression ends too early"))?;
        self.tokens = rest;
        Ok(first.clone())
    }

    fn or(&mut self) -> Result<Node, FilterError> {
        let mut node = self.and()?;
        while self.keyword("or") {
            node = Node::Or(Box::new(node), Box::new(self.and()?));
        }
        Ok(node)
    }

    fn and(&mut self) -> Result<Node, FilterError> {
        let mut node = self.one()?;
        while self.keyword("and") {
            node = Node::And(Box::new(node), Box::new(self.one()?));
        }
        Ok(node)
    }

    fn one(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(syntax("the expression is nested too deeply"));
        }
        let node = if self.keyword("not") {
            Node::Not(Box::new(self.one()?))
        } else if self.tokens.first() == Some(&Token::Open) {
            self.next()?;
            let node = self.or()?;
            if self.next()? != Token::Close {
                return Err(syntax("a closing parenthesis is missing"));
            }
            node
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn test(&mut self) -> Result<Node, FilterError> {
        let left = self.next()?;
        let negate = |node, negated| {
            if negated {
                Node::Not(Box::new(node))
            } else {
                node
            }
        };
        let operator = match self.next()? {
            Token::Equal => "==".to_owned(),
            Token::Unequal => "!=".to_owned(),
            Token::Word(word) => word,
            token => return Err(syntax(format!("an operator is expected, not {token:?}"))),
        };
        let negated = operator == "!=" || operator == "not";
        let operator = if operator == "not" {
            match self.next()? {
                Token::Word(word) => word,
                token => return Err(syntax(format!("an operator is expected, not {token:?}"))),
            }
        } else {
            operator
        };
        match operator.as_str() {
            "==" | "!=" => {
                let test = Test::Equal(self.value()?);
                Ok(negate(test_of(&left, test)?, negated))
            }
            "contains" => {
                let test = Test::Contains(self.value()?);
                Ok(negate(test_of(&left, test)?, negated))
            }
            "matches" => {
                let test = Test::Matches(pattern(&self.value()?)?);
                Ok(negate(test_of(&left, test)?, negated))
            }
            "in" => {
                let (Token::Word(value) | Token::Quoted(value)) = left else {
                    return Err(syntax("a value is expected before `in`"));
                };
                let right = self.next()?;
                Ok(negate(test_of(&right, Test::Contains(value))?, negated))
            }
            "is" if !negated => {
                let negated = self.keyword("not");
                let test = match self.next()? {
                    Token::Word(word) if word == "empty" => Test::Empty,
                    Token::Word(word) if word == "nil" => Test::Nil,
                    token => return Err(syntax(format!("`is` cannot be followed by {token:?}"))),
                };
                Ok(negate(test_of(&left, test)?, negated))
            }
            other => Err(syntax(format!("unknown operator {other:?}"))),
        }
    }

    fn value(&mut self) -> Result<String, FilterError> {
        match self.next()? {
            Token::Word(value) | Token::Quoted(value) => Ok(value),
            token => Err(syntax(format!("a value is expected, not {token:?}"))),
        }
    }
}

fn pattern(text: &str) -> Result<Regex, FilterError> {
    RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| syntax(error.to_string()))
}

fn test_of(token: &Token, test: Test) -> Result<Node, FilterError> {
    let selector = match token {
        Token::Word(word) => dotted(word),
        Token::Quoted(pointer) if pointer.starts_with('/') => pointer
            .split('/')
            .skip(1)
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect(),
        token => return Err(syntax(format!("a selector is expected, not {token:?}"))),
    };
    Ok(Node::Test { selector, test })
}

/// `A.B["c.d"].E` in parts.
fn dotted(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut in_brackets = false;
    for c in word.chars() {
        match c {
            '[' => {
                in_brackets = true;
                parts.push(String::new());
            }
            ']' => in_brackets = false,
            '.' if !in_brackets => parts.push(String::new()),
            '"' | '`' if in_brackets => {}
            c => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn holds(node: &Node, row: &Value) -> Result<bool, FilterError> {
    match node {
        Node::And(left, right) => Ok(holds(left, row)? && holds(right, row)?),
        Node::Or(left, right) => Ok(holds(left, row)? || holds(right, row)?),
        Node::Not(node) => holds(node, row).map(|holds| !holds),
        Node::Test { selector, test } => Ok(passes(test, select(selector, row)?)),
    }
}

/// What a selector names. Below the row a missing key is no value, since rows leave out what is not
/// set and maps have any keys; at the top it is an error unless it is a key that the API knows.
fn select<'a>(selector: &[String], row: &'a Value) -> Result<&'a Value, FilterError> {
    let mut value = row;
    for (depth, part) in selector.iter().enumerate() {
        match value.get(part) {
            Some(next) => value = next,
            None if depth == 0 && !may_be_left_out(part) => {
                return Err(FilterError::NoField(selector.join(".")));
            }
            None => return Ok(&Value::Null),
        }
    }
    Ok(value)
}

/// Keys of rows that are left out when they hold nothing.
fn may_be_left_out(key: &str) -> bool {
    const KEYS: [&str; 16] = [
        "BlockedEval",
        "ClientDescription",
        "DeploymentID",
        "DeploymentStatus",
        "FailedTGAllocs",
        "FollowupEvalID",
        "NextAllocation",
        "NextEval",
        "NodeID",
        "Parameterized",
        "ParameterizedJob",
        "Periodic",
        "PreviousAllocation",
        "PreviousEval",
        "StatusDescription",
        "TaskStates",
    ];
    KEYS.contains(&key)
}

fn passes(test: &Test, value: &Value) -> bool {
    match test {
        Test::Equal(wanted) => text(value) == *wanted,
        Test::Contains(wanted) => match value {
            Value::Array(list) => list.iter().any(|item| text(item) == *wanted),
            Value::Object(map) => map.contains_key(wanted),
            value => text(value).contains(wanted.as_str()),
        },
        Test::Empty => match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        },
        Test::Nil => value.is_null(),
        Test::Matches(pattern) => pattern.is_match(&text(value)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Value {
        json!({
            "ID": "web", "ParentID": "", "Priority": 50, "Stop": false, "Meta": {"a.b": "c"},
            "Datacenters": ["dc1", "dc2"], "Update": null,
        })
    }

    #[test]
    fn expressions_hold_or_not() {
        for (text, expected) in [
            (r#"ID == "web""#, true),
            ("ID == web", true),
            ("ID != web", false),
            ("Priority == 50 and Stop == false", true),
            ("Priority == 51 or ID matches `^w.b$`", true),
            ("not (Priority == 50)", false),
            ("dc1 in Datacenters", true),
            (r#""dc3" not in Datacenters"#, true),
            ("Datacenters contains dc2", true),
            ("Datacenters not contains dc2", false),
            (r#"Meta["a.b"] == c"#, true),
            (r#""/Meta/a.b" == "c""#, true),
            ("Meta.missing is empty", true),
            ("Meta is not empty", true),
            ("Update is nil", true),
            (r#"ParentID == "" and ParameterizedJob is not nil"#, false),
            ("ID == a or ID == b and ID == c or ID == web", true),
        ] {
            let filter = Filter::parse(text).unwrap();
            assert_eq!(filter.matches(&row()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            "ID",
            "ID ==",
            "ID = web",
            "(ID == web",
            "ID == web)",
            r#"ID == "web"#,
            "ID like web",
            "ID matches `(`",
            "any Tags as t { t == x }",
            &"(".repeat(5000),
            &"not ".repeat(2000),
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        let filter = Filter::parse("Nonsense == 1").unwrap();
        assert!(filter.matches(&row()).is_err());
    }

    #[test]
    fn long_chains_do_not_exhaust_the_stack() {
        let text = vec!["ID==a"; 800].join(" or ");
        assert_eq!(Filter::parse(&text).unwrap().matches(&row()), Ok(false));
    }
}
