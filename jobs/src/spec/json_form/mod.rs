//! Job files in the JSON form of the language: written out as HCL by the schema, so that there is
//! one reader for both.

mod located;

use super::problem::{Origin, Problem, Source};
use super::schema::{self, BlockType, Content, Schema};
pub(super) use located::{Entries, Item, Key, Located, locate};
use std::ops::Range;

/// Blocks inside each other, labels and lists included.
const DEEPEST: usize = 60;

/// True for a document that is a job file: every entry of its `job` is an object or a list, as
/// labels have it. The job of the API has texts and numbers there.
pub(super) fn is_job_file(document: &Located<'_>) -> bool {
    let Item::Map(entries) = &document.item else {
        return false;
    };
    let job = entries.iter().rfind(|(key, _)| key.text == "job");
    match job.map(|(_, job)| &job.item) {
        Some(Item::Map(labels)) => labels
            .iter()
            .all(|(_, value)| matches!(value.item, Item::Map(_) | Item::List(_))),
        _ => false,
    }
}

/// The document as HCL, and for places in it those of the document.
///
/// # Errors
/// Whatever stands where it cannot be.
pub(super) fn to_hcl<'s>(
    source: &'s Source<'s>,
    document: &Entries<'_>,
) -> Result<(String, Origin<'s>), Vec<Problem>> {
    let mut writer = Writer {
        source,
        out: String::new(),
        places: Vec::new(),
        depth: 0,
        problems: Vec::new(),
    };
    for (name, value) in document {
        match name.text.as_str() {
            "//" => {}
            "job" => writer.labeled(name, value, &mut |writer, body| {
                writer.body(body, &schema::JOB);
            }),
            "variable" => writer.labeled(name, value, &mut |writer, entries| {
                writer.variable(entries);
            }),
            "variables" | "locals" => writer.each(name, &[], value, &mut |writer, entries| {
                writer.attributes(entries);
            }),
            _ => writer.each(name, &[], value, &mut |_, _| {}),
        }
    }
    if writer.problems.is_empty() {
        let origin = Origin {
            source,
            places: writer.places,
        };
        Ok((writer.out, origin))
    } else {
        Err(writer.problems)
    }
}

type WriteBody<'f> = &'f mut dyn FnMut(&mut Writer<'_>, &Entries<'_>);

struct Writer<'s> {
    source: &'s Source<'s>,
    out: String,
    /// Offsets in `out`, in rising order, and what of the document is written from there on.
    places: Vec<(usize, Range<usize>)>,
    depth: usize,
    problems: Vec<Problem>,
}

