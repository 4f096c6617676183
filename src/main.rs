//! Arguments to a runtime to an exit code.

mod commands;

use cli::{self, Command};
use std::{io::Write, process::ExitCode};

/// Bodies of 100 KB go through the ingress more than twice as fast with it than with the system's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The allocator's settings, which it looks up by this name. With its own choice of four arenas a
/// core, a row and those that follow it lie in as many half empty pages: 6.0 KiB a finished job
/// instead of 3.9. What is allocated often comes from each thread's own cache anyway.
#[expect(unsafe_code, reason = "the allocator reads this symbol")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8; 10] = b"narenas:2\0";

fn main() -> ExitCode {
    if commands::supervise::is_asked() {
        return commands::supervise::run();
    }
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refuse(&refusal),
    };
    // Everything that speaks TLS uses this provider; installing it twice is no error worth a word.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let done = match invocation.command {
        Command::Agent(arguments) => commands::agent::run(arguments),
        Command::Dev(arguments) => {
            commands::dev::run(arguments, invocation.program, invocation.global)
        }
        Command::Cluster(command) => commands::cluster::run(command, invocation.global),
        Command::Echo(arguments) => commands::echo::run(arguments),
        Command::ValidateServices(arguments) => commands::validate::run(&arguments),
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
