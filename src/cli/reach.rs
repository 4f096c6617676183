//! Where the services of a dev agent can be reached.

use super::{Global, Output, context::Context, render::columns};
use serde::Deserialize;
use std::{collections::BTreeSet, fmt::Write as _, net::SocketAddr, time::Duration};

/// How long to wait for the routes of services that pass their checks.
const ROUTES_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at the routes.
const ROUTES_PAUSE: Duration = Duration::from_millis(20);

/// Listeners of the agent that the texts name.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Ingress.
    pub ingress: Option<SocketAddr>,
    /// DNS.
    pub dns: Option<SocketAddr>,
    /// Jobs API.
    pub api: SocketAddr,
}

/// A row of the routing table.
#[derive(Debug, Deserialize)]
struct Route {
    service: String,
    #[serde(default)]
    host: String,
    path: String,
}

/// The text that tells where each service is: URL and DNS name.
///
/// # Errors
/// When the agent does not answer.
pub async fn reach(global: &Global, places: Places) -> anyhow::Result<String> {
    let cx = Context::new("trivet".into(), global, Output::process())?;
    let jobs: Vec<serde_json::Value> = cx.http.get("/v1/jobs", &[]).await?;
    let waiting = tokio::time::timeout(ROUTES_WAIT, routed(&cx)).await;
    let routes = match waiting {
        Ok(routes) => routes?,
        // Jobs without routes are fine too.
        Err(_) => cx.http.get("/v1/trivet/routes", &[]).await?,
    };
    Ok(render(&jobs, &routes, places))
}

async fn routed(cx: &Context) -> anyhow::Result<Vec<Route>> {
    loop {
        let routes: Vec<Route> = cx.http.get("/v1/trivet/routes", &[]).await?;
        if !routes.is_empty() {
            return Ok(routes);
        }
        tokio::time::sleep(ROUTES_PAUSE).await;
    }
}

fn render(jobs: &[serde_json::Value], routes: &[Route], places: Places) -> String {
    let mut text = format!("\nJobs API and command line: http://{}\n", places.api);
    let names: Vec<&str> = jobs.iter().filter_map(|job| job["ID"].as_str()).collect();
    writeln!(text, "Jobs: {}", names.join(", ")).ok();
    let mut rows = Vec::new();
    let unique: BTreeSet<(&str, &str, &str)> = routes
        .iter()
        .map(|route| {
            (
                route.service.as_str(),
                route.host.as_str(),
                route.path.as_str(),
            )
        })
        .collect();
    for (service, host, path) in unique {
        let url = match (host, places.ingress) {
            (_, None) => "none: this agent carries no traffic".to_owned(),
            ("", Some(ingress)) => format!("http://{ingress}{path}"),
            (host, Some(ingress)) => format!("http://{ingress}{path} with host {host}"),
        };
        rows.push([service.to_owned(), url, format!("{service}.service.consul")]);
    }
    if !rows.is_empty() {
        writeln!(
            text,
            "\n{}",
            columns::table(["Service", "URL", "DNS name"], rows)
        )
        .ok();
    }
    if let Some(dns) = places.dns {
        writeln!(
            text,
            "\nDNS: dig @{} -p {} NAME.service.consul SRV",
            dns.ip(),
            dns.port()
        )
        .ok();
    }
    text
}
