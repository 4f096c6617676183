//! `-json` and `-t`: the API's object instead of a rendering.

use super::template;
use serde::Serialize as _;
use serde_json::Value;

/// How an object is printed instead of its rendering.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Structured {
    /// Print the API's object as JSON
    #[arg(long, conflicts_with = "template")]
    json: bool,
    /// Print the API's object through a Go template
    #[arg(short = 't', value_name = "TEMPLATE")]
    template: Option<String>,
}

impl Structured {
    /// For commands whose flags have other names.
    pub(super) fn new(json: bool, template: Option<String>) -> Self {
        Self { json, template }
    }

    /// True when a rendering is not wanted.
    pub(super) fn is_wanted(&self) -> bool {
        self.json || self.template.is_some()
    }

    /// The object in the wanted form; none when a rendering is wanted.
    ///
    /// # Errors
    /// When the template cannot be used.
    pub(super) fn text(&self, object: &Value) -> anyhow::Result<Option<String>> {
        if let Some(text) = &self.template {
            let filled = template::render(text, object);
            return Ok(Some(filled.map_err(|error| {
                anyhow::anyhow!("Error formatting the data: {error}")
            })?));
        }
        Ok(self.json.then(|| json(object)))
    }
}

/// JSON with an indent of four.
pub(super) fn json(object: &Value) -> String {
    json_by(object, b"    ")
}

/// JSON with that indent.
pub(super) fn json_by(object: &Value, indent: &[u8]) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    if object.serialize(&mut serializer).is_err() {
        return object.to_string();
    }
    let text = String::from_utf8(out).unwrap_or_else(|_| object.to_string());
    // JSON escapes only some of the characters that a terminal acts on; the others stand in texts.
    text.chars()
        .map(|c| match c {
            '\n' => c.to_string(),
            c if c.is_control() => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_hostile_names_is_json_and_drives_no_terminal() {
        let object = serde_json::json!({"ID": "a\u{1b}\u{7f}\u{9b}\n"});
        let text = json(&object);
        assert!(text.contains("a\\u001b\\u007f\\u009b\\n"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), object);
    }
}
