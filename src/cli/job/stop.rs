//! `job stop`.

use super::super::context::Context;
use super::super::http::segment;
use super::super::lookup;
use super::super::view::escaped;
use anyhow::Context as _;
use jobs::wire::JobDeregisterResponse;
use std::io::IsTerminal as _;

/// Arguments of `job stop`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job ids or their beginnings
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Forget the job at once instead of keeping it as dead
    #[arg(long)]
    purge: bool,
    /// Accepted for compatibility: there is one region
    #[arg(long)]
    global: bool,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Do not ask back
    #[arg(long, short = 'y')]
    yes: bool,
    /// Priority of the evaluation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    eval_priority: Option<u32>,
    /// Do not wait between leaving the catalog and the kill signal
    #[arg(long)]
    no_shutdown_delay: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut worst = 0;
    for id in &arguments.jobs {
        // One job that cannot be stopped does not keep the others running.
        let code = match stop(cx, id, arguments).await {
            Ok(code) => code,
            Err(error) if arguments.jobs.len() > 1 => {
                cx.complain(&format!("{error:#}"));
                1
            }
            Err(error) => return Err(error),
        };
        worst = worst.max(code);
    }
    Ok(worst)
}

async fn stop(cx: &mut Context, id: &str, arguments: &Arguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, id).await?;
    // A whole id is taken at its word; a beginning is confirmed where somebody can answer.
    if job.id != id && !arguments.yes && !confirmed(cx, &job.id)? {
        return Ok(0);
    }
    let http = cx.http.in_namespace(&job.namespace);
    let priority = arguments.eval_priority.map(|n| n.to_string());
    let mut query = vec![
        ("purge", if arguments.purge { "true" } else { "false" }),
        ("global", if arguments.global { "true" } else { "false" }),
    ];
    if let Some(priority) = &priority {
        query.push(("eval_priority", priority));
    }
    if arguments.no_shutdown_delay {
        query.push(("no_shutdown_delay", "true"));
    }
    let answer: JobDeregisterResponse = http
        .delete(&format!("/v1/job/{}", segment(&job.id)), &query)
        .await
        .with_context(|| format!("Error deregistering job with id {}", escaped(&job.id)))?;
    if arguments.detach {
        let id = answer.eval_id.map_or_else(String::new, |id| id.to_string());
        cx.print(&id)?;
        return Ok(0);
    }
    super::follow(cx, &http, answer.eval_id, false, arguments.verbose).await
}

fn confirmed(cx: &mut Context, id: &str) -> anyhow::Result<bool> {
    cx.write(format!("Are you sure you want to stop job {id:?}? [y/N] ").as_bytes())?;
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("no terminal to confirm on: give the whole id or -yes");
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("Failed to parse answer")?;
    let answer = line.trim();
    if answer == "y" {
        return Ok(true);
    }
    cx.print(if answer == "Y" {
        "For confirmation, an exact ‘y’ is required."
    } else {
        "Cancelling job stop"
    })?;
    Ok(false)
}
