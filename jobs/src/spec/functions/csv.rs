use super::{CallError, Result, failed, text_at};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Rows below a line of column names, each as an object of texts.
pub(super) fn csvdecode(args: &[Value]) -> Result {
    let text = text_at(args, 0)?;
    let mut rows = records(&text)?.into_iter();
    let Some((_, names)) = rows.next() else {
        return Err(failed("missing header line"));
    };
    let mut known = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !known.insert(name.as_str())) {
        return Err(failed(format!("duplicate column name {twice:?}")));
    }
    rows.map(|(line, row)| {
        if row.len() != names.len() {
            return Err(parse_error(line, "wrong number of fields"));
        }
        let row = names.iter().cloned().zip(row.into_iter().map(Value::from));
        Ok(Value::Object(row.collect::<Map<_, _>>()))
    })
    .collect()
}

fn parse_error(line: usize, detail: &str) -> CallError {
    failed(format!("CSV parse error on line {line}: {detail}"))
}

/// The records with the lines that they begin on; empty lines are none.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>> {
    let mut all = Vec::new();
    let mut letters = text.chars().peekable();
    let mut line = 1;
    while letters.peek().is_some() {
        let start = line;
        let mut row = Vec::new();
        loop {
            let (field, last) = if letters.next_if_eq(&'"').is_some() {
                quoted(&mut letters, &mut line)?
            } else {
                bare(&mut letters, line)?
            };
            row.push(field);
            if last {
                break;
            }
        }
        line += 1;
        if row != [""] {
            all.push((start, row));
        }
    }
    Ok(all)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// True when the end of a line, or of the text, was taken.
fn line_end(letters: &mut Letters<'_>) -> bool {
    match letters.peek() {
        None => true,
        Some('\n') => {
            letters.next();
            true
        }
        Some('\r') => {
            let mut ahead = letters.clone();
            ahead.next();
            if matches!(ahead.peek(), None | Some('\n')) {
                ahead.next();
                *letters = ahead;
                return true;
            }
            false
        }
        Some(_) => false,
    }
}

fn bare(letters: &mut Letters<'_>, line: usize) -> Result<(String, bool)> {
    let mut field = String::new();
    loop {
        if line_end(letters) {
            return Ok((field, true));
        }
        match letters.next() {
            Some(',') => return Ok((field, false)),
            Some('"') => return Err(parse_error(line, "bare \" in non-quoted-field")),
            Some(letter) => field.push(letter),
            None => return Ok((field, true)),
        }
    }
}

fn quoted(letters: &mut Letters<'_>, line: &mut usize) -> Result<(String, bool)> {
    let mut field = String::new();
    while let Some(letter) = letters.next() {
        if letter != '"' {
            *line += usize::from(letter == '\n');
            // A line ends in one way, whatever the file has.
            if letter != '\r' || letters.peek() != Some(&'\n') {
                field.push(letter);
            }
            continue;
        }
        if letters.next_if_eq(&'"').is_some() {
            field.push('"');
        } else if letters.next_if_eq(&',').is_some() {
            return Ok((field, false));
        } else if line_end(letters) {
            return Ok((field, true));
        } else {
            break;
        }
    }
    Err(parse_error(
        *line,
        "extraneous or missing \" in quoted-field",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_objects() {
        let decode = |text: &str| csvdecode(&[text.into()]);
        let rows = decode("a,b\r\n1,\"x, \"\"y\"\"\nz\"\n\n2,\n").unwrap();
        assert_eq!(
            rows,
            json!([{"a": "1", "b": "x, \"y\"\nz"}, {"a": "2", "b": ""}])
        );
        assert_eq!(decode("a,b").unwrap(), json!([]));
        for (text, expected) in [
            ("", "missing header line"),
            ("a,a", "duplicate column name \"a\""),
            (
                "a,b\n1",
                "CSV parse error on line 2: wrong number of fields",
            ),
            (
                "a\nx\"y",
                "CSV parse error on line 2: bare \" in non-quoted-field",
            ),
            (
                "a\n\"x",
                "CSV parse error on line 2: extraneous or missing \" in quoted-field",
            ),
        ] {
            assert_eq!(decode(text), Err(failed(expected)), "{text}");
        }
    }
}
