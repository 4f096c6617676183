//! Files of properties: `key = value` lines as Java writes them, with `${key}` in values.

use std::collections::BTreeMap;

/// How deep values may name other values.
const DEPTH_MAX: usize = 16;
/// The longest value that may come of it, bytes.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// A value, and the line where its key stands, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) value: String,
    pub(super) line: usize,
}

/// What is wrong, with the line.
pub(super) type Fault = (usize, String);

/// All properties of a file by key, the last of a key wins. `other` is asked for names in `${…}`
/// that are no keys.
pub(super) fn parse(
    text: &str,
    other: impl Fn(&str) -> Option<String>,
) -> (BTreeMap<String, Property>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut raw = BTreeMap::new();
    for (line, text) in logical_lines(text) {
        match pair(&text) {
            Ok((key, value)) => drop(raw.insert(key, Property { value, line })),
            Err(reason) => faults.push((line, reason)),
        }
    }
    let mut whole = BTreeMap::new();
    for (key, property) in &raw {
        let mut path = vec![key.as_str()];
        match expand(&property.value, &raw, &other, &mut path) {
            Ok(value) => {
                let line = property.line;
                whole.insert(key.clone(), Property { value, line });
            }
            Err(reason) => faults.push((property.line, reason)),
        }
    }
    faults.sort();
    (whole, faults)
}

/// Lines without comments and blank ones; one that ends with a backslash goes on with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, natural) in text.lines().enumerate() {
        let natural = natural.trim_start_matches([' ', '\t', '\x0c']);
        let (number, mut line) = match open.take() {
            Some(open) => open,
            None if natural.is_empty() || natural.starts_with(['#', '!']) => continue,
            None => (number + 1, String::new()),
        };
        let slashes = natural.len() - natural.trim_end_matches('\\').len();
        if slashes % 2 == 1 {
            line.push_str(natural.strip_suffix('\\').unwrap_or(natural));
            open = Some((number, line));
        } else {
            line.push_str(natural);
            lines.push((number, line));
        }
    }
    lines.extend(open);
    lines
}

/// Key and value of a line, without escapes.
fn pair(line: &str) -> Result<(String, String), String> {
    let mut end = line.len();
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '=' | ':' | ' ' | '\t' | '\x0c' => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (key, rest) = line.split_at(end);
    let blank = [' ', '\t', '\x0c'];
    let rest = rest.trim_start_matches(blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    Ok((unescaped(key)?, unescaped(rest.trim_start_matches(blank))?))
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let number = u32::from_str_radix(&digits, 16).ok();
                let number = number.filter(|_| digits.len() == 4);
                let Some(found) = number.and_then(char::from_u32) else {
                    return Err(format!("`\\u{digits}` is no character"));
                };
                out.push(found);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

fn expand<'a>(
    value: &'a str,
    raw: &'a BTreeMap<String, Property>,
    other: &impl Fn(&str) -> Option<String>,
    path: &mut Vec<&'a str>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            return Err("a `${` is not closed".to_owned());
        };
        rest = tail;
        if let Some(property) = raw.get(name) {
            if path.contains(&name) || path.len() >= DEPTH_MAX {
                return Err(format!("`${{{name}}}` leads back to itself"));
            }
            path.push(name);
            out.push_str(&expand(&property.value, raw, other, path)?);
            path.pop();
        } else if let Some(value) = other(name) {
            out.push_str(&value);
        }
        if out.len() > VALUE_BYTES_MAX {
            return Err("the value is longer than 1 MiB".to_owned());
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> (Vec<String>, Vec<Fault>) {
        let other = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let (found, faults) = parse(text, other);
        let shown = found.iter().map(|(key, property)| {
            let Property { value, line } = property;
            format!("{line} {key}={value}")
        });
        (shown.collect(), faults)
    }

    #[test]
    fn lines_are_read_as_java_writes_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("# a\n! b\n\n  # c=d\n", &[]),
            ("a=b", &["1 a=b"]),
            ("a = b c ", &["1 a=b c "]),
            ("a: b\nc d e\nf", &["1 a=b", "2 c=d e", "3 f="]),
            ("a = \\\n   b,\\\n   c\nd = e", &["1 a=b,c", "4 d=e"]),
            ("a = x\\n\\\n  y\\tz", &["1 a=x\ny\tz"]),
            ("a\\ b = c\\u0041\\=", &["1 a b=cA="]),
            ("a = b\\\\", &["1 a=b\\"]),
            ("a = 1\na = 2", &["2 a=2"]),
            ("a = b\\", &["1 a=b"]),
            ("a = x=y;z=$path", &["1 a=x=y;z=$path"]),
            (
                "a = ${b}/${HOME}/${none}\nb = 1",
                &["1 a=1//root/", "2 b=1"],
            ),
        ] {
            assert_eq!(
                values(text),
                (expected.iter().map(|&t| t.to_owned()).collect(), Vec::new()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let (found, faults) = values("a = ${b\nc = ${d}\nd = ${c}\ne = \\uzz\n\nf = g");
        assert_eq!(found, ["6 f=g"]);
        let lines: Vec<usize> = faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 4], "{faults:?}");
    }

    #[test]
    fn values_that_name_each_other_stay_small() {
        let mut text = "a0 = xxxxxxxxxxxxxxxx\n".to_owned();
        for step in 1..12 {
            let before = format!("${{a{}}}", step - 1);
            text.push_str(&format!("a{step} = {}\n", before.repeat(16)));
        }
        let (_, faults) = values(&text);
        assert!(!faults.is_empty());
    }
}
