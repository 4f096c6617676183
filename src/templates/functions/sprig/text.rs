//! Texts: their letters, their words, patterns and paths.

use super::{
    super::{Answer, add, argument, failed, integer_at, regex, size_at, text_at, told, yes_or_no},
    items,
};
use crate::values::{self, text as from};
use gotmpl::{FuncMap, TemplateError, Value};

/// Longest text that a repetition or an indentation makes, bytes.
const MADE_BYTES_MAX: usize = crate::RESULT_BYTES_MAX;
/// Widest indentation.
const INDENT_MAX: usize = 1024;
/// What an abbreviated text ends with.
const DOTS: &str = "...";

pub(super) fn add_all(map: &mut FuncMap) {
    cases(map);
    cutting(map);
    asking(map);
    joining(map);
    patterns(map);
    paths(map);
}

type Change = fn(&str) -> String;

fn cases(map: &mut FuncMap) {
    let changes: [(&'static str, Change); 8] = [
        ("sprig_title", |text| {
            of_words(text, |first| first.to_uppercase().collect())
        }),
        ("sprig_untitle", |text| {
            of_words(text, |first| first.to_lowercase().collect())
        }),
        ("sprig_swapcase", swapped),
        ("sprig_snakecase", |text| words(text).join("_")),
        ("sprig_kebabcase", |text| words(text).join("-")),
        ("sprig_camelcase", |text| {
            let words = words(text).into_iter();
            let words = words.map(|word| of_words(&word, |first| first.to_uppercase().collect()));
            words.collect()
        }),
        ("sprig_initials", |text| {
            let words = text.split_whitespace();
            words.filter_map(|word| word.chars().next()).collect()
        }),
        ("sprig_regexQuoteMeta", |text| regex::escape(text)),
    ];
    for (name, change) in changes {
        add(map, name, 1..=1, move |args| {
            told(change(&text_at(args, 0)?))
        });
    }
}

/// The text with the first letter of each of its words as `first` makes it.
fn of_words(text: &str, first: impl Fn(char) -> String) -> String {
    let mut starts = true;
    let mut made = String::with_capacity(text.len());
    for letter in text.chars() {
        if starts {
            made.push_str(&first(letter));
        } else {
            made.push(letter);
        }
        starts = letter.is_whitespace();
    }
    made
}

fn swapped(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_uppercase() {
            made.extend(letter.to_lowercase());
        } else {
            made.extend(letter.to_uppercase());
        }
    }
    made
}

/// The words of a name, in small letters: `HTTPServer`, `http_server` and `http server` have two.
fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        if !letter.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let starts_after_small = before.is_some_and(|own| own.is_lowercase() || own.is_numeric());
        let ends_capitals = before.is_some_and(|own| own.is_uppercase())
            && letters.get(at + 1).is_some_and(|own| own.is_lowercase());
        if letter.is_uppercase() && (starts_after_small || ends_capitals) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn cutting(map: &mut FuncMap) {
    add(map, "sprig_nospace", 1..=1, |args| {
        let letters = text_at(args, 0)?;
        told(letters.split_whitespace().collect::<String>())
    });
    add(map, "sprig_substr", 3..=3, |args| {
        let whole: Vec<char> = text_at(args, 2)?.chars().collect();
        let (start, end) = (integer_at(args, 0)?, integer_at(args, 1)?);
        let start = usize::try_from(start).unwrap_or(0).min(whole.len());
        // A negative end is that of the text.
        let end = usize::try_from(end).unwrap_or(whole.len());
        let end = end.clamp(start, whole.len());
        told(part(&whole, start, end))
    });
    add(map, "sprig_trunc", 2..=2, |args| {
        let whole: Vec<char> = text_at(args, 1)?.chars().collect();
        let count = integer_at(args, 0)?;
        let kept = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let kept = kept.min(whole.len());
        if count < 0 {
            return told(part(&whole, whole.len() - kept, whole.len()));
        }
        told(part(&whole, 0, kept))
    });
    add(map, "sprig_abbrev", 2..=2, |args| {
        told(abbreviated(&text_at(args, 1)?, 0, size_at(args, 0)?))
    });
    add(map, "sprig_abbrevboth", 3..=3, |args| {
        let (offset, width) = (size_at(args, 0)?, size_at(args, 1)?);
        told(abbreviated(&text_at(args, 2)?, offset, width))
    });
    add(map, "sprig_wrap", 2..=2, |args| {
        told(wrapped(&text_at(args, 1)?, size_at(args, 0)?, "\n"))
    });
    add(map, "sprig_wrapWith", 3..=3, |args| {
        let mark = text_at(args, 1)?;
        told(wrapped(&text_at(args, 2)?, size_at(args, 0)?, &mark))
    });
    for (name, before) in [("sprig_indent", ""), ("sprig_nindent", "\n")] {
        add(map, name, 2..=2, move |args| {
            let pad = " ".repeat(size_at(args, 0)?.min(INDENT_MAX));
            let whole = text_at(args, 1)?;
            let lines = whole.split('\n').count();
            within(whole.len().saturating_add(lines.saturating_mul(pad.len())))?;
            let indented = whole.replace('\n', &format!("\n{pad}"));
            told(format!("{before}{pad}{indented}"))
        });
    }
}

