//! What the parsers of HCL and JSON say about a file, as problems with places and hints.

use super::problem::{Problem, Source};

/// A syntax error of the HCL parser.
pub(super) fn syntax_problem(source: &Source<'_>, error: &hcl_edit::parser::Error) -> Problem {
    let location = error.location();
    let rest = source.text.get(location.offset()..).unwrap_or_default();
    let hint = if rest.trim().is_empty() {
        "The file ends here: is a closing brace or quote missing?"
    } else {
        hint(error.line(), location.column())
    };
    Problem {
        file: source.file.clone(),
        line: location.line(),
        column: location.column(),
        end_line: location.line(),
        end_column: location.column() + 1,
        message: format!("Invalid syntax; {}.", error.message()),
        hint: hint.to_owned(),
    }
}

/// What a frequent slip was probably meant to be.
fn hint(line: &str, column: usize) -> &'static str {
    let before: String = line.chars().take(column.saturating_sub(1)).collect();
    let rest: String = line.chars().skip(column.saturating_sub(1)).collect();
    let open = |marker: &str| {
        before
            .rfind(marker)
            .is_some_and(|at| !before.split_at(at).1.contains('}'))
    };
    match rest.chars().next() {
        _ if open("${") => "To keep \"${\" as it is, for a shell or the client, write \"$${\".",
        _ if open("%{") => "To keep \"%{\" as it is, write \"%%{\".",
        Some(';') => "Use newlines to separate arguments and blocks.",
        Some(':') => "To set an argument, use the equals sign \"=\".",
        Some('"') if before.trim().is_empty() => "Argument names must not be quoted.",
        Some('"') if rest.contains("${") => {
            "Template sequences are not allowed in labels: use the arguments \"id\" and \"name\", or a dynamic block."
        }
        _ => "",
    }
}

/// A syntax error of the JSON parser.
pub(super) fn json_problem(source: &Source<'_>, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(text, _)| text);
    Problem {
        file: source.file.clone(),
        line: error.line(),
        column: error.column(),
        end_line: error.line(),
        end_column: error.column() + 1,
        message: format!("Invalid JSON; {message}"),
        hint: String::new(),
    }
}
