//! Configuration files of the first version of HCL, in which keys may stand in quotes and several
//! settings in a line.
//!
//! Files of agents are older than HCL 2, whose parser refuses what was allowed before; it is asked
//! first, and says more. There are no expressions here: text in `${…}` is text.

use super::tree::{Entry, Problem, Value, place};

/// How deep blocks and lists may stand in each other.
const DEPTH_MAX: usize = 64;

/// The settings of a text.
pub(super) fn parse(label: &str, text: &str) -> Result<Vec<Entry>, Problem> {
    Parser { label, text, at: 0 }.entries(None, DEPTH_MAX)
}

struct Parser<'a> {
    label: &'a str,
    text: &'a str,
    /// Bytes that are read.
    at: usize,
}

impl Parser<'_> {
    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::at(self.label, Some(place(self.text, self.at)), message)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let is_there = self.rest().starts_with(wanted);
        if is_there {
            self.at += wanted.len();
        }
        is_there
    }

    /// Passes spaces, comments, and the commas that may stand between settings.
    fn skip(&mut self, commas: bool) -> Result<(), Problem> {
        loop {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start().len();
            self.at += spaces;
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return Err(self.problem("a comment is not closed")),
                }
            } else if commas && rest.starts_with(',') {
                self.at += 1;
            } else if spaces == 0 {
                return Ok(());
            }
        }
    }

    /// Settings up to `end`, or to the end of the text.
    fn entries(&mut self, end: Option<char>, depth: usize) -> Result<Vec<Entry>, Problem> {
        let mut entries = Vec::new();
        loop {
            self.skip(true)?;
            match self.peek() {
                None if end.is_none() => return Ok(entries),
                None => return Err(self.problem("a block is not closed")),
                Some(closing) if Some(closing) == end => {
                    self.at += closing.len_utf8();
                    return Ok(entries);
                }
                Some(_) => entries.push(self.entry(depth)?),
            }
        }
    }

    fn entry(&mut self, depth: usize) -> Result<Entry, Problem> {
        let place = place(self.text, self.at);
        let key = self.key()?;
        let mut labels = Vec::new();
        loop {
            self.skip(false)?;
            match self.peek() {
                Some('=') => {
                    self.at += 1;
                    self.skip(false)?;
                    if !labels.is_empty() {
                        return Err(self.problem(format!("`{key}` has a label and a value")));
                    }
                    break;
                }
                Some('{') => break,
                Some('"') => labels.push(self.string()?),
                _ => return Err(self.problem(format!("`{key}` has no value"))),
            }
        }
        let value = self.value(depth)?;
        Ok(Entry {
            key,
            labels,
            place: Some(place),
            value,
        })
    }

    fn key(&mut self) -> Result<String, Problem> {
        if self.peek() == Some('"') {
            return self.string();
        }
        let word = self.word();
        let starts = |first: char| first.is_alphabetic() || first == '_';
        if !word.starts_with(starts) {
            return Err(self.problem("the name of a setting is expected"));
        }
        self.at += word.len();
        Ok(word)
    }

    /// What is not apart by spaces or signs.
    fn word(&self) -> String {
        let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
        self.rest().chars().take_while(is_part).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        let Some(deeper) = depth.checked_sub(1) else {
            return Err(self.problem("blocks stand too deep in each other"));
        };
        match self.peek() {
            Some('"') => Ok(Value::Text(self.string()?)),
            Some('{') => {
                self.at += 1;
                Ok(Value::Tree(self.entries(Some('}'), deeper)?))
            }
            Some('[') => {
                self.at += 1;
                self.list(deeper)
            }
            Some('<') => self.heredoc(),
            _ => self.scalar(),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            self.skip(true)?;
            if self.take("]") {
                return Ok(Value::List(items));
            }
            if self.peek().is_none() {
                return Err(self.problem("a list is not closed"));
            }
            items.push(self.value(depth)?);
        }
    }

    fn scalar(&mut self) -> Result<Value, Problem> {
        let word = self.word();
        let number = || {
            let hex = word
                .strip_prefix("0x")
                .map(|hex| u32::from_str_radix(hex, 16));
            match hex {
                Some(hex) => hex.ok().map(f64::from),
                None => word.parse().ok().filter(|number: &f64| number.is_finite()),
            }
        };
        let value = match word.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match number() {
                Some(number) => Value::Number(number),
                None => return Err(self.problem("a value is expected")),
            },
        };
        self.at += word.len();
        Ok(value)
    }

    /// Text in quotes; what stands in `${…}` is part of it as it is, quotes too.
    fn string(&mut self) -> Result<String, Problem> {
        let begin = self.at;
        let mut text = String::new();
        let mut open = 0_usize;
        let inner = self.text.get(begin + 1..).unwrap_or_default();
        let mut characters = inner.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if open == 0 => {
                    self.at = begin + 1 + at + 1;
                    return Ok(text);
                }
                '\n' if open == 0 => break,
                '\\' if open == 0 => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, other @ ('"' | '\\'))) => text.push(other),
                    _ => {
                        return Err(
                            self.problem("after a backslash stands one of n, t, r, \" and \\")
                        );
                    }
                },
                '$' if open == 0 && characters.peek().is_some_and(|next| next.1 == '{') => {
                    characters.next();
                    text.push_str("${");
                    open = 1;
                }
                other => {
                    match other {
                        '{' if open > 0 => open += 1,
                        '}' if open > 0 => open -= 1,
                        _ => {}
                    }
                    text.push(other);
                }
            }
        }
        Err(self.problem("a text is not closed"))
    }

    /// Lines up to a word; after `<<-` without the spaces that all of them begin with.
    fn heredoc(&mut self) -> Result<Value, Problem> {
        if !self.take("<<") {
            return Err(self.problem("a value is expected"));
        }
        let is_indented = self.take("-");
        let word = self.word();
        self.at += word.len();
        let lines = self.rest().split_inclusive('\n');
        let mut inner: Vec<&str> = Vec::new();
        let mut bytes = 0;
        for (number, line) in lines.enumerate() {
            bytes += line.len();
            if number == 0 {
                continue;
            }
            if line.trim() == word && !word.is_empty() {
                let shared = inner.iter().filter(|line| !line.trim().is_empty());
                let shared = shared
                    .map(|line| line.len() - line.trim_start().len())
                    .min();
                let cut = if is_indented { shared.unwrap_or(0) } else { 0 };
                let text = inner.iter().map(|line| line.get(cut..).unwrap_or("\n"));
                let text = text.collect();
                self.at += bytes;
                return Ok(Value::Text(text));
            }
            inner.push(line);
        }
        Err(self.problem("a text that begins with << is not closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &Value) -> String {
        match value {
            Value::Text(text) => format!("{text:?}"),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(shown).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Tree(entries) => format!("{{{}}}", all(entries)),
            Value::Other => "?".to_owned(),
        }
    }

    fn all(entries: &[Entry]) -> String {
        let one = |entry: &Entry| {
            let labels: String = entry
                .labels
                .iter()
                .map(|label| format!(" {label}"))
                .collect();
            format!("{}{labels}={}", entry.key, shown(&entry.value))
        };
        entries.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn read(text: &str) -> String {
        match parse("a", text) {
            Ok(entries) => all(&entries),
            Err(problem) => format!("! {problem}"),
        }
    }

    #[test]
    fn what_was_written_before_the_second_version_is_read() {
        for (text, expected) in [
            ("a = 1 b = \"x\"", "a=1 b=\"x\""),
            (
                "ttl { \"*\" = \"5s\", \"web\" = \"1s\" }",
                "ttl={*=\"5s\" web=\"1s\"}",
            ),
            (
                "service { name = \"a\" port = 80 tags = [\"x\", \"y\",] }",
                "service={name=\"a\" port=80 tags=[\"x\" \"y\"]}",
            ),
            (
                "plugin \"raw\" { config { on = true } }",
                "plugin raw={config={on=true}}",
            ),
            (
                "\"quoted\" = { a = -1.5e3 } # rest\n// more\n/* x */ b = 0x1F",
                "quoted={a=-1500} b=31",
            ),
            (
                "a = \"${attr.x == \"y\"} \\\"z\\\\\"",
                "a=\"${attr.x == \\\"y\\\"} \\\"z\\\\\"",
            ),
            (
                "a = <<EOF\none\n  two\nEOF\nb = 1",
                "a=\"one\\n  two\\n\" b=1",
            ),
            (
                "a = <<-EOF\n    one\n      two\n    EOF\n",
                "a=\"one\\n  two\\n\"",
            ),
            ("list = [{ a = 1 }, { a = 2 }]", "list=[{a=1} {a=2}]"),
            ("", ""),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("a = ", "! a:1,5: a value is expected"),
            ("a {\n  b = 1", "! a:2,8: a block is not closed"),
            ("a = [1", "! a:1,7: a list is not closed"),
            ("\n= 1", "! a:2,1: the name of a setting is expected"),
            ("a \"b\" = 1", "! a:1,9: `a` has a label and a value"),
            ("a = \"b\nc\"", "! a:1,5: a text is not closed"),
            (
                "a = <<EOF\nb",
                "! a:1,10: a text that begins with << is not closed",
            ),
            ("a = \"\\q\"", "! a:1,5: after a backslash"),
            ("/* a", "! a:1,1: a comment is not closed"),
            ("a b = 1", "! a:1,3: `a` has no value"),
            ("}", "! a:1,1: the name of a setting is expected"),
        ] {
            let said = read(text);
            assert!(said.starts_with(expected), "{text}: {said}");
        }
        let deep = format!("a = {}", "[".repeat(10_000));
        assert!(read(&deep).contains("too deep"), "{}", read(&deep));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|[a-z \"={}\\[\\]<$\\\\\n,#/*]){0,60}") {
            read(&text);
        }
    }
}
