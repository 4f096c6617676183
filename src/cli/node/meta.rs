//! `node meta …`: labels of a node that are changed while its agent runs.

use crate::{context::Context, lookup, render::columns, structured::Structured};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where they are read and changed.
const PATH: &str = "/v1/client/metadata";

/// Change and show the labels of a node.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Change labels of a node
    Apply(ApplyArguments),
    /// Show the labels of a node
    Read(ReadArguments),
}

/// Arguments of `node meta apply`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ApplyArguments {
    /// Node id or its beginning; the node of the agent that is asked if not given
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// Keys to take away, with commas between them
    #[arg(long, value_name = "KEYS")]
    unset: Option<String>,
    /// What to set
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
}

/// Arguments of `node meta read`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReadArguments {
    /// Node id or its beginning; the node of the agent that is asked if not given
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    #[command(flatten)]
    structured: Structured,
}

/// What the API answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Labels {
    meta: BTreeMap<String, String>,
    dynamic: BTreeMap<String, Option<String>>,
    #[serde(rename = "Static")]
    configured: BTreeMap<String, String>,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Apply(arguments) => apply(cx, &arguments).await,
        Command::Read(arguments) => read(cx, &arguments).await,
    }
}

async fn full_id(cx: &Context, id: Option<&String>) -> anyhow::Result<Option<String>> {
    match id {
        Some(id) => Ok(Some(lookup::node(cx, id).await?.id.to_string())),
        None => Ok(None),
    }
}

async fn apply(cx: &mut Context, arguments: &ApplyArguments) -> anyhow::Result<u8> {
    let unset = arguments.unset.as_deref().unwrap_or_default();
    if unset.is_empty() && arguments.pairs.is_empty() {
        bail!("Must specify -unset or at least 1 key=value pair");
    }
    let mut meta: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for pair in &arguments.pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        meta.insert(key, Some(value));
    }
    for key in unset.split(',').filter(|key| !key.is_empty()) {
        meta.insert(key, None);
    }
    let id = full_id(cx, arguments.node_id.as_ref()).await?;
    let query: Vec<(&str, &str)> = id.iter().map(|id| ("node_id", id.as_str())).collect();
    let body = json!({"NodeID": id.clone().unwrap_or_default(), "Meta": meta});
    let _answer: Value = cx
        .http
        .put(PATH, &query, &body)
        .await
        .context("Error applying dynamic node metadata")?;
    Ok(0)
}

async fn read(cx: &mut Context, arguments: &ReadArguments) -> anyhow::Result<u8> {
    let id = full_id(cx, arguments.node_id.as_ref()).await?;
    let query: Vec<(&str, &str)> = id.iter().map(|id| ("node_id", id.as_str())).collect();
    let value = cx.http.get_value(PATH, &query).await;
    let value = value.context("Error reading dynamic node metadata")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let labels: Labels = serde_json::from_value(value).context("the answer is no metadata")?;
    let paint = cx.view(false).paint;
    let changed = labels.dynamic.into_iter();
    let changed = changed
        .map(|(key, value)| (key, value.unwrap_or_else(|| "<unset>".to_owned())))
        .collect();
    let parts = [
        ("All Meta", labels.meta),
        ("Dynamic Meta", changed),
        ("Static Meta", labels.configured),
    ];
    let texts = parts.map(|(title, labels)| {
        let pairs = labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        let pairs: Vec<(&str, String)> = pairs.collect();
        format!("{}\n{}", paint.title(title), columns::key_values(&pairs))
    });
    cx.print(&texts.join("\n\n"))?;
    Ok(0)
}
