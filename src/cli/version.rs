//! `version`.

use super::{called, context::Context};
use anyhow::bail;
use serde_json::json;

/// Arguments of `version`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// How it is printed: pretty or json
    #[arg(long, default_value = "pretty", value_name = "FORMAT")]
    format: String,
}

/// The version of this program.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// The program that is stood in for by this name, and the level of its API.
fn level(program: &str) -> Option<(&'static str, &'static str)> {
    match program {
        "consul" => Some(("Consul", mesh::wire::API_VERSION)),
        "nomad" => Some(("Nomad", jobs::wire::API_VERSION)),
        _ => None,
    }
}

pub(super) fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let level = level(called(&cx.program));
    match arguments.format.as_str() {
        "pretty" => {
            if let Some((name, level)) = level {
                cx.print(&format!("{name} v{level}"))?;
            }
            cx.print(&format!("Trivet v{OWN}"))?;
        }
        "json" => {
            let version = level.map_or(OWN, |(_, level)| level);
            let shown = json!({
                "Version": version,
                "Revision": "",
                "Prerelease": "",
                "FIPS": "",
                "RPC": { "Default": 2, "Min": 2, "Max": 3 },
                "Trivet": OWN,
            });
            cx.print(&serde_json::to_string_pretty(&shown)?)?;
        }
        other => bail!("Unknown format: {other}; there are pretty and json"),
    }
    Ok(0)
}
