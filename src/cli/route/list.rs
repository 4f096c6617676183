//! `route list`.

use super::percent;
use crate::{context::Context, http::decode, render::columns, structured::Structured};
use anyhow::Context as _;
use serde::Deserialize;

/// Arguments of `route list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    structured: Structured,
}

/// One target of one route; the keys are lower case, as in the route admin API.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Target {
    service: String,
    src: String,
    dst: String,
    weight: f64,
    tags: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let path = "/v1/trivet/routes";
    let value = cx.http.get_value(path, &[]).await;
    let value = value.context("Error querying routes")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let targets: Vec<Target> = decode(path, value)?;
    let text = if targets.is_empty() {
        "No routes".to_owned()
    } else {
        list(&targets)
    };
    cx.print(&text)?;
    Ok(0)
}

fn list(targets: &[Target]) -> String {
    let rows = targets.iter().map(|target| {
        [
            target.service.clone(),
            target.src.clone(),
            target.dst.clone(),
            percent(target.weight),
            target.tags.join(","),
        ]
    });
    columns::table(
        ["Service", "Source", "Target", "Share", "Tags"],
        rows.collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent() {
        let targets = [Target {
            service: "web".into(),
            src: "/todo".into(),
            dst: "http://127.0.0.1:20000/".into(),
            weight: 0.05,
            tags: vec!["canary".into(), "v2".into()],
        }];
        assert_eq!(
            list(&targets),
            "Service  Source  Target                   Share  Tags
web      /todo   http://127.0.0.1:20000/  5.00%  canary,v2"
        );
    }
}
