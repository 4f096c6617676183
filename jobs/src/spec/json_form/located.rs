//! JSON with the places of its values.

use std::ops::Range;

/// A value and where it stands.
#[derive(Debug)]
pub(in crate::spec) struct Located<'t> {
    /// Bytes of the text.
    pub(in crate::spec) span: Range<usize>,
    pub(in crate::spec) item: Item<'t>,
}

/// What a value is.
#[derive(Debug)]
pub(in crate::spec) enum Item<'t> {
    Null,
    /// A flag or a number, as it is written.
    Plain(&'t str),
    Text(String),
    List(Vec<Located<'t>>),
    Map(Entries<'t>),
}

impl<'t> Located<'t> {
    /// The value at a key of an object, the last one that is written; capitals matter only when
    /// there are several spellings.
    pub(in crate::spec) fn at_key(&self, key: &str) -> Option<&Self> {
        let Item::Map(entries) = &self.item else {
            return None;
        };
        let is_it = |same: fn(&str, &str) -> bool| {
            let mut entries = entries.iter().rev();
            entries.find(|(written, _)| same(&written.text, key))
        };
        let found = is_it(|a, b| a == b).or_else(|| is_it(str::eq_ignore_ascii_case))?;
        Some(&found.1)
    }

    /// An entry of a list.
    pub(in crate::spec) fn entry(&self, at: usize) -> Option<&Self> {
        match &self.item {
            Item::List(items) => items.get(at),
            Item::Null | Item::Plain(_) | Item::Text(_) | Item::Map(_) => None,
        }
    }
}

/// The entries of an object as they are written: in their order, the same key perhaps twice.
pub(in crate::spec) type Entries<'t> = Vec<(Key, Located<'t>)>;

/// A key of an object.
#[derive(Debug)]
pub(in crate::spec) struct Key {
    pub(in crate::spec) text: String,
    pub(in crate::spec) span: Range<usize>,
}

/// Reads a text that is known to be JSON, no deeper than its reader allows; none when it is not.
pub(in crate::spec) fn locate(text: &str) -> Option<Located<'_>> {
    let mut reader = Reader { text, at: 0 };
    reader.value()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_it = self.byte() == Some(byte);
        if is_it {
            self.at += 1;
        }
        is_it
    }

    fn value(&mut self) -> Option<Located<'t>> {
        let first = self.byte()?;
        let start = self.at;
        let item = match first {
            b'{' => self.map()?,
            b'[' => self.list()?,
            b'"' => Item::Text(self.string()?.text),
            _ => self.plain()?,
        };
        Some(Located {
            span: start..self.at,
            item,
        })
    }

    fn map(&mut self) -> Option<Item<'t>> {
        self.at += 1;
        let mut entries = Vec::new();
        while !self.take(b'}') {
            self.byte()?;
            let key = self.string()?;
            self.take(b':').then_some(())?;
            entries.push((key, self.value()?));
            self.take(b',');
        }
        Some(Item::Map(entries))
    }

    fn list(&mut self) -> Option<Item<'t>> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.take(b']') {
            items.push(self.value()?);
            self.take(b',');
        }
        Some(Item::List(items))
    }

    fn string(&mut self) -> Option<Key> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            match bytes.get(at)? {
                b'\\' => at += 2,
                b'"' => break,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        let text = serde_json::from_str(self.text.get(start..self.at)?).ok()?;
        Some(Key {
            text,
            span: start..self.at,
        })
    }

    fn plain(&mut self) -> Option<Item<'t>> {
        let rest = self.text.get(self.at..)?;
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
            .unwrap_or(rest.len());
        let plain = rest.get(..length).filter(|plain| !plain.is_empty())?;
        self.at += length;
        Some(match plain {
            "null" => Item::Null,
            plain => Item::Plain(plain),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = r#"{ "a": [1, "x\"y", null], "a" : {"é": true} }"#;
        let Item::Map(entries) = locate(text).unwrap().item else {
            panic!("no object");
        };
        let shown: Vec<(&str, &str, &str)> = entries
            .iter()
            .map(|(key, value)| {
                let slice = |span: &Range<usize>| text.get(span.clone()).unwrap();
                (key.text.as_str(), slice(&key.span), slice(&value.span))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "\"a\"", "[1, \"x\\\"y\", null]"),
                ("a", "\"a\"", "{\"é\": true}")
            ]
        );
        for broken in ["", "{", "[1", "{\"a\" 1}", "\"a", "{\"a\":}"] {
            assert!(locate(broken).is_none(), "{broken}");
        }
    }
}
