//! The commands that run something here rather than ask an agent.

use anyhow::Context as _;
use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use trivet::{
    agent::{self, Agent, Listeners},
    cli::{self, AgentArguments, DevArguments, EchoArguments, Global, Request},
    config::{Config, Written},
    echo, telemetry,
};

/// `agent`: runs until interrupted.
pub(crate) fn agent(arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let paths = arguments.config.clone();
    let Some(config) = load(&paths, written(arguments))? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start(&config.log_level).context("`log_level` is neither a level nor a filter")?;
    agent::run(async |planes| {
        let interrupted = agent::interrupted()?;
        let agent = Agent::start(config, &planes).await?;
        let serve = async {
            agent.ready().await;
            say(&banner(agent.listeners()));
            std::future::pending().await
        };
        let code = tokio::select! {
            () = interrupted => ExitCode::SUCCESS,
            () = agent.broke() => ExitCode::FAILURE,
            never = serve => never,
        };
        agent.stop().await;
        Ok(code)
    })?
}

/// `dev`: a dev agent, the jobs submitted, where to reach them, until interrupted.
pub(crate) fn dev(
    arguments: DevArguments,
    program: String,
    global: Global,
) -> anyhow::Result<ExitCode> {
    let flags = Written {
        dev: Some(true),
        ..Written::default()
    };
    let Some(config) = load(&arguments.config, flags)? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start(arguments.log_level.as_deref().unwrap_or("warn"))?;
    agent::run(async |planes| {
        let interrupted = agent::interrupted()?;
        let agent = Agent::start(config, &planes).await?;
        let code = tokio::select! {
            code = submit(&agent, &arguments, program, &global) => code,
            () = interrupted => Ok(ExitCode::SUCCESS),
            () = agent.broke() => Ok(ExitCode::FAILURE),
        };
        agent.stop().await;
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
    let address = format!("http://{}", agent.listeners().http);
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
        ingress: agent.listeners().ingress,
        dns: agent.listeners().dns,
        api: agent.listeners().http,
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

/// `echo`: the sample workload.
pub(crate) fn echo(arguments: EchoArguments) -> anyhow::Result<ExitCode> {
    telemetry::start("info")?;
    let listen = listen_address(&arguments.listen)?;
    let mut headers = http::HeaderMap::new();
    for (name, value) in &arguments.header {
        let name: http::HeaderName = name
            .parse()
            .with_context(|| format!("`{name}` is no header name"))?;
        headers.append(
            name,
            value
                .parse()
                .with_context(|| format!("`{value}` is no header value"))?,
        );
    }
    let config = echo::Config {
        listen,
        text: arguments.text,
        headers,
        delay: arguments.delay,
        error_rate: arguments.error_rate,
        drain: arguments.drain,
    };
    // One thread is enough for a sample, and many of them run side by side.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let interrupted = agent::interrupted()?;
        let server = echo::Echo::bind(config)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        say(&format!("listening on {}\n", server.local_addr()?));
        server.run(interrupted).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A request to an agent.
pub(crate) fn request(
    program: String,
    global: Global,
    request: Request,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(ExitCode::from(
        runtime.block_on(cli::run(program, global, request)),
    ))
}

fn written(arguments: AgentArguments) -> Written {
    Written {
        dev: arguments.dev.then_some(true),
        server_enabled: arguments.server.then_some(true),
        client_enabled: arguments.client.then_some(true),
        bootstrap_expect: arguments.bootstrap_expect.map(u64::from),
        data_dir: arguments.data_dir.map(|dir| dir.display().to_string()),
        bind_addr: arguments.bind,
        log_level: arguments.log_level,
        name: arguments.node,
        datacenter: arguments.dc,
        ..Written::default()
    }
}

/// The configuration; none after its problems were printed.
fn load(paths: &[PathBuf], flags: Written) -> anyhow::Result<Option<Config>> {
    match Config::load(paths, flags) {
        Ok(config) => Ok(Some(config)),
        Err(problems) => {
            let mut stderr = std::io::stderr();
            for problem in problems {
                writeln!(stderr, "{problem}")?;
            }
            Ok(None)
        }
    }
}

fn listen_address(text: &str) -> anyhow::Result<SocketAddr> {
    let whole = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    whole
        .parse()
        .with_context(|| format!("`{text}` is no address such as 127.0.0.1:8080 or :8080"))
}

fn banner(listeners: &Listeners) -> String {
    let mut text = "==> Trivet agent configuration:\n\n".to_owned();
    for (name, address) in listeners.all() {
        // Writing to a string cannot fail.
        writeln!(text, "{name:>15}: {address}").ok();
    }
    text.push_str("\n==> Trivet agent started! Log data will stream in on standard error.\n");
    text
}

/// Prints to standard output; whoever closed it does not want to know.
fn say(text: &str) {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .ok();
}
