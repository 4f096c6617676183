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
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    if object.serialize(&mut serializer).is_err() {
        return object.to_string();
    }
    String::from_utf8(out).unwrap_or_else(|_| object.to_string())
}
