//! `job inspect`.

use super::super::context::Context;
use super::super::http::{Http, segment};
use super::super::lookup;
use super::super::structured;
use super::super::template;
use super::super::view::quoted;
use anyhow::{Context as _, anyhow, bail};
use jobs::wire::JobSubmission;
use serde_json::Value;

/// Arguments of `job inspect`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning; all jobs when it is left out, with -json or -t
    job: Option<String>,
    /// Show this version instead of the current one
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// Print the job alone, as the API answers it
    #[arg(long, conflicts_with_all = ["hcl", "template"])]
    json: bool,
    /// Print the job file that was submitted
    #[arg(long)]
    hcl: bool,
    /// Print how to run the submitted file with its variables too
    #[arg(long, requires = "hcl")]
    with_vars: bool,
    /// Print the API's object through a Go template
    #[arg(short = 't', value_name = "TEMPLATE")]
    template: Option<String>,
}

/// Begins what goes wrong once the job is known.
const INSPECTING: &str = "Error inspecting job";

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(job) = &arguments.job else {
        return all(cx, arguments).await;
    };
    let found = lookup::job(cx, job.trim()).await?;
    let http = cx.http.in_namespace(&found.namespace);
    let path = format!("/v1/job/{}", segment(&found.id));
    if arguments.hcl {
        let submission = submission(&http, &found.id, &path, arguments.version).await?;
        cx.print(&submission.source)?;
        if arguments.with_vars {
            let program = cx.program.clone();
            let text = with_variables(&program, &found.namespace, &found.id, &submission);
            cx.complain(&text);
        }
        return Ok(0);
    }
    let job = match arguments.version {
        None => http.get_value(&path, &[]).await.context(INSPECTING)?,
        Some(version) => at_version(&http, &found.id, &path, version).await?,
    };
    let text = match &arguments.template {
        Some(text) => filled(text, &job)?,
        None if arguments.json => structured::json(&job),
        None => structured::json(&serde_json::json!({ "Job": job })),
    };
    cx.print(&text)?;
    Ok(0)
}

/// The list of all jobs.
async fn all(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.hcl || !(arguments.json || arguments.template.is_some()) {
        bail!("This command takes one argument: <job>");
    }
    let jobs = cx.http.get_value("/v1/jobs", &[]).await;
    let jobs = jobs.context("Error querying jobs")?;
    let text = match &arguments.template {
        Some(text) => filled(text, &jobs)?,
        None => structured::json(&jobs),
    };
    cx.print(&text)?;
    Ok(0)
}

fn filled(template: &str, object: &Value) -> anyhow::Result<String> {
    template::render(template, object)
        .map_err(|error| anyhow!("Error formatting the data: {error}"))
}

async fn at_version(http: &Http, id: &str, path: &str, version: u64) -> anyhow::Result<Value> {
    let mut all = http
        .get_value(&format!("{path}/versions"), &[])
        .await
        .context(INSPECTING)?;
    let versions = all.get_mut("Versions").and_then(Value::as_array_mut);
    let is_it = |one: &Value| one.get("Version").and_then(Value::as_u64) == Some(version);
    let found = versions.and_then(|all| {
        let at = all.iter().position(is_it)?;
        Some(all.swap_remove(at))
    });
    found.ok_or_else(|| anyhow!("{INSPECTING}: {}", not_found(id, version)))
}

fn not_found(id: &str, version: u64) -> String {
    format!(
        "job {} with version {version} couldn't be found",
        quoted(id)
    )
}

/// The file of a version, of the current one unless another is named.
async fn submission(
    http: &Http,
    id: &str,
    path: &str,
    version: Option<u64>,
) -> anyhow::Result<JobSubmission> {
    let version = match version {
        Some(version) => version,
        None => {
            let job = http.get_value(path, &[]).await.context(INSPECTING)?;
            job.get("Version").and_then(Value::as_u64).unwrap_or(0)
        }
    };
    let query = [("version", version.to_string())];
    let query: Vec<(&str, &str)> = query.iter().map(|(key, text)| (*key, &**text)).collect();
    let submission: Result<JobSubmission, _> =
        http.get(&format!("{path}/submission"), &query).await;
    let submission = submission.map_err(|_| anyhow!("{INSPECTING}: {}", not_found(id, version)))?;
    Ok(submission)
}

/// How to run the file of a job with the values that it was submitted with.
fn with_variables(program: &str, namespace: &str, id: &str, of: &JobSubmission) -> String {
    let mut arguments = format!("-namespace {namespace} ");
    let flags = of.variable_flags.iter();
    let lines = of.variables.lines().map(str::trim);
    let flags = flags.map(|(name, value)| format!("{name}={value}"));
    for variable in flags.chain(lines.filter(|line| !line.is_empty()).map(str::to_owned)) {
        arguments.push_str(&format!("-var {} ", shell_word(&variable)));
    }
    format!(
        "
To run this job as originally submitted:

$ {program} job inspect -namespace {namespace} -hcl {id} |
    {program} job run {arguments}-
"
    )
}

/// A text as a shell takes it for one word.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submitted_file_is_run_again_with_its_variables() {
        let submission = JobSubmission {
            variable_flags: [("b", "2"), ("a", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            variables: "c = [it's]\n\n".into(),
            ..JobSubmission::default()
        };
        assert_eq!(
            with_variables("trivet", "team", "web", &submission),
            "
To run this job as originally submitted:

$ trivet job inspect -namespace team -hcl web |
    trivet job run -namespace team -var a=1 -var b=2 -var 'c = [it'\\''s]' -
"
        );
    }
}
