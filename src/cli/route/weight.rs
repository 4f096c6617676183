//! `route weight`.

use super::percent;
use crate::context::Context;
use anyhow::Context as _;
use serde::Serialize;

/// Arguments of `route weight`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
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

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
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

fn outcome(arguments: &Arguments) -> String {
    let (service, src) = (&arguments.service, &arguments.src);
    if arguments.weight > 0.0 {
        let share = percent(arguments.weight);
        format!("Instances of {service:?} get {share} of the requests for {src}")
    } else {
        format!("Instances of {service:?} get equal turns of the requests for {src}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_between_none_and_all() {
        assert_eq!(share("0.05"), Ok(0.05));
        assert!(share("1.5").is_err());
        assert!(share("NaN").is_err());
    }
}
