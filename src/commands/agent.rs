use super::{banner, load, say};
use anyhow::Context as _;
use std::process::ExitCode;
use trivet::{
    agent::{self, Agent},
    cli::AgentArguments,
    config::Written,
    telemetry,
};

/// `agent`: runs until interrupted.
pub(crate) fn run(arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let paths = arguments.config.clone();
    let Some(config) = load(&paths, written(arguments))? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start(&config.log_level).context("`log_level` is neither a level nor a filter")?;
    agent::run(async |planes| {
        let interrupted = agent::interrupted()?;
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
        let code = tokio::select! {
            () = &mut interrupted => ExitCode::SUCCESS,
            () = agent.broke() => ExitCode::FAILURE,
            never = serve => never,
        };
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
        data_dir: arguments.data_dir.map(|dir| dir.display().to_string()),
        bind_addr: arguments.bind,
        log_level: arguments.log_level,
        name: arguments.node,
        datacenter: arguments.dc,
        ..Written::default()
    }
}
