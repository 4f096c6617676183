use super::{banner, or_say, reload, say};
use cli::{AgentArguments, ProgramArguments, called};
use config::{
    Config, Logs, Part, Placed, Problem, Written, WrittenDiscovery, WrittenLogs, WrittenNetworks,
    consul_help, load_consul,
};
use futures_util::FutureExt as _;
use std::{convert::Infallible, process::ExitCode};
use telemetry::{Output, Place};
use trivet::agent::{self, Agent, Request};

/// `agent`: runs until interrupted.
pub(crate) fn run(program: &str, arguments: AgentArguments) -> anyhow::Result<ExitCode> {
    let part = Part::of_program(called(program));
    let paths = arguments.config.clone();
    let flags = written(arguments);
    // Without files there is nothing to read again.
    serve(!paths.is_empty(), || {
        Config::load_as(part, &paths, flags.clone())
    })
}

/// `agent` by the name of the catalog: runs until interrupted.
pub(crate) fn run_catalog(arguments: &ProgramArguments) -> anyhow::Result<ExitCode> {
    if arguments.is_help {
        say(&consul_help());
        return Ok(ExitCode::SUCCESS);
    }
    serve(true, || load_consul(&arguments.given))
}

/// Runs an agent as `load` says, and again as it says when it is told to read its configuration
/// again.
fn serve(
    has_files: bool,
    load: impl Fn() -> Result<Config, Vec<Problem>>,
) -> anyhow::Result<ExitCode> {
    let Some(config) = or_say(load())? else {
        return Ok(ExitCode::FAILURE);
    };
    telemetry::start_with(&config.log_level, &output(&config.logs))?;
    agent::run(async |planes| {
        let ended = agent::ended(!has_files)?;
        let mut hang_ups = agent::hang_ups()?;
        tokio::pin!(ended);
        let agent = tokio::select! {
            agent = Agent::start(config, &planes) => agent?,
            _ = &mut ended => return Ok(ExitCode::SUCCESS),
        };
        let serve = async {
            agent.ready().await;
            say(&banner(agent.listeners()));
            std::future::pending().await
        };
        let mut serve = Box::pin(serve);
        let (code, leaves) = loop {
            tokio::select! {
                ending = &mut ended => break (ExitCode::SUCCESS, agent.leaves_at(ending)),
                () = agent.broke() => break (ExitCode::FAILURE, false),
                Some(()) = hang_ups.recv() => {
                    if let Err(problems) = reload(&agent, load()).await {
                        tracing::error!(problems, "the configuration stays as it was");
                    }
                }
                request = agent.requested() => match request {
                    Request::Reload(answer) => {
                        answer.tell(reload(&agent, load()).await);
                    }
                    Request::Leave => break (ExitCode::SUCCESS, true),
                },
                never = &mut serve => break never,
            }
        };
        drop(serve);
        // Whoever asks again does not want to wait for others, nor for the grace.
        let hurry = agent::interrupted(!has_files)?.shared();
        if leaves {
            tokio::select! {
                () = agent.leave() => {}
                () = hurry.clone() => {}
                never = refuse(&agent) => match never {},
            }
        }
        agent.stop_early(hurry).await;
        Ok(code)
    })?
}

/// Answers those who ask an agent for something that leaves already.
async fn refuse(agent: &Agent) -> Infallible {
    loop {
        match agent.requested().await {
            Request::Reload(answer) => answer.tell(Err("the agent is leaving".into())),
            Request::Leave => {}
        }
    }
}

/// How logs are written.
fn output(logs: &Logs) -> Output {
    let file = logs.file.clone();
    Output {
        is_json: logs.is_json,
        has_location: logs.has_location,
        facility: logs
            .system
            .as_ref()
            .and_then(|system| telemetry::facility(&system.facility)),
        file: file.map(|file| Place {
            path: file.path,
            bytes_max: file.bytes_max,
            age_max: file.age_max,
            older_max: file.older_max,
        }),
    }
}

fn written(arguments: AgentArguments) -> Written {
    let discovery = arguments.discovery;
    Written {
        discovery: WrittenDiscovery {
            server_auto_join: discovery.consul_server_auto_join,
            client_auto_join: discovery.consul_client_auto_join,
            server_service_name: discovery.consul_server_service_name,
            client_service_name: discovery.consul_client_service_name,
            auto_advertise: discovery.consul_auto_advertise,
            checks_use_advertise: discovery.consul_checks_use_advertise,
            tags: None,
        },
        dev: arguments.dev.then_some(true),
        server_enabled: arguments.server.then_some(true),
        client_enabled: arguments.client.then_some(true),
        bootstrap_expect: arguments.bootstrap_expect.map(u64::from),
        join: Some(arguments.retry_join).filter(|join| !join.is_empty()),
        servers: Some(arguments.servers).filter(|servers| !servers.is_empty()),
        data_dir: arguments.data_dir.map(|dir| dir.display().to_string()),
        alloc_dir: arguments.alloc_dir.map(|dir| dir.display().to_string()),
        state_dir: arguments.state_dir.map(|dir| dir.display().to_string()),
        bind_addr: arguments.bind,
        log_level: arguments.log_level,
        logs: WrittenLogs {
            log_json: arguments.log_json.then_some(true),
            log_include_location: arguments.log_include_location.then_some(true),
            ..WrittenLogs::default()
        },
        name: arguments.node,
        region: arguments.region,
        datacenter: arguments.dc,
        node_class: arguments.node_class,
        networks: WrittenNetworks {
            network_interface: arguments.network_interface.map(Placed::of_flag),
            preferred_address_family: arguments.preferred_address_family.map(Placed::of_flag),
            ..WrittenNetworks::default()
        },
        meta: arguments.meta.into_iter().collect(),
        cpu_total_compute: arguments.cpu_total_compute,
        ignored: arguments.unheeded.given,
        ..Written::default()
    }
}
