//! `connect ca …`: the certificate authority of the mesh.

use super::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde::Serialize as _;
use serde_json::Value;

/// Where the authority's configuration is.
const PATH: &str = "/v1/connect/ca/configuration";

/// Look after the mesh.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Look at and change the certificate authority
    #[command(subcommand)]
    Ca(Ca),
}

/// Look at and change the certificate authority.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Ca {
    /// Print the configuration
    #[command(name = "get-config")]
    GetConfig(GetConfig),
    /// Replace the configuration
    #[command(name = "set-config")]
    SetConfig(SetConfig),
}

/// Arguments of `connect ca get-config`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GetConfig {
    #[command(flatten)]
    options: CatalogOptions,
}

/// Arguments of `connect ca set-config`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SetConfig {
    #[command(flatten)]
    options: CatalogOptions,
    /// File with the configuration as JSON
    #[arg(long, value_name = "FILE")]
    config_file: Option<String>,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Ca(command) = command;
    match command {
        Ca::GetConfig(arguments) => get_config(cx, &arguments).await,
        Ca::SetConfig(arguments) => set_config(cx, &arguments).await,
    }
}

async fn get_config(cx: &mut Context, arguments: &GetConfig) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let found = http.get_value(PATH, &arguments.options.read(&[])).await;
    let found: Value = found.context("Error querying CA configuration")?;
    cx.print(&indented(&found)?)?;
    Ok(0)
}

async fn set_config(cx: &mut Context, arguments: &SetConfig) -> anyhow::Result<u8> {
    let Some(file) = &arguments.config_file else {
        cx.complain("The -config-file flag is required");
        return Ok(1);
    };
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("Error reading config file `{file}`"))?;
    let wanted: Value = serde_json::from_str(&text)
        .with_context(|| format!("Error parsing config file `{file}`"))?;
    let http = arguments.options.http(cx)?;
    let query = arguments.options.write(&[]);
    let written = http.put_value(PATH, &query, &wanted).await;
    written.context("Error setting CA configuration")?;
    cx.print("Configuration updated!")?;
    Ok(0)
}

/// JSON with tabs, as people know it from here.
fn indented(value: &Value) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    Ok(String::from_utf8(text)?)
}
