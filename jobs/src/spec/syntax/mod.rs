//! From text to what the parsers make of it, and what they say about a text that they refuse, as
//! problems with places and hints.

mod check;
mod expression;
pub(super) mod tokens;

pub(super) use check::change;

use super::problem::{Problem, Source};
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;

/// A file as far as it can be read.
#[derive(Debug)]
pub(super) struct Read {
    /// What can be read; none when nothing can.
    pub(super) body: Option<Body>,
    /// The text of `body` at the places of the original, where it is another: what cannot be read
    /// is blank.
    pub(super) text: Option<String>,
    /// Syntax errors.
    pub(super) problems: Vec<Problem>,
}

/// Reads a text; after syntax errors, what is left of it when the damaged parts are left out.
///
/// Nothing is left when what is damaged may be referred to from anywhere.
pub(super) fn read(source: &Source<'_>) -> Read {
    let refused = match hcl_edit::parser::parse_body(source.text) {
        Ok(body) => {
            return Read {
                body: Some(body),
                text: None,
                problems: Vec::new(),
            };
        }
        Err(refused) => refused,
    };
    let findings = check::file(source);
    if findings.problems.is_empty() {
        return Read {
            body: None,
            text: None,
            problems: vec![parser_problem(source, &refused)],
        };
    }
    let mut text = source.text.to_owned();
    for span in &findings.damaged {
        let blank: String = source
            .slice(span.clone())
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect();
        text.replace_range(span.clone(), &blank);
    }
    text.push_str(&"\n}".repeat(findings.unclosed));
    let body = if findings.is_wide {
        None
    } else {
        hcl_edit::parser::parse_body(&text).ok()
    };
    Read {
        body,
        text: Some(text),
        problems: findings.problems,
    }
}

/// Reads one expression.
pub(super) fn read_expression(source: &Source<'_>) -> Result<Expression, Vec<Problem>> {
    hcl_edit::parser::parse_expr(source.text).map_err(|refused| {
        let problems = check::expression(source);
        if problems.is_empty() {
            vec![parser_problem(source, &refused)]
        } else {
            problems
        }
    })
}

/// A refusal in the words of the parser, for what only it knows.
fn parser_problem(source: &Source<'_>, error: &hcl_edit::parser::Error) -> Problem {
    let location = error.location();
    Problem {
        file: source.file.clone(),
        line: location.line(),
        column: location.column(),
        end_line: location.line(),
        end_column: location.column() + 1,
        message: format!("Invalid syntax; {}.", error.message()),
        hint: String::new(),
    }
}

/// A syntax error of the JSON parser.
pub(super) fn json_problem(source: &Source<'_>, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(text, _)| text);
    // A line break is behind the last column of its line, and the parser says 0.
    let column = error.column().max(1);
    Problem {
        file: source.file.clone(),
        line: error.line(),
        column,
        end_line: error.line(),
        end_column: column + 1,
        message: format!("Invalid JSON; {message}"),
        hint: String::new(),
    }
}