impl Writer<'_> {
    fn refuse(&mut self, span: &Range<usize>, detail: &str) {
        let message = format!("Invalid JSON expression; {detail}.");
        let problem = self.source.problem(Some(span.clone()), message);
        self.problems.push(problem);
    }

    /// What is written next stands there in the document.
    fn spot(&mut self, span: &Range<usize>) {
        self.places.push((self.out.len(), span.clone()));
    }

    /// Goes one level deeper for `write`.
    fn deeper(&mut self, span: &Range<usize>, write: impl FnOnce(&mut Self)) {
        if self.depth >= DEEPEST {
            let detail = format!("blocks are nested deeper than {DEEPEST}");
            self.refuse(span, &detail);
            return;
        }
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    /// Blocks whose label is the key: an object of them, or a list of such objects.
    fn labeled(&mut self, name: &Key, value: &Located<'_>, body: WriteBody<'_>) {
        match &value.item {
            Item::List(items) => {
                self.deeper(&value.span, |writer| {
                    items
                        .iter()
                        .for_each(|item| writer.labeled(name, item, body));
                });
            }
            Item::Map(labels) => {
                for (label, value) in labels {
                    self.each(name, &[label], value, body);
                }
            }
            _ => {
                let detail = format!(
                    "\"{}\" must be an object with its labels as keys",
                    name.text
                );
                self.refuse(&value.span, &detail);
            }
        }
    }

    /// One block, or a list of blocks with the same head.
    fn each(&mut self, name: &Key, labels: &[&Key], value: &Located<'_>, body: WriteBody<'_>) {
        match &value.item {
            Item::List(items) => self.deeper(&value.span, |writer| {
                items
                    .iter()
                    .for_each(|item| writer.each(name, labels, item, body));
            }),
            Item::Map(entries) => self.deeper(&value.span, |writer| {
                writer.name(name);
                for label in labels {
                    writer.out.push(' ');
                    writer.spot(&label.span);
                    writer.out.push_str(&quoted(&label.text));
                }
                writer.out.push_str(" {\n");
                body(writer, entries);
                writer.out.push_str("}\n");
            }),
            Item::Null => {}
            _ => {
                let named = labels.last().map_or(&name.text, |label| &label.text);
                let detail = format!("\"{named}\" must be an object");
                self.refuse(&value.span, &detail);
            }
        }
    }

    fn attributes(&mut self, entries: &Entries<'_>) {
        for (key, item) in entries {
            self.attribute(key, item);
        }
    }

    fn body(&mut self, entries: &Entries<'_>, schema: &Schema) {
        for (name, value) in entries {
            match name.text.as_str() {
                "//" => {}
                "dynamic" => self.dynamic(value, schema),
                text => match schema.blocks.iter().find(|block| block.name == text) {
                    Some(block) => self.block(name, block, value),
                    None => self.attribute(name, value),
                },
            }
        }
    }

    fn block(&mut self, name: &Key, block: &BlockType, value: &Located<'_>) {
        // Keys of free maps may be any text, which only the form with an equals sign can hold.
        if matches!(block.content, Content::Texts(true)) {
            let maps = match &value.item {
                Item::List(items) => items.as_slice(),
                _ => std::slice::from_ref(value),
            };
            for map in maps {
                if !matches!(map.item, Item::Null) {
                    self.attribute(name, map);
                }
            }
            return;
        }
        let mut body = |writer: &mut Writer<'_>, entries: &Entries<'_>| match &block.content {
            Content::Schema(schema) => writer.body(entries, schema),
            Content::Texts(_) | Content::Labels | Content::TextLists => writer.attributes(entries),
            Content::Free => {
                for (key, item) in entries {
                    writer.name(key);
                    writer.out.push_str(" = (");
                    writer.value(item);
                    writer.out.push_str(")\n");
                }
            }
        };
        match block.label {
            Some(_) => self.labeled(name, value, &mut body),
            None => self.each(name, &[], value, &mut body),
        }
    }

    fn dynamic(&mut self, value: &Located<'_>, schema: &Schema) {
        let Item::Map(kinds) = &value.item else {
            self.refuse(
                &value.span,
                "\"dynamic\" must be an object with its labels as keys",
            );
            return;
        };
        for (kind, value) in kinds {
            let known = schema.blocks.iter().find(|block| block.name == kind.text);
            let head = Key {
                text: "dynamic".into(),
                span: kind.span.clone(),
            };
            self.each(&head, &[kind], value, &mut |writer, entries| {
                for (name, item) in entries {
                    match (name.text.as_str(), known) {
                        ("content", Some(block)) => {
                            writer.block(name, &unlabeled(block), item);
                        }
                        ("iterator", _) => writer.bare(name, item),
                        _ => writer.attribute(name, item),
                    }
                }
            });
        }
    }

    fn variable(&mut self, entries: &Entries<'_>) {
        for (name, value) in entries {
            match name.text.as_str() {
                "type" => self.bare(name, value),
                "validation" => self.each(name, &[], value, &mut |writer, entries| {
                    writer.attributes(entries);
                }),
                _ => self.attribute(name, value),
            }
        }
    }

    /// A text that is an expression without quotes: a type or the name of an iterator.
    fn bare(&mut self, name: &Key, value: &Located<'_>) {
        let text = match &value.item {
            Item::Text(text) => text.as_str(),
            _ => "",
        };
        let plain = |letter: char| letter.is_alphanumeric() || "_ (){}[],=\"-".contains(letter);
        if text.is_empty() || !text.chars().all(plain) {
            let detail = format!("\"{}\" must be text such as \"string\"", name.text);
            self.refuse(&value.span, &detail);
            return;
        }
        self.name(name);
        self.out.push_str(" = ");
        self.spot(&value.span);
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn attribute(&mut self, name: &Key, value: &Located<'_>) {
        self.name(name);
        self.out.push_str(" = ");
        self.value(value);
        self.out.push('\n');
    }

    fn name(&mut self, name: &Key) {
        let mut letters = name.text.chars();
        let first = letters
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_');
        if !first || !letters.all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            let detail = format!("{:?} cannot be the name of an argument", name.text);
            self.refuse(&name.span, &detail);
            return;
        }
        self.spot(&name.span);
        self.out.push_str(&name.text);
    }

    fn value(&mut self, value: &Located<'_>) {
        self.spot(&value.span);
        match &value.item {
            Item::Null => self.out.push_str("null"),
            Item::Plain(plain) => self.out.push_str(plain),
            Item::Text(text) => self.out.push_str(&quoted(text)),
            Item::List(items) => self.deeper(&value.span, |writer| {
                writer.out.push('[');
                for item in items {
                    writer.value(item);
                    writer.out.push(',');
                }
                writer.out.push(']');
            }),
            Item::Map(entries) => self.deeper(&value.span, |writer| {
                writer.out.push('{');
                for (key, item) in entries {
                    writer.spot(&key.span);
                    writer.out.push_str(&quoted(&key.text));
                    writer.out.push('=');
                    writer.value(item);
                    writer.out.push(',');
                }
                writer.out.push('}');
            }),
        }
    }
}

/// The block as the content of a `dynamic` one, which has the labels.
fn unlabeled(block: &BlockType) -> BlockType {
    BlockType {
        name: "content",
        key: block.key,
        label: None,
        times: block.times,
        content: match &block.content {
            Content::Schema(schema) => Content::Schema(schema),
            Content::Texts(_) => Content::Texts(false),
            Content::Labels => Content::Labels,
            Content::TextLists => Content::TextLists,
            Content::Free => Content::Free,
        },
    }
}

/// Text in quotes; what stands in `${…}` and `%{…}` is an expression and stays as it is.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let opens = matches!(letter, '$' | '%');
        if opens && letters.peek() == Some(&'{') {
            out.push(letter);
            expression(&mut letters, &mut out);
        } else if opens && letters.peek() == Some(&letter) {
            out.push(letter);
            // Doubled marks open nothing.
            if let Some(second) = letters.next() {
                out.push(second);
            }
            if let Some(brace) = letters.next_if_eq(&'{') {
                out.push(brace);
            }
        } else {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                letter if letter.is_control() => {
                    out.push_str(&format!("\\u{:04x}", u32::from(letter)));
                }
                letter => out.push(letter),
            }
        }
    }
    out.push('"');
    out
}

/// An expression with its braces, as it is.
fn expression(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let (mut depth, mut in_quotes) = (0_usize, false);
    while let Some(letter) = letters.next() {
        out.push(letter);
        match letter {
            '\\' if in_quotes => out.extend(letters.next()),
            '"' => in_quotes = !in_quotes,
            '{' if !in_quotes => depth += 1,
            '}' if !in_quotes => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            _ => {}
        }
    }
}
