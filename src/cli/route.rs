//! `route …`: what the ingress does with requests, and what share each version gets.

use super::columns;
use super::context::Context;
use super::http::decode;
use super::structured::Structured;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Look at routes and set their shares.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the routes and their targets
    List(ListArguments),
    /// Set the share of requests that instances get
    Weight(WeightArguments),
}

/// Arguments of `route list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of `route weight`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WeightArguments {
    /// Service whose instances are meant
    service: String,
    /// Host and path of the route, such as `/todo` or `shop.example.com/`
    src: String,
    /// Share of the route's requests, from 0 to 1; 0 goes back to equal turns
    #[arg(value_parser = share)]
    weight: f64,
    /// Only instances with all of these tags, such as `canary`
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
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

/// A share for the instances of a service on one route.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WeightRequest<'a> {
    service: &'a str,
    src: &'a str,
    /// None removes the share.
    weight: Option<f64>,
    tags: &'a [String],
}

fn share(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => list_all(cx, &arguments).await,
        Command::Weight(arguments) => weight(cx, &arguments).await,
    }
}

async fn list_all(cx: &mut Context, arguments: &ListArguments) -> anyhow::Result<u8> {
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

async fn weight(cx: &mut Context, arguments: &WeightArguments) -> anyhow::Result<u8> {
    let request = WeightRequest {
        service: &arguments.service,
        src: &arguments.src,
        weight: Some(arguments.weight).filter(|share| *share > 0.0),
        tags: &arguments.tags,
    };
    cx.http
        .put_value("/v1/trivet/route/weight", &[], &request)
        .await
        .context("Error setting the share")?;
    cx.print(&outcome(arguments))?;
    Ok(0)
}

fn outcome(arguments: &WeightArguments) -> String {
    let (service, src) = (&arguments.service, &arguments.src);
    if arguments.weight > 0.0 {
        let share = percent(arguments.weight);
        format!("Instances of {service:?} get {share} of the requests for {src}")
    } else {
        format!("Instances of {service:?} get equal turns of the requests for {src}")
    }
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

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
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
        assert!(share("1.5").is_err());
        assert!(share("NaN").is_err());
    }
}
