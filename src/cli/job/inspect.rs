//! `job inspect`.

use super::super::context::Context;
use super::super::http::segment;
use super::super::lookup;
use super::super::structured;
use super::super::template;
use anyhow::{Context as _, anyhow, bail};
use jobs::wire::JobSubmission;
use serde_json::Value;

/// Arguments of `job inspect`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Show this version instead of the current one
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// Print JSON, which is what is printed anyway
    #[arg(long, conflicts_with = "hcl")]
    json: bool,
    /// Print the job file that was submitted
    #[arg(long)]
    hcl: bool,
    /// Print the variables of the submitted file too
    #[arg(long, requires = "hcl")]
    with_vars: bool,
    /// Print the API's object through a Go template
    #[arg(short = 't', value_name = "TEMPLATE")]
    template: Option<String>,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let found = lookup::job(cx, &arguments.job).await?;
    let http = cx.http.in_namespace(&found.namespace);
    let inspecting = "Error inspecting job";
    let path = format!("/v1/job/{}", segment(&found.id));
    let job: Value = match arguments.version {
        None => http.get_value(&path, &[]).await.context(inspecting)?,
        Some(version) => {
            let all: Value = http
                .get_value(&format!("{path}/versions"), &[])
                .await
                .context(inspecting)?;
            all.get("Versions")
                .and_then(Value::as_array)
                .and_then(|all| {
                    all.iter()
                        .find(|one| one.get("Version").and_then(Value::as_u64) == Some(version))
                })
                .cloned()
                .ok_or_else(|| {
                    anyhow!("{inspecting}: job {:?} has no version {version}", found.id)
                })?
        }
    };
    if arguments.hcl {
        let version = job.get("Version").and_then(Value::as_u64).unwrap_or(0);
        let version = version.to_string();
        let submission: JobSubmission = http
            .get(&format!("{path}/submission"), &[("version", &version)])
            .await
            .context(inspecting)?;
        if submission.format == "json" {
            bail!("{inspecting}: the job was submitted as JSON, not as a job file");
        }
        cx.print(submission.source.trim_end())?;
        if arguments.with_vars {
            cx.print(&variables(&submission))?;
        }
        return Ok(0);
    }
    let text = match &arguments.template {
        Some(text) => template::render(text, &job)
            .map_err(|error| anyhow!("Error formatting the data: {error}"))?,
        None => structured::json(&serde_json::json!({ "Job": job })),
    };
    cx.print(&text)?;
    Ok(0)
}

fn variables(submission: &JobSubmission) -> String {
    let mut lines = vec![String::new(), "# Variables of the submission".to_owned()];
    for (name, value) in &submission.variable_flags {
        lines.push(format!("{name} = {value:?}"));
    }
    if !submission.variables.trim().is_empty() {
        lines.push(submission.variables.trim().to_owned());
    }
    lines.join("\n")
}
