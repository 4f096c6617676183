//! Functions that work with texts.

use super::{add, failed, list_at, regex, size_at, text_at, told, yes_or_no};
use crate::values::{self, text as from};
use gotmpl::FuncMap;

/// Widest indentation.
const INDENT_MAX: usize = 1024;

pub(super) fn add_all(map: &mut FuncMap) {
    for name in ["toLower", "sprig_lower"] {
        add(map, name, 1..=1, |args| {
            told(text_at(args, 0)?.to_lowercase())
        });
    }
    for name in ["toUpper", "sprig_upper"] {
        add(map, name, 1..=1, |args| {
            told(text_at(args, 0)?.to_uppercase())
        });
    }
    add(map, "toTitle", 1..=1, |args| {
        told(title(&text_at(args, 0)?))
    });
    trimming(map);
    for name in ["replaceAll", "sprig_replace"] {
        add(map, name, 3..=3, |args| {
            told(text_at(args, 2)?.replace(&text_at(args, 0)?, &text_at(args, 1)?))
        });
    }
    add(map, "regexReplaceAll", 3..=3, |args| {
        let replaced = regex(args)?;
        told(replaced.replace_all(&text_at(args, 2)?, text_at(args, 1)?))
    });
    for name in ["regexMatch", "sprig_regexMatch", "sprig_mustRegexMatch"] {
        add(map, name, 2..=2, |args| {
            yes_or_no(regex(args)?.is_match(&text_at(args, 1)?))
        });
    }
    add(map, "indent", 2..=2, |args| {
        let pad = " ".repeat(size_at(args, 0)?.min(INDENT_MAX));
        let text = text_at(args, 1)?;
        let lines = text.split_inclusive('\n').map(|line| match line {
            "\n" => line.to_owned(),
            line => format!("{pad}{line}"),
        });
        told(lines.collect::<String>())
    });
    add(map, "split", 2..=2, |args| {
        let (mark, whole) = (text_at(args, 0)?, text_at(args, 1)?);
        let whole = whole.trim();
        if whole.is_empty() {
            return Ok(values::list([]));
        }
        if mark.is_empty() {
            return Ok(values::list(
                whole.chars().map(|letter| from(letter.to_string())),
            ));
        }
        Ok(values::list(whole.split(mark.as_str()).map(from)))
    });
    add(map, "splitToMap", 3..=3, |args| {
        let (mark, inner, whole) = (text_at(args, 0)?, text_at(args, 1)?, text_at(args, 2)?);
        if mark.is_empty() || inner.is_empty() {
            return Err(failed("the marks must not be empty"));
        }
        let parts = whole.split(mark.as_str()).filter(|part| !part.is_empty());
        let entries = parts.map(|part| match part.split_once(inner.as_str()) {
            Some((key, value)) => (key, from(value)),
            None => (part, from("")),
        });
        Ok(values::map(entries))
    });
    add(map, "join", 2..=2, |args| {
        let items: Vec<String> = list_at(args, 1)?.iter().map(ToString::to_string).collect();
        told(items.join(&text_at(args, 0)?))
    });
}

fn trimming(map: &mut FuncMap) {
    for name in ["trimSpace", "sprig_trim"] {
        add(map, name, 1..=1, |args| told(text_at(args, 0)?.trim()));
    }
    for name in ["trim", "sprig_trimAll"] {
        add(map, name, 2..=2, |args| {
            let cut: Vec<char> = text_at(args, 0)?.chars().collect();
            told(text_at(args, 1)?.trim_matches(cut.as_slice()))
        });
    }
    for name in ["trimPrefix", "sprig_trimPrefix"] {
        add(map, name, 2..=2, |args| {
            let (start, whole) = (text_at(args, 0)?, text_at(args, 1)?);
            told(whole.strip_prefix(&start).unwrap_or(&whole))
        });
    }
    for name in ["trimSuffix", "sprig_trimSuffix"] {
        add(map, name, 2..=2, |args| {
            let (end, whole) = (text_at(args, 0)?, text_at(args, 1)?);
            told(whole.strip_suffix(&end).unwrap_or(&whole))
        });
    }
}

fn title(text: &str) -> String {
    let mut starts = true;
    let mut title = String::with_capacity(text.len());
    for letter in text.chars() {
        if starts {
            title.extend(letter.to_uppercase());
        } else {
            title.push(letter);
        }
        starts = !letter.is_alphanumeric() && letter != '\'';
    }
    title
}
