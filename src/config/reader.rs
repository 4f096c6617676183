use super::{
    file::{Entry, Placed, Problem, Value},
    ignored,
};
use std::collections::BTreeMap;

/// Takes values out of entries, and notes what has the wrong kind.
pub(super) struct Reader<'a> {
    file: &'a str,
    problems: &'a mut Vec<Problem>,
    /// Keys that are known and not acted on.
    pub(super) ignored: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            file,
            problems,
            ignored: Vec::new(),
        }
    }

    /// Something is wrong with what stands there.
    pub(super) fn problem(&mut self, place: Option<(usize, usize)>, message: String) {
        self.problems.push(Problem::at(self.file, place, message));
    }

    pub(super) fn wrong(&mut self, entry: &Entry, wanted: &str) {
        let message = format!("`{}` must be {wanted}", entry.key);
        self.problems
            .push(Problem::at(self.file, entry.place, message));
    }

    /// A key that is not acted on: refused, unless files that are around have it.
    pub(super) fn unknown(&mut self, entry: &Entry, block: &str, known: &[&str]) {
        let whole = if block.is_empty() {
            entry.key.clone()
        } else {
            format!("{block}.{}", entry.key)
        };
        if ignored::KEYS.contains(&whole.as_str()) {
            self.ignored.push(whole);
            return;
        }
        let message = format!("unknown key `{whole}`; known here: {}", known.join(", "));
        self.problems
            .push(Problem::at(self.file, entry.place, message));
    }

    pub(super) fn text(&mut self, entry: &Entry) -> Option<String> {
        if let Value::Text(text) = &entry.value {
            return Some(text.clone());
        }
        self.wrong(entry, "a text");
        None
    }

    /// A text, or a number or a flag as one.
    pub(super) fn scalar(&mut self, entry: &Entry) -> Option<String> {
        match &entry.value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => {
                self.wrong(entry, "a text, a number, or true or false");
                None
            }
        }
    }

    /// A text with its place.
    pub(super) fn placed(&mut self, entry: &Entry) -> Option<Placed> {
        self.text(entry).map(|text| self.at(entry, text))
    }

    /// A text, or a number or a flag as one, with its place.
    pub(super) fn placed_scalar(&mut self, entry: &Entry) -> Option<Placed> {
        self.scalar(entry).map(|text| self.at(entry, text))
    }

    fn at(&self, entry: &Entry, text: String) -> Placed {
        Placed {
            text,
            file: self.file.to_owned(),
            place: entry.place,
        }
    }

    /// A block with its name: its label, or in JSON the keys of an object.
    pub(super) fn named(&mut self, entry: Entry) -> Vec<(String, Entry)> {
        match entry.labels.as_slice() {
            [name] => vec![(name.clone(), entry)],
            _ => self
                .block(entry)
                .into_iter()
                .map(|inner| (inner.key.clone(), inner))
                .collect(),
        }
    }

    /// A block whose label is the value of `first`; in JSON, an object keyed by labels. A list of
    /// texts is one text with commas.
    pub(super) fn items(
        &mut self,
        entry: Entry,
        (first, known): (&str, &[&str]),
    ) -> Vec<BTreeMap<String, String>> {
        let name = entry.key.clone();
        let mut items = Vec::new();
        for (label, block) in self.named(entry) {
            let mut item = BTreeMap::from([(first.to_owned(), label)]);
            for pair in self.block(block) {
                if !known.contains(&pair.key.as_str()) || pair.key == first {
                    self.unknown(&pair, &format!("ingress.{name}"), known);
                } else if matches!(pair.value, Value::List(_)) {
                    let texts = self.texts(&pair).unwrap_or_default();
                    item.insert(pair.key, texts.join(","));
                } else if let Some(text) = self.scalar(&pair) {
                    item.insert(pair.key, text);
                }
            }
            items.push(item);
        }
        items
    }

    pub(super) fn texts(&mut self, entry: &Entry) -> Option<Vec<String>> {
        if let Value::List(items) = &entry.value {
            let texts = items.iter().map(|item| match item {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            });
            if let Some(texts) = texts.collect() {
                return Some(texts);
            }
        }
        self.wrong(entry, "a list of texts");
        None
    }

    pub(super) fn flag(&mut self, entry: &Entry) -> Option<bool> {
        if let Value::Bool(flag) = &entry.value {
            return Some(*flag);
        }
        self.wrong(entry, "true or false");
        None
    }

    pub(super) fn number(&mut self, entry: &Entry) -> Option<u64> {
        if let Value::Number(number) = &entry.value
            && *number >= 0.0
            && number.fract() == 0.0
            && *number <= f64::from(u32::MAX)
        {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked above"
            )]
            return Some(*number as u64);
        }
        self.wrong(entry, "a whole number");
        None
    }

    /// The entries of a block, or of every block in a list of them.
    pub(super) fn block(&mut self, entry: Entry) -> Vec<Entry> {
        match entry.value {
            Value::Tree(entries) => entries,
            Value::List(items) if items.iter().all(|item| matches!(item, Value::Tree(_))) => items
                .into_iter()
                .flat_map(|item| match item {
                    Value::Tree(entries) => entries,
                    _ => Vec::new(),
                })
                .collect(),
            _ => {
                self.wrong(&entry, "a block");
                Vec::new()
            }
        }
    }
}
