//! `maint`: puts the node or a service of the agent into maintenance.

use super::{catalog_options::CatalogOptions, context::Context, http::segment};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Id of the check that says that the node is in maintenance.
const NODE: &str = "_node_maintenance";
/// As [`NODE`], of a service, before its id.
const SERVICE: &str = "_service_maintenance:";

/// Arguments of `maint`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Begin maintenance
    #[arg(long)]
    enable: bool,
    /// End maintenance
    #[arg(long)]
    disable: bool,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Id of the service; the whole node when not given
    #[arg(long, value_name = "ID")]
    service: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    #[serde(rename = "CheckID")]
    check_id: String,
    node: String,
    notes: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let is_change = arguments.enable || arguments.disable;
    let wrong = if arguments.enable && arguments.disable {
        Some("Only one of -enable or -disable may be provided")
    } else if !is_change && !arguments.reason.is_empty() {
        Some("Reason may only be provided with -enable")
    } else if !is_change && arguments.service.is_some() {
        Some("Service requires either -enable or -disable")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        cx.complain(wrong);
        return Ok(1);
    }
    let http = arguments.options.http(cx)?;
    if !is_change {
        let checks: BTreeMap<String, Check> = http.get("/v1/agent/checks", &[]).await?;
        let text = shown(checks.into_values());
        if !text.is_empty() {
            cx.print(&text)?;
        }
        return Ok(0);
    }
    let enable = if arguments.enable { "true" } else { "false" };
    let query = [("enable", enable), ("reason", arguments.reason.as_str())];
    let path = match &arguments.service {
        Some(id) => format!("/v1/agent/service/maintenance/{}", segment(id)),
        None => "/v1/agent/maintenance".to_owned(),
    };
    let changed = http.put_bytes::<Value>(&path, &query, Vec::new()).await;
    let kind = if arguments.service.is_some() {
        "service"
    } else {
        "node"
    };
    let verb = if arguments.enable {
        "enabling"
    } else {
        "disabling"
    };
    changed.with_context(|| format!("Error {verb} {kind} maintenance"))?;
    cx.print(&done(arguments))?;
    Ok(0)
}

fn done(arguments: &Arguments) -> String {
    let state = if arguments.enable {
        "enabled"
    } else {
        "disabled"
    };
    match &arguments.service {
        Some(id) => format!("Service maintenance is now {state} for {id:?}"),
        None => format!("Node maintenance is now {state}"),
    }
}

/// What is in maintenance, and why.
fn shown(checks: impl Iterator<Item = Check>) -> String {
    let mut text = String::new();
    for check in checks {
        let (noun, key, name) = if check.check_id == NODE {
            ("Node", "Name:  ", &check.node)
        } else if check.check_id.starts_with(SERVICE) {
            ("Service", "ID:    ", &check.service_id)
        } else {
            continue;
        };
        // Writing to a text cannot fail.
        let _written = write!(
            text,
            "{noun}:\n  {key} {name}\n  Reason: {}\n\n",
            check.notes
        );
    }
    text.trim_end_matches('\n').to_owned() + if text.is_empty() { "" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_maintenance_is_shown_with_the_reason() {
        let check = |id: &str, service: &str| Check {
            check_id: id.to_owned(),
            node: "node-a".to_owned(),
            notes: "x".to_owned(),
            service_id: service.to_owned(),
        };
        let checks = [
            check("_node_maintenance", ""),
            check("_service_maintenance:web", "web"),
            check("other", "web"),
        ];
        assert_eq!(
            shown(checks.into_iter()),
            "Node:\n  Name:   node-a\n  Reason: x\n\nService:\n  ID:     web\n  Reason: x\n"
        );
        assert_eq!(shown(std::iter::empty()), "");
    }
}
