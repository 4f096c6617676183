//! Arguments to a runtime to an exit code.

mod allocator;
mod commands;

use cli::{self, Command};
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    if commands::supervise::is_asked() {
        return commands::supervise::run();
    }
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refuse(&refusal),
    };
    if matches!(
        invocation.command,
        Command::Agent(_) | Command::CatalogAgent(_) | Command::Dev(_) | Command::Ingress(_)
    ) {
        allocator::give_back_in_background();
    }
    // Everything that speaks TLS uses this provider; installing it twice is no error worth a word.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let done = match invocation.command {
        Command::Agent(arguments) => commands::agent::run(&invocation.program, arguments),
        Command::Dev(arguments) => {
            commands::dev::run(arguments, invocation.program, invocation.global)
        }
        Command::Cluster(command) => commands::cluster::run(command, invocation.global),
        Command::CatalogAgent(arguments) => commands::agent::run_catalog(&arguments),
        Command::Ingress(arguments) => commands::ingress::run(&arguments),
        Command::Echo(arguments) => commands::echo::run(arguments),
        Command::ValidateServices(arguments) => {
            commands::validate::run(&invocation.program, &arguments)
        }
        Command::Supervise(_) => Ok(commands::supervise::run()),
        Command::Request(request) => {
            commands::request::run(invocation.program, invocation.global, request)
        }
    };
    done.unwrap_or_else(|error| {
        writeln!(std::io::stderr(), "{error:#}").ok();
        ExitCode::FAILURE
    })
}

fn refuse(refusal: &cli::Refusal) -> ExitCode {
    if refusal.is_help {
        write!(std::io::stdout(), "{}", refusal.text).ok();
    } else {
        write!(std::io::stderr(), "{}", refusal.text).ok();
    }
    ExitCode::from(refusal.code)
}
