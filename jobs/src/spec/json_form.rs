//! Job files in the JSON form of the language: written out as HCL by the schema, so that there is
//! one reader for both.

use super::schema::{self, BlockType, Content, Schema};
use serde_json::{Map, Value};

/// Blocks inside each other, labels and lists included.
const DEEPEST: usize = 60;

/// Why a document is no job file.
pub(super) type Refusal = String;

/// True for a document that is a job file: every entry of its `job` is an object or a list, as
/// labels have it. The job of the API has texts and numbers there.
pub(super) fn is_job_file(document: &Value) -> bool {
    document
        .get("job")
        .and_then(Value::as_object)
        .is_some_and(|labels| {
            labels
                .values()
                .all(|value| value.is_object() || value.is_array())
        })
}

/// The document as HCL.
///
/// # Errors
/// When something stands where it cannot be.
pub(super) fn to_hcl(document: &Map<String, Value>) -> Result<String, Refusal> {
    let mut writer = Writer {
        out: String::new(),
        depth: 0,
    };
    for (name, value) in document {
        match name.as_str() {
            "//" => {}
            "job" => writer.labeled(name, value, &mut |writer, body| {
                writer.body(body, &schema::JOB)
            })?,
            "variable" => writer.labeled(name, value, &mut Writer::variable)?,
            "variables" | "locals" => writer.each(name, value, &mut |writer, body| {
                body.iter()
                    .try_for_each(|(key, item)| writer.attribute(key, item))
            })?,
            other => writer.each(other, value, &mut |_, _| Ok(()))?,
        }
    }
    Ok(writer.out)
}

type WriteBody<'f> = &'f mut dyn FnMut(&mut Writer, &Map<String, Value>) -> Result<(), Refusal>;

struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    fn deeper(&mut self) -> Result<(), Refusal> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("blocks are nested deeper than {DEEPEST}"));
        }
        Ok(())
    }

    /// Blocks whose label is the key: an object of them, or a list of such objects.
    fn labeled(&mut self, name: &str, value: &Value, body: WriteBody<'_>) -> Result<(), Refusal> {
        match value {
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.labeled(name, item, body)),
            Value::Object(labels) => labels.iter().try_for_each(|(label, value)| {
                let head = format!("{name} {}", quoted(label));
                self.each(&head, value, body)
            }),
            _ => Err(format!(
                "\"{name}\" must be an object with its labels as keys"
            )),
        }
    }

    /// One block, or a list of blocks with the same head.
    fn each(&mut self, head: &str, value: &Value, body: WriteBody<'_>) -> Result<(), Refusal> {
        match value {
            Value::Array(items) => {
                self.deeper()?;
                items
                    .iter()
                    .try_for_each(|item| self.each(head, item, body))?;
                self.depth -= 1;
                Ok(())
            }
            Value::Object(map) => {
                self.deeper()?;
                self.out.push_str(head);
                self.out.push_str(" {\n");
                body(self, map)?;
                self.out.push_str("}\n");
                self.depth -= 1;
                Ok(())
            }
            Value::Null => Ok(()),
            _ => Err(format!("\"{head}\" must be an object")),
        }
    }

    fn body(&mut self, map: &Map<String, Value>, schema: &Schema) -> Result<(), Refusal> {
        for (name, value) in map {
            if name == "//" {
                continue;
            }
            if name == "dynamic" {
                self.dynamic(value, schema)?;
                continue;
            }
            match schema.blocks.iter().find(|block| block.name == name) {
                Some(block) => self.block(block, value)?,
                None => self.attribute(name, value)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &BlockType, value: &Value) -> Result<(), Refusal> {
        // Keys of free maps may be any text, which only the form with an equals sign can hold.
        if matches!(block.content, Content::Texts(true)) {
            let maps = match value {
                Value::Array(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            return maps
                .iter()
                .filter(|map| !map.is_null())
                .try_for_each(|map| self.attribute(block.name, map));
        }
        let mut body = |writer: &mut Self, map: &Map<String, Value>| match &block.content {
            Content::Schema(schema) => writer.body(map, schema),
            Content::Texts(_) | Content::TextLists => map
                .iter()
                .try_for_each(|(key, item)| writer.attribute(key, item)),
            Content::Free => map.iter().try_for_each(|(key, item)| {
                writer.name(key)?;
                writer.out.push_str(" = (");
                writer.value(item)?;
                writer.out.push_str(")\n");
                Ok(())
            }),
        };
        match block.label {
            Some(_) => self.labeled(block.name, value, &mut body),
            None => self.each(block.name, value, &mut body),
        }
    }

    fn dynamic(&mut self, value: &Value, schema: &Schema) -> Result<(), Refusal> {
        let Value::Object(kinds) = value else {
            return Err("\"dynamic\" must be an object with its labels as keys".into());
        };
        for (kind, value) in kinds {
            let known = schema.blocks.iter().find(|block| block.name == kind);
            let head = format!("dynamic {}", quoted(kind));
            self.each(&head, value, &mut |writer, map| {
                for (name, item) in map {
                    match (name.as_str(), known) {
                        ("content", Some(block)) => {
                            let unlabeled = BlockType {
                                name: "content",
                                key: block.key,
                                label: None,
                                times: block.times,
                                content: match &block.content {
                                    Content::Schema(schema) => Content::Schema(schema),
                                    Content::Texts(_) => Content::Texts(false),
                                    Content::TextLists => Content::TextLists,
                                    Content::Free => Content::Free,
                                },
                            };
                            writer.block(&unlabeled, item)?;
                        }
                        ("iterator", _) => writer.bare(name, item)?,
                        _ => writer.attribute(name, item)?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn variable(&mut self, map: &Map<String, Value>) -> Result<(), Refusal> {
        for (name, value) in map {
            match name.as_str() {
                "type" => self.bare(name, value)?,
                "validation" => self.each(name, value, &mut |writer, body| {
                    body.iter()
                        .try_for_each(|(key, item)| writer.attribute(key, item))
                })?,
                _ => self.attribute(name, value)?,
            }
        }
        Ok(())
    }

    /// A text that is an expression without quotes: a type or the name of an iterator.
    fn bare(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        let text = value.as_str().unwrap_or_default();
        let plain = |letter: char| letter.is_alphanumeric() || "_ (){}[],=\"-".contains(letter);
        if text.is_empty() || !text.chars().all(plain) {
            return Err(format!("\"{name}\" must be text such as \"string\""));
        }
        self.out.push_str(&format!("{name} = {text}\n"));
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        self.name(name)?;
        self.out.push_str(" = ");
        self.value(value)?;
        self.out.push('\n');
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), Refusal> {
        let mut letters = name.chars();
        let first = letters
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_');
        if !first || !letters.all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return Err(format!("{name:?} cannot be the name of an argument"));
        }
        self.out.push_str(name);
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Refusal> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.out.push_str(&value.to_string());
            }
            Value::String(text) => self.out.push_str(&quoted(text)),
            Value::Array(items) => {
                self.deeper()?;
                self.out.push('[');
                for item in items {
                    self.value(item)?;
                    self.out.push(',');
                }
                self.out.push(']');
                self.depth -= 1;
            }
            Value::Object(map) => {
                self.deeper()?;
                self.out.push('{');
                for (key, item) in map {
                    self.out.push_str(&quoted(key));
                    self.out.push('=');
                    self.value(item)?;
                    self.out.push(',');
                }
                self.out.push('}');
                self.depth -= 1;
            }
        }
        Ok(())
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
