//! From text to what the parsers make of it, and what they say about a text that they refuse, as
//! problems with places and hints.

mod check;
mod expression;
pub(super) mod tokens;

pub(super) use check::change;

use super::problem::{Problem, Source};
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;
use tokens::{Kind, tokens};

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
    let parsed = hcl_edit::parser::parse_body(source.text);
    let findings = match &parsed {
        Ok(_) if !is_lenient(source.text) => check::Findings::default(),
        _ => check::file(source),
    };
    if findings.problems.is_empty() {
        let (body, problems) = match parsed {
            Ok(body) => (Some(body), Vec::new()),
            Err(refused) => (None, vec![parser_problem(source, &refused)]),
        };
        return Read {
            body,
            text: None,
            problems,
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
    let parsed = hcl_edit::parser::parse_expr(source.text);
    let problems = match &parsed {
        Ok(_) if !is_lenient(source.text) => Vec::new(),
        _ => check::expression(source),
    };
    match parsed {
        Ok(expression) if problems.is_empty() => Ok(expression),
        Err(refused) if problems.is_empty() => Err(vec![parser_problem(source, &refused)]),
        _ => Err(problems),
    }
}

/// True for a text with something that the parser takes and the language does not: a text in quotes
/// over several lines, or a character outside of texts that means nothing.
fn is_lenient(text: &str) -> bool {
    let odd = |kind| matches!(kind, Kind::QuotedNewline | Kind::Invalid);
    tokens(text).iter().any(|token| odd(token.kind))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_takes_and_the_language_does_not_is_refused() {
        for (text, place) in [
            ("a = \"one\ntwo\"\n", "1,9"),
            ("b {\n  \r\t\n  a = 1\n}\n", "2,3"),
        ] {
            hcl_edit::parser::parse_body(text).expect("the parser takes it");
            let read = read(&Source::new("x", text));
            let first = read.problems.first().map(ToString::to_string);
            let first = first.unwrap_or_default();
            assert!(
                first.starts_with(&format!("x:{place}")),
                "{text:?}: {first}"
            );
        }
        let read = read(&Source::new("x", "a = \"${\n1\n}\"\nb = <<E\none\nE\n"));
        assert_eq!(read.problems, []);
    }
}
