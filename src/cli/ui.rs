//! `ui`: the address of a page of the web UI.

use super::browser;
use super::context::Context;
use super::hints::Page;
use super::status::Matches;
use anyhow::{bail, ensure};

/// Arguments of `ui`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Open it in the browser of this machine
    #[arg(long)]
    open: bool,
    /// Name of a page (jobs, services, routes …), or id of a job, allocation, node, evaluation or
    /// deployment, or its beginning
    object: Option<String>,
}

/// Pages by the name that they have in the menu, and their paths.
const PAGES: [(&str, &str); 11] = [
    ("jobs", "/jobs"),
    ("run", "/jobs/run"),
    ("services", "/services"),
    ("routes", "/routes"),
    ("topology", "/topology"),
    ("nodes", "/clients"),
    ("servers", "/servers"),
    ("evaluations", "/evaluations"),
    ("kv", "/kv"),
    ("variables", "/variables"),
    ("events", "/events"),
];
pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    ensure!(
        !cx.http.is_socket(),
        "a browser cannot open `{}`: name the agent's HTTP address",
        cx.http.address()
    );
    let path = match &arguments.object {
        None => "/".to_owned(),
        Some(object) => path_of(cx, object).await?,
    };
    let url = format!("{}/ui{path}", cx.http.address());
    if !arguments.open {
        cx.print(&url)?;
        return Ok(0);
    }
    cx.print(&format!("Opening URL {url:?}"))?;
    browser::open(&url).await?;
    Ok(0)
}

async fn path_of(cx: &Context, object: &str) -> anyhow::Result<String> {
    if let Some((_, path)) = PAGES.iter().find(|(name, _)| *name == object) {
        return Ok((*path).to_owned());
    }
    let found = Matches::find(cx, object).await?;
    let named = found.jobs.iter().find(|job| job.id == object);
    if named.is_none() && found.kinds() > 1 {
        let text = found.list(&cx.view(false));
        bail!("Multiple matches found for id {object:?}\n{text}");
    }
    if let Some(job) = named.or_else(|| only(&found.jobs)) {
        let (id, namespace) = (&job.id, &job.namespace);
        return Ok(Page::Job { id, namespace }.path());
    }
    if let Some(alloc) = only(&found.allocs) {
        return Ok(Page::Allocation(&alloc.id.to_string()).path());
    }
    if let Some(node) = only(&found.nodes) {
        return Ok(Page::Node(&node.id.to_string()).path());
    }
    if let Some(eval) = only(&found.evals) {
        return Ok(Page::Evaluation(&eval.id.to_string()).path());
    }
    if let Some(deployment) = only(&found.deployments) {
        return Ok(Page::Deployments(&deployment.job_id).path());
    }
    if found.kinds() == 0 {
        bail!("Unable to resolve ID: {object:?}");
    }
    bail!(
        "Multiple matches found for id {object:?}\n{}",
        found.list(&cx.view(false))
    )
}

/// The row, if there is one alone.
fn only<T>(rows: &[T]) -> Option<&T> {
    match rows {
        [row] => Some(row),
        _ => None,
    }
}
