//! `intention create`.

use super::{Intention, Which};
use crate::{
    catalog_options::CatalogOptions,
    context::Context,
    http::{Error, Http},
};
use anyhow::Context as _;
use serde_json::Value;
use std::{collections::BTreeMap, fs, io};

/// Arguments of `intention create`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Allow connections; so it is unless `-deny` is given
    #[arg(long)]
    allow: bool,
    /// Deny connections
    #[arg(long)]
    deny: bool,
    /// Read intentions as JSON from the files that are named; `-` for standard input
    #[arg(long)]
    file: bool,
    /// Something to keep with it, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Replace what there is for the same source and destination
    #[arg(long)]
    replace: bool,
    /// Source and destination, or files
    names: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.allow && arguments.deny {
        cx.complain("Only one of -allow or -deny may be specified.");
        return Ok(1);
    }
    let intentions = if arguments.file {
        from_files(&arguments.names)?
    } else {
        let [source, destination] = arguments.names.as_slice() else {
            cx.complain("Error: Must specify two arguments: source and destination");
            return Ok(1);
        };
        vec![Intention {
            source_name: source.clone(),
            destination_name: destination.clone(),
            source_type: "consul".to_owned(),
            action: if arguments.deny { "deny" } else { "allow" }.to_owned(),
            meta: pairs(&arguments.meta)?,
            ..Intention::default()
        }]
    };
    let http = arguments.options.http(cx)?;
    for intention in intentions {
        if arguments.replace && is_replaced(&http, &arguments.options, &intention).await? {
            continue;
        }
        let query = arguments.options.write(&[]);
        let made = http.post("/v1/connect/intentions", &query, &intention);
        let made: Result<Value, Error> = made.await;
        made.with_context(|| format!("Error creating intention {:?}", intention.line()))?;
        cx.print(&format!("Created: {}", intention.line()))?;
    }
    Ok(0)
}

fn from_files(files: &[String]) -> anyhow::Result<Vec<Intention>> {
    let read = |file: &String| {
        let text = if file == "-" {
            io::read_to_string(io::stdin())
        } else {
            fs::read_to_string(file)
        };
        let text = text.with_context(|| format!("Error reading `{file}`"))?;
        serde_json::from_str(&text).with_context(|| format!("`{file}` is no intention"))
    };
    files.iter().map(read).collect()
}

fn pairs(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("`{text}` is no `key=value`"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

/// Replaces the intention of the same source and destination; false when there is none.
async fn is_replaced(
    http: &Http,
    options: &CatalogOptions,
    intention: &Intention,
) -> anyhow::Result<bool> {
    let pair = Which::Pair(&intention.source_name, &intention.destination_name);
    let (path, query) = (pair.path(), pair.query());
    let found = match http.get::<Intention>(&path, &options.read(&query)).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let by_id = Which::Id(&found.id);
    let which = if found.id.is_empty() { pair } else { by_id };
    let query = options.write(&which.query());
    let replaced = http.put_value(&which.path(), &query, intention).await;
    replaced.with_context(|| {
        format!(
            "Error replacing intention with source and destination of {:?}",
            intention.line()
        )
    })?;
    Ok(true)
}
