//! Rendered texts that add variables to an environment: a `NAME=value` for each line.

use std::collections::BTreeMap;

/// A line that names no variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the result is no variable: it must be NAME=value")]
pub struct NoVariable {
    /// Counted from 1.
    pub line: usize,
}

/// The variables of a text. Empty lines and what follows a `#` do not count; a value may be quoted,
/// by `"` with the escapes of JSON, by `'` with none.
///
/// # Errors
/// The first line that is no variable.
pub fn variables(text: &str) -> Result<BTreeMap<String, String>, NoVariable> {
    let mut all = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = variable(line).ok_or(NoVariable { line: at + 1 })?;
        all.insert(name, value);
    }
    Ok(all)
}

fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let mut letters = name.chars();
    let first = letters.next()?;
    let begins = first.is_ascii_alphabetic() || first == '_';
    let goes_on = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if !begins || !letters.all(goes_on) {
        return None;
    }
    let value = if let Some(inner) = value.strip_prefix('\'') {
        inner.split_once('\'')?.0.to_owned()
    } else if value.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
        values.next()?.ok()?
    } else if value.starts_with('#') {
        String::new()
    } else {
        let plain = value.split(" #").next().unwrap_or(value);
        plain.trim_end().to_owned()
    };
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables() {
        let text = "# note\n\nA=1\nexport B = two words # note\nC='$x \"y\"'\nD=\"a\\nb\" # note\nE=\nF=a=b\n\
                    app.name-x=1\nG=# note\n";
        let all = variables(text).unwrap();
        let all: Vec<(&str, &str)> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            all,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "$x \"y\""),
                ("D", "a\nb"),
                ("E", ""),
                ("F", "a=b"),
                ("G", ""),
                ("app.name-x", "1"),
            ]
        );
        for text in ["A", "1A=x", "=x", "A B=x", "A=\"x", "A='x"] {
            assert_eq!(variables(text), Err(NoVariable { line: 1 }), "{text}");
        }
        assert_eq!(variables("A=1\nB"), Err(NoVariable { line: 2 }));
    }
}
