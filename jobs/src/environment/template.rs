use serde_json::Value;

/// Why a string of a driver's configuration could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No variable of that name exists.
    #[error("unknown variable `${{{name}}}`")]
    UnknownVariable {
        /// The name as written.
        name: String,
    },
    /// The text between the braces is no name.
    #[error(
        "`${{{text}}}` is more than the name of a variable, which is all that driver configuration may hold at run time; write `$$${{{text}}}` in the job file to pass it on literally"
    )]
    NotAName {
        /// The text between the braces.
        text: String,
    },
    /// `${` without `}`.
    #[error("`${{` without `}}` in `{text}`")]
    Unclosed {
        /// The whole string.
        text: String,
    },
    /// `%{`, the template language's own control structure.
    #[error("`%{{` in `{text}`; write `%%%{{` in the job file to pass it on literally")]
    Directive {
        /// The whole string.
        text: String,
    },
}

/// Replaces every `${name}` that `lookup` knows.
pub(super) fn replace(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let value = after
            .split_once('}')
            .and_then(|(name, tail)| Some((lookup(name)?, tail)));
        if let Some((value, tail)) = value {
            out.push_str(&value);
            rest = tail;
        } else {
            out.push_str("${");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Replaces every `${…}` in the strings of `value`; what cannot be replaced is noted and left.
pub(super) fn evaluate(
    value: &Value,
    lookup: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Value {
    match value {
        Value::String(text) => Value::String(evaluate_text(text, lookup, problems)),
        Value::Array(items) => items
            .iter()
            .map(|item| evaluate(item, lookup, problems))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, item)| (key.clone(), evaluate(item, lookup, problems)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn evaluate_text(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let Some(place) = rest.find(['$', '%']) else {
            out.push_str(rest);
            return out;
        };
        let (before, at) = rest.split_at(place);
        out.push_str(before);
        if let Some(tail) = at.strip_prefix("$${") {
            out.push_str("${");
            rest = tail;
        } else if let Some(tail) = at.strip_prefix("%%{") {
            out.push_str("%{");
            rest = tail;
        } else if let Some(tail) = at.strip_prefix("%{") {
            problems.push(Problem::Directive {
                text: text.to_owned(),
            });
            rest = tail;
        } else if let Some(tail) = at.strip_prefix("${") {
            let Some((name, tail)) = tail.split_once('}') else {
                problems.push(Problem::Unclosed {
                    text: text.to_owned(),
                });
                return out;
            };
            match resolve(name.trim(), lookup) {
                Ok(value) => out.push_str(&value),
                Err(problem) => problems.push(problem),
            }
            rest = tail;
        } else {
            let mut chars = at.chars();
            out.extend(chars.next());
            rest = chars.as_str();
        }
    }
}

fn resolve(name: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    if let Some(value) = lookup(name) {
        return Ok(value);
    }
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    let quoted = name
        .strip_prefix("env[\"")
        .and_then(|text| text.strip_suffix("\"]"));
    if plain(name) || quoted.is_some() {
        Err(Problem::UnknownVariable {
            name: name.to_owned(),
        })
    } else {
        Err(Problem::NotAName {
            text: name.to_owned(),
        })
    }
}
