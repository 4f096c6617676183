//! `job dispatch`: launches a parameterized job.

use super::super::{
    context::Context,
    hints::Page,
    http::{Answer, Http, segment},
    lookup::{Kind, job_of},
    render::{
        columns,
        monitor::{self, next_index},
    },
};
use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jobs::{
    model::{Job, JobStatus, JobSummary, PAYLOAD_BYTES_MAX},
    wire::{JobDispatchRequest, JobDispatchResponse},
};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
};
use tokio::time::Instant;

/// Most bytes of a payload that are read: one more than servers take, so that they can say so.
const PAYLOAD_BYTES_READ: u64 = (PAYLOAD_BYTES_MAX + 1) as u64;
/// Some allocation failed.
const SOME_FAILED: u8 = 2;

/// Arguments of `job dispatch`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// File with the payload; `-` for standard input
    payload: Option<String>,
    /// A label for the launch
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Stands in the id of what is launched before the time
    #[arg(long, value_name = "PREFIX", default_value = "")]
    id_prefix_template: String,
    /// Launch nothing when something was launched with this token already
    #[arg(long, value_name = "TOKEN")]
    idempotency_token: Option<String>,
    /// Priority instead of the job's
    #[arg(long, value_name = "N", default_value_t = 0)]
    priority: i32,
    /// Return as soon as the job is launched
    #[arg(long)]
    detach: bool,
    /// Wait until everything that was launched is over
    #[arg(long, conflicts_with = "detach")]
    wait: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    /// Open its page of the web UI in the browser of this machine
    #[arg(long)]
    ui: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let payload = arguments.payload.as_deref().map(read).transpose();
    let payload = payload.context("Error reading input data")?;
    let meta: anyhow::Result<BTreeMap<String, String>> = arguments
        .meta
        .iter()
        .map(|text| {
            let (key, value) = text
                .split_once('=')
                .with_context(|| format!("Error parsing meta value: {text}"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect();
    let meta = meta?;
    let job = job_of(cx, arguments.job.trim(), Kind::Parameterized).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let request = JobDispatchRequest {
        job_id: job.id.clone(),
        payload: payload.map(|bytes| BASE64_STANDARD.encode(bytes)),
        meta: Some(meta),
        id_prefix_template: arguments.id_prefix_template.clone(),
        priority: arguments.priority,
    };
    let token = arguments.idempotency_token.as_deref();
    let query: Vec<(&str, &str)> = token
        .map(|token| ("idempotency_token", token))
        .into_iter()
        .collect();
    let path = format!("/v1/job/{}/dispatch", segment(&job.id));
    let answer: JobDispatchResponse = http
        .put(&path, &query, &request)
        .await
        .context("Failed to dispatch job")?;
    let view = cx.view(arguments.verbose);
    let child = answer.dispatched_job_id;
    let mut pairs = vec![("Dispatched Job ID", child.to_string())];
    pairs.extend(answer.eval_id.map(|id| ("Evaluation ID", view.id(id))));
    cx.print(&columns::key_values(&pairs))?;
    let (id, namespace) = (child.as_str(), job.namespace.as_str());
    let Some(eval_id) = answer.eval_id.filter(|_| !arguments.detach) else {
        if arguments.ui {
            cx.hint_or_open(Page::ChangedJob { id, namespace }, true)
                .await;
        }
        return Ok(monitor::DONE);
    };
    cx.print("")?;
    cx.hint_or_open(Page::ChangedJob { id, namespace }, arguments.ui)
        .await;
    let code = super::follow(cx, &http, Some(eval_id), false, arguments.verbose).await?;
    if code == monitor::DONE && arguments.wait {
        return wait(&http, &child).await;
    }
    Ok(code)
}

fn read(source: &str) -> io::Result<Vec<u8>> {
    let reader: Box<dyn Read> = match source {
        "-" => Box::new(io::stdin()),
        path => Box::new(std::fs::File::open(Path::new(path))?),
    };
    let mut bytes = Vec::new();
    reader.take(PAYLOAD_BYTES_READ).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Waits until the job is over, and says by the exit code how that was.
async fn wait(http: &Http, id: &str) -> anyhow::Result<u8> {
    let path = format!("/v1/job/{}", segment(id));
    let mut index = 0;
    loop {
        let asked = Instant::now();
        let answer: Answer<Job> = http
            .get_after(&path, &[], index, None)
            .await
            .context("Error querying allocations")?;
        if answer.body.status == JobStatus::Dead {
            break;
        }
        index = next_index(index, answer.index, asked).await;
    }
    let summary: JobSummary = http
        .get(&format!("{path}/summary"), &[])
        .await
        .context("Error querying allocations")?;
    let failed = summary.summary.values().any(|group| group.failed > 0);
    Ok(if failed { SOME_FAILED } else { monitor::DONE })
}