fn part(letters: &[char], start: usize, end: usize) -> String {
    letters.get(start..end).unwrap_or_default().iter().collect()
}

fn within(bytes: usize) -> Result<(), TemplateError> {
    if bytes > MADE_BYTES_MAX {
        return Err(failed(format!("more than {MADE_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// At most so wide, from an offset on, with dots for what is left out.
fn abbreviated(text: &str, offset: usize, width: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    let count = letters.len();
    if width < 4 || (offset > 0 && width < 7) || count <= width {
        return text.to_owned();
    }
    let room = width - DOTS.len();
    let offset = offset.min(count).min(count - room);
    if offset <= 4 {
        return format!("{}{DOTS}", part(&letters, 0, room));
    }
    if offset + room < count {
        let rest = part(&letters, offset, count);
        return format!("{DOTS}{}", abbreviated(&rest, 0, width - DOTS.len()));
    }
    format!("{DOTS}{}", part(&letters, count - room, count))
}

/// Lines of at most so many letters; a word that is longer stays whole.
fn wrapped(text: &str, width: usize, mark: &str) -> String {
    let width = width.max(1);
    let (mut made, mut used) = (String::with_capacity(text.len()), 0);
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && used + 1 + length > width {
            made.push_str(mark);
            used = 0;
        } else if at > 0 {
            made.push(' ');
            used += 1;
        }
        made.push_str(word);
        used += length;
    }
    made
}

fn asking(map: &mut FuncMap) {
    add(map, "sprig_contains", 2..=2, |args| {
        yes_or_no(text_at(args, 1)?.contains(&text_at(args, 0)?))
    });
    add(map, "sprig_hasPrefix", 2..=2, |args| {
        yes_or_no(text_at(args, 1)?.starts_with(&text_at(args, 0)?))
    });
    add(map, "sprig_hasSuffix", 2..=2, |args| {
        yes_or_no(text_at(args, 1)?.ends_with(&text_at(args, 0)?))
    });
    add(map, "sprig_plural", 3..=3, |args| {
        let at = usize::from(integer_at(args, 2)? != 1);
        told(text_at(args, at)?)
    });
    add(map, "sprig_hello", 0..=0, |_| told("Hello!"));
    add(map, "sprig_fail", 1..=1, |args| {
        Err(failed(text_at(args, 0)?))
    });
}

fn joining(map: &mut FuncMap) {
    add(map, "sprig_repeat", 2..=2, |args| {
        let (count, text) = (size_at(args, 0)?, text_at(args, 1)?);
        within(count.saturating_mul(text.len()))?;
        told(text.repeat(count))
    });
    for (name, mark) in [("sprig_quote", '"'), ("sprig_squote", '\'')] {
        add(map, name, 0..=usize::MAX, move |args| {
            let known = args.iter().filter(|own| !matches!(own, Value::Nil));
            let quoted = known.map(|own| match mark {
                '"' => serde_json::Value::String(own.to_string()).to_string(),
                _ => format!("'{own}'"),
            });
            told(quoted.collect::<Vec<_>>().join(" "))
        });
    }
    add(map, "sprig_cat", 0..=usize::MAX, |args| {
        let known = args.iter().filter(|own| !matches!(own, Value::Nil));
        told(known.map(ToString::to_string).collect::<Vec<_>>().join(" "))
    });
    add(map, "sprig_join", 2..=2, |args| {
        let all = items(argument(args, 1)?);
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        told(all.join(&text_at(args, 0)?))
    });
    add(map, "sprig_splitList", 2..=2, |args| {
        let (mark, whole) = (text_at(args, 0)?, text_at(args, 1)?);
        Ok(values::list(parts(&whole, &mark, usize::MAX)))
    });
    add(map, "sprig_split", 2..=2, |args| {
        let (mark, whole) = (text_at(args, 0)?, text_at(args, 1)?);
        Ok(numbered(parts(&whole, &mark, usize::MAX)))
    });
    add(map, "sprig_splitn", 3..=3, |args| {
        let (mark, whole) = (text_at(args, 0)?, text_at(args, 2)?);
        Ok(numbered(parts(&whole, &mark, size_at(args, 1)?)))
    });
    add(map, "sprig_sortAlpha", 1..=1, |args| {
        let all = items(argument(args, 0)?);
        let mut all: Vec<String> = all.iter().map(ToString::to_string).collect();
        all.sort();
        Ok(values::list(all.iter().map(from)))
    });
    add(map, "sprig_toString", 1..=1, |args| told(text_at(args, 0)?));
    add(map, "sprig_toStrings", 1..=1, |args| {
        let all = items(argument(args, 0)?);
        Ok(values::list(all.iter().map(|own| from(own.to_string()))))
    });
}

fn parts(whole: &str, mark: &str, most: usize) -> Vec<Value> {
    if mark.is_empty() {
        return whole.chars().map(|own| from(own.to_string())).collect();
    }
    whole.splitn(most, mark).map(from).collect()
}

/// A map of `_0`, `_1` and so on.
fn numbered(parts: Vec<Value>) -> Value {
    let parts = parts.into_iter().enumerate();
    values::map(parts.map(|(at, part)| (format!("_{at}"), part)))
}

fn patterns(map: &mut FuncMap) {
    for name in ["sprig_regexFind", "sprig_mustRegexFind"] {
        add(map, name, 2..=2, |args| {
            let whole = text_at(args, 1)?;
            told(regex(args)?.find(&whole).map_or("", |own| own.as_str()))
        });
    }
    for name in ["sprig_regexFindAll", "sprig_mustRegexFindAll"] {
        add(map, name, 3..=3, |args| {
            let (whole, most) = (text_at(args, 1)?, most_at(args, 2)?);
            let pattern = regex(args)?;
            let found = pattern.find_iter(&whole).take(most);
            Ok(values::list(found.map(|own| from(own.as_str()))))
        });
    }
    for name in ["sprig_regexSplit", "sprig_mustRegexSplit"] {
        add(map, name, 3..=3, |args| {
            let (whole, most) = (text_at(args, 1)?, most_at(args, 2)?);
            let pattern = regex(args)?;
            Ok(values::list(pattern.splitn(&whole, most).map(from)))
        });
    }
    for name in ["sprig_regexReplaceAll", "sprig_mustRegexReplaceAll"] {
        add(map, name, 3..=3, |args| {
            replaced(args, |with| with.to_owned())
        });
    }
    for name in [
        "sprig_regexReplaceAllLiteral",
        "sprig_mustRegexReplaceAllLiteral",
    ] {
        add(map, name, 3..=3, |args| {
            replaced(args, |with| with.replace('$', "$$"))
        });
    }
}

/// A pattern, the text, and what comes instead.
fn replaced(args: &[Value], with: impl Fn(&str) -> String) -> Answer {
    let (whole, instead) = (text_at(args, 1)?, with(&text_at(args, 2)?));
    told(regex(args)?.replace_all(&whole, instead.as_str()))
}

/// A negative number is all of them.
fn most_at(args: &[Value], at: usize) -> Result<usize, TemplateError> {
    Ok(usize::try_from(integer_at(args, at)?).unwrap_or(usize::MAX))
}

fn paths(map: &mut FuncMap) {
    let changes: [(&'static str, Change); 8] = [
        ("sprig_base", base),
        ("sprig_osBase", base),
        ("sprig_dir", dir),
        ("sprig_osDir", dir),
        ("sprig_clean", clean),
        ("sprig_osClean", clean),
        ("sprig_ext", ext),
        ("sprig_osExt", ext),
    ];
    for (name, change) in changes {
        add(map, name, 1..=1, move |args| {
            told(change(&text_at(args, 0)?))
        });
    }
    for name in ["sprig_isAbs", "sprig_osIsAbs"] {
        add(map, name, 1..=1, |args| {
            yes_or_no(text_at(args, 0)?.starts_with('/'))
        });
    }
}

fn base(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".".to_owned(),
        Some("") | None => "/".to_owned(),
        Some(last) => last.to_owned(),
    }
}

fn dir(path: &str) -> String {
    clean(path.rsplit_once('/').map_or(
        "",
        |(folder, _)| {
            if folder.is_empty() { "/" } else { folder }
        },
    ))
}

fn ext(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rfind('.')
        .and_then(|at| last.get(at..))
        .unwrap_or_default()
        .to_owned()
}

/// The shortest path that says the same.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if is_absolute => {}
            name => kept.push(name),
        }
    }
    let joined = kept.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
