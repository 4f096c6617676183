use super::{banner, load, reload, say};
use anyhow::Context as _;
use cli::AgentArguments;
use config::{Part, Written};
use std::process::ExitCode;
use trivet::agent::{self, Agent, Request};

/// `agent`: runs until interrupted.
pub(crate) fn run(program: &str, arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let part = Part::of_program(program);
    let paths = arguments.config.clone();
    let flags = written(arguments);
    let Some(config) = load(part, &paths, flags.clone())? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start(&config.log_level).context("`log_level` is neither a level nor a filter")?;
    agent::run(async |planes| {
        // Without files there is nothing to read again.
        let interrupted = agent::interrupted(paths.is_empty())?;
        let mut hang_ups = agent::hang_ups()?;
        tokio::pin!(interrupted);
        let agent = tokio::select! {
            agent = Agent::start(config, &planes) => agent?,
            () = &mut interrupted => return Ok(ExitCode::SUCCESS),
        };
        let serve = async {
            agent.ready().await;
            say(&banner(agent.listeners()));
            std::future::pending().await
        };
        let mut serve = Box::pin(serve);
        let code = loop {
            tokio::select! {
                () = &mut interrupted => break ExitCode::SUCCESS,
                () = agent.broke() => break ExitCode::FAILURE,
                Some(()) = hang_ups.recv() => {
                    if let Err(problems) = reload(&agent, part, &paths, flags.clone()).await {
                        tracing::error!(problems, "the configuration stays as it was");
                    }
                }
                request = agent.requested() => match request {
                    Request::Reload(answer) => {
                        answer.tell(reload(&agent, part, &paths, flags.clone()).await);
                    }
                    Request::Leave => break ExitCode::SUCCESS,
                },
                never = &mut serve => break never,
            }
        };
        drop(serve);
        agent.stop().await;
        Ok(code)
    })?
}

fn written(arguments: AgentArguments) -> Written {
    Written {
        dev: arguments.dev.then_some(true),
        server_enabled: arguments.server.then_some(true),
        client_enabled: arguments.client.then_some(true),
        bootstrap_expect: arguments.bootstrap_expect.map(u64::from),
        join: Some(arguments.retry_join).filter(|join| !join.is_empty()),
        servers: Some(arguments.servers).filter(|servers| !servers.is_empty()),
        data_dir: arguments.data_dir.map(|dir| dir.display().to_string()),
        bind_addr: arguments.bind,
        log_level: arguments.log_level,
        name: arguments.node,
        region: arguments.region,
        datacenter: arguments.dc,
        node_class: arguments.node_class,
        meta: arguments.meta.into_iter().collect(),
        cpu_total_compute: arguments.cpu_total_compute,
        ignored: arguments.unheeded.given,
        ..Written::default()
    }
}
