//! `alloc checks`: how the checks stand that belong to services of the job alone.

use crate::{
    context::Context,
    http::{decode, segment},
    lookup,
    render::columns,
    structured::Structured,
    view::View,
};
use anyhow::Context as _;
use jobs::model::Timestamp;
use std::collections::BTreeMap;

/// Arguments of `alloc checks`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Allocation id or its beginning
    id: String,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

/// How a check stands.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    #[serde(rename = "ID")]
    id: String,
    check: String,
    group: String,
    task: String,
    service: String,
    status: String,
    status_code: u16,
    mode: String,
    /// Seconds since the epoch.
    timestamp: i64,
    output: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let view = cx.view(arguments.verbose);
    let alloc = lookup::allocation(cx, &arguments.id, &view).await?;
    let path = format!("/v1/client/allocation/{}/checks", segment(alloc.row.id));
    let value = cx
        .http
        .in_namespace(&alloc.row.namespace)
        .get_value(&path, &[])
        .await
        .context("Error querying allocation checks")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let checks: BTreeMap<String, Check> = decode(&path, value)?;
    cx.print(&format!(
        "Status of {} Nomad Service Checks\n",
        checks.len()
    ))?;
    for check in checks.values() {
        cx.print(&format!("{}\n", shown(check, &view)))?;
    }
    Ok(0)
}

fn shown(check: &Check, view: &View) -> String {
    let task = match check.task.as_str() {
        "" => "(group)",
        task => task,
    };
    let mut lines = vec![
        ("ID", check.id.clone()),
        ("Name", check.check.clone()),
        ("Group", check.group.clone()),
        ("Task", task.to_owned()),
        ("Service", check.service.clone()),
        ("Status", check.status.clone()),
    ];
    if check.status_code > 0 {
        lines.push(("StatusCode", check.status_code.to_string()));
    }
    lines.extend([
        ("Mode", check.mode.clone()),
        (
            "Timestamp",
            view.time_or_na(Timestamp::from_secs(check.timestamp)),
        ),
        ("Output", check.output.clone()),
    ]);
    let lines: Vec<Vec<String>> = lines
        .into_iter()
        .map(|(key, value)| vec![key.to_owned(), "=".to_owned(), value])
        .collect();
    columns::list(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    #[test]
    fn a_check_is_shown_with_its_last_answer() {
        let check = Check {
            id: "c1".into(),
            check: "alive".into(),
            group: "web.app[0]".into(),
            service: "web".into(),
            status: "success".into(),
            status_code: 200,
            mode: "healthiness".into(),
            timestamp: 1_772_445_600,
            ..Check::default()
        };
        assert_eq!(
            shown(&check, &test_view()),
            "ID          =  c1
Name        =  alive
Group       =  web.app[0]
Task        =  (group)
Service     =  web
Status      =  success
StatusCode  =  200
Mode        =  healthiness
Timestamp   =  2026-03-02T10:00:00Z
Output      =  <none>"
        );
    }
}
