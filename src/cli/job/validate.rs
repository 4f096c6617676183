//! `job validate`.

use super::super::context::Context;
use super::super::http::Error;
use super::run::warnings;
use super::source::Source;
use jobs::spec::{self, Defaults};
use jobs::wire::{Job, JobValidateRequest, JobValidateResponse};

/// Arguments of `job validate`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Namespace of Vault that the job uses
    #[arg(long, value_name = "NAMESPACE")]
    vault_namespace: Option<String>,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut loaded = arguments.source.load().await?;
    if let Some(namespace) = &arguments.vault_namespace {
        loaded.job.vault_namespace = Some(namespace.clone());
    }
    let http = loaded.http(cx);
    let request = JobValidateRequest {
        job: Some(Box::new(loaded.job)),
    };
    let answer: Result<JobValidateResponse, Error> =
        http.put("/v1/validate/job", &[], &request).await;
    let answer = match answer {
        Ok(answer) => answer,
        // Without an agent the rules that need no cluster can still be checked.
        Err(error) if error.is_unreachable() => {
            local(*request.job.unwrap_or_default(), cx.namespace.as_deref())
        }
        Err(error) => anyhow::bail!("Error validating job: {error}"),
    };
    if !answer.driver_config_validated {
        cx.print("Driver configuration not validated since connection to the agent couldn't be established.\n")?;
    }
    if !answer.error.is_empty() {
        cx.complain("Job validation errors:");
        cx.complain(answer.error.trim_end());
        return Ok(1);
    }
    if let Some(text) = warnings(cx, &answer.warnings) {
        cx.print(&text)?;
    }
    cx.print("Job validation successful")?;
    Ok(0)
}

/// The answer that the rules give without an agent.
fn local(job: Job, namespace: Option<&str>) -> JobValidateResponse {
    let mut defaults = Defaults::default();
    if let Some(namespace) = namespace {
        namespace.clone_into(&mut defaults.namespace);
    }
    let found = spec::canonicalize_and_validate(job, &defaults);
    JobValidateResponse {
        driver_config_validated: false,
        error: if found.errors.is_empty() {
            String::new()
        } else {
            spec::list_errors(&found.errors)
        },
        validation_errors: found.errors,
        warnings: found.warnings.join("\n"),
    }
}
