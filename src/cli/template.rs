//! The part of Go's text templates that `-t` understands: `{{.Field.Path}}`, `{{range
//! .Path}}…{{end}}`, `{{.}}` and quoted text such as `{{"\n"}}`. Everything else is refused by
//! name.

use serde_json::Value;

/// Deepest nesting of `range`.
const DEPTH_MAX: usize = 16;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// `{{` without `}}`.
    #[error("the template has an action without `}}}}`")]
    Unclosed,
    /// `range` without `end`, or the reverse.
    #[error("`range` and `end` of the template do not pair up")]
    Unpaired,
    /// Too many `range` inside each other.
    #[error("`range` is nested more than {DEPTH_MAX} times")]
    TooDeep,
    /// Something that is valid Go and not supported here.
    #[error(
        "`{{{{{0}}}}}` is not supported: a template may hold {{{{.Field.Path}}}}, {{{{.}}}}, {{{{range .Path}}}}…{{{{end}}}} and {{{{\"text\"}}}}"
    )]
    Unsupported(String),
    /// `range` over something that has no elements.
    #[error("`range` needs a list or an object at `{0}`")]
    NotIterable(String),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Field(Vec<String>),
    Range(Vec<String>, Vec<Part>),
}

/// Fills a template with the object of the API.
///
/// # Errors
/// When the template is broken or holds more than is supported.
pub(super) fn render(template: &str, data: &Value) -> Result<String, Error> {
    let mut rest = template;
    let parts = parse(&mut rest, 0)?;
    let mut out = String::new();
    write(&parts, data, &mut out)?;
    Ok(out)
}

fn parse(rest: &mut &str, depth: usize) -> Result<Vec<Part>, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    let mut parts = Vec::new();
    loop {
        let Some((text, tail)) = rest.split_once("{{") else {
            if depth > 0 {
                return Err(Error::Unpaired);
            }
            parts.push(Part::Text((*rest).to_owned()));
            return Ok(parts);
        };
        let (action, tail) = tail.split_once("}}").ok_or(Error::Unclosed)?;
        let mut text = text;
        let mut tail = tail;
        let mut action = action;
        // `{{-` and `-}}` take the white space beside them away.
        if let Some(inner) = action.strip_prefix("- ") {
            action = inner;
            text = text.trim_end();
        }
        if let Some(inner) = action.strip_suffix(" -") {
            action = inner;
            tail = tail.trim_start();
        }
        parts.push(Part::Text(text.to_owned()));
        *rest = tail;
        let action = action.trim();
        if action == "end" {
            return if depth > 0 {
                Ok(parts)
            } else {
                Err(Error::Unpaired)
            };
        }
        if let Some(over) = action.strip_prefix("range ") {
            let over = path(over.trim()).ok_or_else(|| Error::Unsupported(action.to_owned()))?;
            parts.push(Part::Range(over, parse(rest, depth + 1)?));
        } else if let Some(text) = literal(action) {
            parts.push(Part::Text(text));
        } else {
            let field = path(action).ok_or_else(|| Error::Unsupported(action.to_owned()))?;
            parts.push(Part::Field(field));
        }
    }
}

/// `.A.B` as its names; `.` is none.
fn path(text: &str) -> Option<Vec<String>> {
    let names = text.strip_prefix('.')?;
    if names.is_empty() {
        return Some(Vec::new());
    }
    let valid = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    names
        .split('.')
        .map(|name| valid(name).then(|| name.to_owned()))
        .collect()
}

fn literal(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return Some(inner.to_owned());
    }
    if !(text.len() >= 2 && text.starts_with('"') && text.ends_with('"')) {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn lookup<'a>(data: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(data, |at, name| at.get(name))
}

fn write(parts: &[Part], data: &Value, out: &mut String) -> Result<(), Error> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field(path) => print(lookup(data, path), out),
            Part::Range(path, body) => match lookup(data, path) {
                None | Some(Value::Null) => {}
                Some(Value::Array(items)) => {
                    for item in items {
                        write(body, item, out)?;
                    }
                }
                Some(Value::Object(map)) => {
                    for item in map.values() {
                        write(body, item, out)?;
                    }
                }
                Some(_) => return Err(Error::NotIterable(format!(".{}", path.join(".")))),
            },
        }
    }
    Ok(())
}

fn print(value: Option<&Value>, out: &mut String) {
    match value {
        None => out.push_str("<no value>"),
        Some(Value::Null) => out.push_str("<nil>"),
        Some(Value::String(text)) => out.push_str(text),
        Some(Value::Array(items)) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                print(Some(item), out);
            }
            out.push(']');
        }
        Some(Value::Object(map)) => {
            out.push_str("map[");
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                print(Some(item), out);
            }
            out.push(']');
        }
        Some(other) => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: Result<&str, Error>) {
        let data = serde_json::json!({
            "ID": "web", "Count": 3, "None": null, "Meta": {"a": "b"},
            "TaskGroups": [{"Name": "app", "Tasks": [{"Name": "t1"}, {"Name": "t2"}]}],
        });
        assert_eq!(
            render(template, &data),
            expected.map(str::to_owned),
            "{template}"
        );
    }

    #[test]
    fn fields_ranges_and_text() {
        check("{{.ID}}: {{ .Count }}", Ok("web: 3"));
        check("{{.Meta.a}}{{\"\\n\"}}{{.None}}", Ok("b\n<nil>"));
        check(
            "{{range .TaskGroups}}{{.Name}}:{{range .Tasks}} {{.Name}}{{end}};{{end}}",
            Ok("app: t1 t2;"),
        );
        check("{{range .Meta}}{{.}}{{end}}", Ok("b"));
        check("{{range .Missing}}x{{end}}{{.Missing}}", Ok("<no value>"));
        check("a {{- .ID -}} b", Ok("awebb"));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        check(
            "{{if .ID}}x{{end}}",
            Err(Error::Unsupported("if .ID".into())),
        );
        check("{{len .ID}}", Err(Error::Unsupported("len .ID".into())));
        check("{{.ID", Err(Error::Unclosed));
        check("{{range .TaskGroups}}", Err(Error::Unpaired));
        check("{{end}}", Err(Error::Unpaired));
        check(
            "{{range .ID}}{{end}}",
            Err(Error::NotIterable(".ID".into())),
        );
        let deep = "{{range .}}".repeat(100);
        check(&deep, Err(Error::TooDeep));
    }
}
