use super::{banner, or_say, reload, say};
use anyhow::Context as _;
use cli::{self, DevArguments, Global, Request};
use config::{Config, Part, Problem, Written};
use std::{path::Path, process::ExitCode};
use trivet::agent::{self, Agent};

/// `dev`: a dev agent, the jobs submitted, where to reach them, until interrupted.
pub(crate) fn run(
    arguments: DevArguments,
    program: String,
    global: Global,
) -> anyhow::Result<ExitCode> {
    let Some(config) = or_say(loaded(&arguments))? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start(arguments.log_level.as_deref().unwrap_or("warn"))?;
    agent::run(async |planes| {
        let interrupted = agent::interrupted(true)?;
        tokio::pin!(interrupted);
        let agent = tokio::select! {
            agent = Agent::start(config, &planes) => agent?,
            () = &mut interrupted => return Ok(ExitCode::SUCCESS),
        };
        let code = tokio::select! {
            code = submit(&agent, &arguments, program, &global) => code,
            () = &mut interrupted => Ok(ExitCode::SUCCESS),
            () = agent.broke() => Ok(ExitCode::FAILURE),
            () = left(&agent, &arguments) => Ok(ExitCode::SUCCESS),
        };
        // Whoever asks again does not want to wait for the grace.
        agent.stop_early(agent::interrupted(true)?).await;
        code
    })?
}

/// Runs the jobs and shows where they are; resolves early only when one of them cannot be run.
async fn submit(
    agent: &Agent,
    arguments: &DevArguments,
    program: String,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    agent.ready().await;
    say(&banner(agent.listeners()));
    let listeners = agent.listeners();
    let http = listeners.http.context("the jobs API is off")?;
    let address = format!("http://{http}");
    let global = Global {
        address: Some(address.clone()),
        ..global.clone()
    };
    for file in &arguments.files {
        let code = cli::run(program.clone(), global.clone(), run_of(arguments, file)?).await;
        if code != 0 {
            return Ok(ExitCode::from(code));
        }
    }
    let places = cli::Places {
        ingress: listeners.ingress,
        dns: listeners.dns,
        api: http,
    };
    say(&cli::reach(&global, places).await?);
    say("\nPress Ctrl-C to stop the jobs and the agent.\n");
    std::future::pending().await
}

/// `job run FILE` with the variables that were given.
fn run_of(arguments: &DevArguments, file: &Path) -> anyhow::Result<Request> {
    let mut line = vec!["trivet".into(), "job".into(), "run".into()];
    for variable in &arguments.var {
        line.extend(["-var".into(), variable.into()]);
    }
    for variables in &arguments.var_file {
        line.extend(["-var-file".into(), variables.clone().into_os_string()]);
    }
    line.push(file.as_os_str().to_owned());
    match cli::parse(line) {
        Ok(invocation) => match invocation.command {
            cli::Command::Request(request) => Ok(request),
            _ => anyhow::bail!("`{}` is no job file", file.display()),
        },
        Err(refusal) => anyhow::bail!(refusal.text),
    }
}

/// What the files say of a development agent.
fn loaded(arguments: &DevArguments) -> Result<Config, Vec<Problem>> {
    let flags = Written {
        dev: Some(true),
        ..Written::default()
    };
    Config::load_as(Part::All, &arguments.config, flags)
}

/// Does what the agent is asked to do, until it is asked to leave.
async fn left(agent: &Agent, arguments: &DevArguments) {
    loop {
        match agent.requested().await {
            agent::Request::Reload(answer) => {
                answer.tell(reload(agent, loaded(arguments)).await);
            }
            agent::Request::Leave => return,
        }
    }
}
