//! `status`: one command for an id of any kind.

use super::context::Context;
use super::http::{Error, Query};
use super::render::{allocations, deployments, evaluations, jobs as job_rows, nodes};
use super::view::View;
use super::{alloc, eval, job, node};
use anyhow::{Context as _, bail};
use jobs::model::{Deployment, Evaluation};
use jobs::wire::{AllocationListStub, JobListStub, NodeListStub};
use serde::de::DeserializeOwned;

/// Arguments of `status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Id of a job, allocation, node, evaluation or deployment, or its beginning
    id: Option<String>,
    /// Show full ids and absolute times
    #[arg(long)]
    verbose: bool,
}

/// What an id may mean.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) jobs: Vec<JobListStub>,
    pub(super) allocs: Vec<AllocationListStub>,
    pub(super) nodes: Vec<NodeListStub>,
    pub(super) evals: Vec<Evaluation>,
    pub(super) deployments: Vec<Deployment>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let verbose = arguments.verbose;
    let Some(id) = arguments.id.clone() else {
        return job::status::show(cx, None, verbose).await;
    };
    let found = Matches::find(cx, &id).await?;
    // A job is named by people, so its whole id means the job whatever else begins so.
    if found.jobs.iter().any(|job| job.id == id) {
        return job::status::show(cx, Some(id), verbose).await;
    }
    let kinds = found.kinds();
    if kinds == 0 {
        bail!("Unable to resolve ID: {id:?}");
    }
    if kinds > 1 {
        let text = found.list(&cx.view(verbose));
        bail!("Multiple matches found for id {id:?}\n{text}");
    }
    if !found.jobs.is_empty() {
        return job::status::show(cx, Some(id), verbose).await;
    }
    if !found.allocs.is_empty() {
        return alloc::status::show_id(cx, &id, verbose).await;
    }
    if !found.nodes.is_empty() {
        return node::status::show_id(cx, &id, verbose).await;
    }
    if !found.evals.is_empty() {
        return eval::status::show_id(cx, &id, verbose).await;
    }
    let one = super::lookup::deployment(cx, &id).await?;
    let text = deployments::detail(&one, &cx.view(verbose));
    cx.print(&text)?;
    Ok(0)
}

impl Matches {
    /// Looks for everything whose id begins so.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub(super) async fn find(cx: &Context, id: &str) -> anyhow::Result<Self> {
        let mut found = Self {
            jobs: cx
                .http
                .get("/v1/jobs", &[("prefix", id)])
                .await
                .context("Error querying jobs")?,
            ..Self::default()
        };
        let is_generated = id.len() >= 2 && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if !is_generated {
            return Ok(found);
        }
        let query = [("prefix", id)];
        found.allocs = matching(cx, "/v1/allocations", &query).await?;
        found.nodes = matching(cx, "/v1/nodes", &query).await?;
        found.evals = matching(cx, "/v1/evaluations", &query).await?;
        found.deployments = matching(cx, "/v1/deployments", &query).await?;
        Ok(found)
    }

    /// Of how many kinds something was found.
    pub(super) fn kinds(&self) -> usize {
        [
            self.jobs.is_empty(),
            self.allocs.is_empty(),
            self.nodes.is_empty(),
            self.evals.is_empty(),
            self.deployments.is_empty(),
        ]
        .into_iter()
        .filter(|empty| !empty)
        .count()
    }

    /// All of it as tables.
    pub(super) fn list(&self, view: &View) -> String {
        let mut out = Vec::new();
        let mut section = |title: &str, is_empty: bool, text: String| {
            if !is_empty {
                out.push(format!("\n{}\n{text}", view.paint.title(title)));
            }
        };
        let jobs = job_rows::list(&self.jobs, true, view);
        section("Jobs", self.jobs.is_empty(), jobs);
        let allocs = allocations::list(&self.allocs, view);
        section("Allocations", self.allocs.is_empty(), allocs);
        let nodes = nodes::list(&self.nodes, nodes::Columns::default(), view);
        section("Nodes", self.nodes.is_empty(), nodes);
        section(
            "Evaluations",
            self.evals.is_empty(),
            evaluations::list(&self.evals, view),
        );
        let deployments = deployments::list(&self.deployments, view);
        section("Deployments", self.deployments.is_empty(), deployments);
        out.join("\n")
    }
}

/// Objects of one kind. A prefix that the agent does not take as one of this kind matches none.
async fn matching<T: DeserializeOwned>(
    cx: &Context,
    path: &str,
    query: Query<'_>,
) -> anyhow::Result<Vec<T>> {
    match cx.http.get(path, query).await {
        Ok(found) => Ok(found),
        Err(Error::Status { .. }) => Ok(Vec::new()),
        Err(error) => Err(error).context("Error querying search"),
    }
}
