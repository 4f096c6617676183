//! `rtt`: how far two machines are apart.

use super::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// Shortest time that two machines can be apart, seconds.
const SECONDS_MIN: f64 = 1.0e-6;

/// Arguments of `rtt`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// One machine
    one: String,
    /// The other machine; the agent's own when not given
    other: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    node: String,
    coord: Place,
}

/// Where a machine stands, seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Place {
    vec: Vec<f64>,
    adjustment: f64,
    height: f64,
}

impl Place {
    /// Seconds to another place and back.
    fn distance(&self, other: &Self) -> f64 {
        let parts = self.vec.iter().zip(&other.vec);
        let squares: f64 = parts.map(|(one, other)| (one - other).powi(2)).sum();
        let plain = squares.sqrt() + self.height + other.height;
        let adjusted = plain + self.adjustment + other.adjustment;
        if adjusted > SECONDS_MIN {
            adjusted
        } else {
            plain
        }
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let other = match &arguments.other {
        Some(name) => name.clone(),
        None => {
            let agent: Value = http.get("/v1/agent/self", &[]).await?;
            let name = agent["Config"]["NodeName"].as_str();
            name.context("the agent does not say its name")?.to_owned()
        }
    };
    let entries = http.get("/v1/coordinate/nodes", &[]).await;
    let entries: Vec<Entry> = entries.context("Error getting coordinates")?;
    let place = |name: &str| entries.iter().find(|entry| entry.node == name);
    for name in [&arguments.one, &other] {
        if place(name).is_none() {
            cx.complain(&format!("Could not find a coordinate for node {name:?}"));
            return Ok(1);
        }
    }
    let both = place(&arguments.one).zip(place(&other));
    if let Some((one, another)) = both {
        let milliseconds = one.coord.distance(&another.coord) * 1000.0;
        cx.print(&format!(
            "Estimated {} <-> {other} rtt: {milliseconds:.3} ms (using LAN coordinates)",
            arguments.one
        ))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_has_a_height() {
        let place = Place {
            vec: vec![0.0; 8],
            adjustment: 0.0,
            height: 0.000_01,
        };
        assert!((place.distance(&place) - 0.000_02).abs() < 1.0e-12);
    }
}
