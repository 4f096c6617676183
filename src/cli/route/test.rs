//! `route test`.

use super::percent;
use crate::{context::Context, http::decode, render::columns, structured::Structured};
use anyhow::Context as _;
use serde::Deserialize;

/// Arguments of `route test`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    structured: Structured,
    /// The URL of the request, or its host and path, such as `shop.example.com/cart`
    url: String,
    /// A header of the request, `Name: value`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The method of the request
    #[arg(long, default_value = "GET")]
    method: String,
}

/// Where a request goes, as the API says it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Explanation {
    route: String,
    why: Vec<String>,
    path: Option<String>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Candidate {
    service: String,
    version: String,
    part: String,
    instance: String,
    address: String,
    share: f64,
    in_flight: u64,
    is_resting: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let path = "/v1/trivet/route/test";
    let mut query = vec![
        ("url", arguments.url.as_str()),
        ("method", arguments.method.as_str()),
    ];
    query.extend(
        arguments
            .headers
            .iter()
            .map(|header| ("header", header.as_str())),
    );
    let value = cx.http.get_value(path, &query).await;
    let value = value.context("Error testing the route")?;
    let found: Explanation = decode(path, value.clone())?;
    let text = match arguments.structured.text(&value)? {
        Some(text) => text,
        None => render(&found),
    };
    cx.print(&text)?;
    Ok(u8::from(found.candidates.is_empty()))
}

fn render(found: &Explanation) -> String {
    let mut text = String::new();
    if !found.route.is_empty() {
        text.push_str(&format!("Route   {}\n", found.route));
    }
    if let Some(path) = &found.path {
        text.push_str(&format!("Path    {path}\n"));
    }
    for (at, why) in found.why.iter().enumerate() {
        let label = if at == 0 { "Why" } else { "" };
        text.push_str(&format!("{label:<8}{why}\n"));
    }
    if !found.candidates.is_empty() {
        let rows = found.candidates.iter().map(|own| {
            let version = match own.part.as_str() {
                "" => own.version.clone(),
                part => format!("{} ({part})", own.version).trim_start().to_owned(),
            };
            [
                own.service.clone(),
                version,
                own.instance.clone(),
                own.address.clone(),
                percent(own.share),
                own.in_flight.to_string(),
                if own.is_resting { "resting" } else { "ok" }.to_owned(),
            ]
        });
        let head = [
            "Service",
            "Version",
            "Instance",
            "Address",
            "Share",
            "In flight",
            "State",
        ];
        text.push('\n');
        text.push_str(&columns::table(head, rows.collect()));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_sentences_and_a_table() {
        let found = Explanation {
            route: "shop.io/".into(),
            why: vec!["it is the first".into(), "one is left".into()],
            path: Some("/x".into()),
            candidates: vec![Candidate {
                service: "web".into(),
                version: "v2".into(),
                part: "canary".into(),
                instance: "i1".into(),
                address: "10.0.0.1:80".into(),
                share: 0.05,
                in_flight: 3,
                is_resting: true,
            }],
        };
        assert_eq!(
            render(&found),
            "Route   shop.io/
Path    /x
Why     it is the first
        one is left

Service  Version      Instance  Address      Share  In flight  State
web      v2 (canary)  i1        10.0.0.1:80  5.00%  3          resting"
        );
    }
}
