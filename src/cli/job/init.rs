//! `job init`.

use super::super::context::Context;
use super::super::http::segments;
use anyhow::{Context as _, bail};
use jobs::wire::Variable;
use std::io::Write as _;

/// Where the example is written unless told otherwise.
const DEFAULT_FILE: &str = "example.nomad.hcl";
const EXAMPLE: &str = include_str!("example.nomad.hcl");
const EXAMPLE_SHORT: &str = include_str!("example-short.nomad.hcl");
const CONNECT: &str = include_str!("connect.nomad.hcl");
const CONNECT_SHORT: &str = include_str!("connect-short.nomad.hcl");

/// Where job files are kept as variables.
const TEMPLATES: &str = "nomad/job-templates/";
/// The item of such a variable that is the job file.
const TEMPLATE_ITEM: &str = "template";

/// Arguments of `job init`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// File to write
    #[arg(default_value = DEFAULT_FILE)]
    file: String,
    /// Without comments
    #[arg(long)]
    short: bool,
    /// Services that reach each other through sidecars
    #[arg(long)]
    connect: bool,
    /// Write the job file that is kept as a variable of this name
    #[arg(long, value_name = "NAME", conflicts_with = "list_templates")]
    template: Option<String>,
    /// List the names of job files that are kept as variables
    #[arg(long)]
    list_templates: bool,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.list_templates {
        return list(cx).await;
    }
    let file = &arguments.file;
    let kept;
    let text = match (&arguments.template, arguments.connect, arguments.short) {
        (Some(name), _, _) => {
            kept = template(cx, name).await?;
            cx.print(&format!("Initializing a job template from {name}"))?;
            kept.as_str()
        }
        (None, false, false) => EXAMPLE,
        (None, false, true) => EXAMPLE_SHORT,
        (None, true, false) => CONNECT,
        (None, true, true) => CONNECT_SHORT,
    };
    write_example(file, &format!("Job '{file}' already exists"), text)?;
    cx.print(&format!("Example job file written to {file}"))?;
    Ok(0)
}

/// The names of the job files that are kept as variables.
async fn list(cx: &mut Context) -> anyhow::Result<u8> {
    let found: Vec<Variable> = cx
        .http
        .get("/v1/vars", &[("prefix", TEMPLATES)])
        .await
        .context("Error retrieving job templates from the server")?;
    if found.is_empty() {
        bail!("No variables in {}", TEMPLATES.trim_end_matches('/'));
    }
    let program = &cx.program;
    let mut lines = vec![format!(
        "Use {program} job init -template=<template> with any of the following:"
    )];
    lines.extend(found.iter().map(|variable| {
        let name = variable.path.strip_prefix(TEMPLATES);
        format!("  {}", name.unwrap_or(&variable.path))
    }));
    cx.print(&lines.join("\n"))?;
    Ok(0)
}

/// The job file that is kept as a variable.
async fn template(cx: &Context, name: &str) -> anyhow::Result<String> {
    let path = format!("/v1/var/{TEMPLATES}{}", segments(name));
    let variable: Variable = match cx.http.get(&path, &[]).await {
        Err(error) if error.is_not_found() => bail!("Variable not found"),
        answer => answer.context("Error retrieving variable")?,
    };
    let text = variable
        .items
        .and_then(|items| items.get(TEMPLATE_ITEM).cloned());
    text.with_context(|| {
        format!("Job template {name:?} is malformed and is missing a {TEMPLATE_ITEM} field")
    })
}

/// Writes an example into a new file; one that is there is refused as `exists`.
pub(in super::super) fn write_example(file: &str, exists: &str, text: &str) -> anyhow::Result<()> {
    let created = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file);
    let mut created = match created {
        Ok(created) => created,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{exists}");
        }
        Err(error) => bail!("Failed to write '{file}': {error}"),
    };
    created
        .write_all(text.as_bytes())
        .with_context(|| format!("Failed to write '{file}'"))
}
