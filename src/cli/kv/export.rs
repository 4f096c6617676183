//! `kv export`.

use super::{path, plain};
use crate::{catalog_options::CatalogOptions, context::Context, http::Error};
use anyhow::Context as _;
use mesh::wire::{KvExport, KvPair};
use serde::Serialize as _;
use serde_json::{Serializer, ser::PrettyFormatter};

/// Arguments of `kv export`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Start of the keys; all when not given
    prefix: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let prefix = plain(arguments.prefix.as_deref().unwrap_or_default());
    let query = arguments.options.read(&[("recurse", "")]);
    let pairs: Vec<KvPair> = match http.get(&path(prefix), &query).await {
        Err(Error::Status { status: 404, .. }) => Vec::new(),
        answer => answer.context("Error querying the agent")?,
    };
    let mut text = exported(&pairs)?;
    text.push(b'\n');
    cx.write(&text)?;
    Ok(0)
}

fn exported(pairs: &[KvPair]) -> anyhow::Result<Vec<u8>> {
    let entries: Vec<KvExport> = pairs.iter().map(KvExport::from).collect();
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    entries.serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_exported_with_tabs() {
        let pair = KvPair {
            key: "a/1".into(),
            flags: 7,
            value: b"hello".to_vec(),
            ..KvPair::default()
        };
        let text = String::from_utf8(exported(&[pair]).unwrap()).unwrap();
        assert_eq!(
            text,
            "[\n\t{\n\t\t\"key\": \"a/1\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"aGVsbG8=\"\n\t}\n]"
        );
        assert_eq!(exported(&[]).unwrap(), b"[]");
    }
}
