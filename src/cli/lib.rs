//! The command line: reads arguments, asks the HTTP API, prints what comes back.
//!
//! It speaks only HTTP to an agent and knows no other part of the program, so it also tests the
//! API. [`parse`] turns arguments into an [`Invocation`]; [`run`] carries out those that are
//! requests to an agent. The long-running commands ([`Command::Agent`] and its neighbors) only have
//! their arguments read here; `main` starts them.
//!
//! Each command is fetching plus a pure rendering function; the renderings are what the tests look
//! at.

mod agent_control;
mod agent_info;
mod alloc;
mod arguments;
mod browser;
mod catalog;
mod catalog_options;
mod child;
mod config;
mod connect;
mod context;
mod debug;
mod definition_file;
mod deployment;
mod eval;
mod event;
mod fmt;
mod hints;
mod http;
mod info;
mod intention;
mod job;
mod keygen;
mod kv;
mod lock;
mod lookup;
mod maint;
mod members;
mod node;
mod operator;
mod process;
mod reach;
mod render;
mod rollout;
mod route;
mod rtt;
mod scaling;
mod server;
mod service;
mod services;
mod snapshot;
mod status;
mod structured;
mod template;
mod terminal;
#[cfg(test)]
mod tests;
mod top;
mod ui;
mod var;
mod version;
mod view;
mod watch;

pub use context::Output;
pub use process::{
    AgentArguments, ClusterCommand, ClusterInit, ClusterJoin, DevArguments, DiscoveryFlags,
    EchoArguments, ProgramArguments, SuperviseArguments, UnheededFlags, ValidateArguments,
};
pub use reach::{Places, reach};

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use context::Context;
use std::ffi::OsString;

/// Where an agent listens unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:4646";
/// Name of the program by which users of the scheduler's command line call it.
const JOBS_PROGRAM: &str = "nomad";
/// Name of the program by which users of the catalog's command line call it.
const CATALOG_PROGRAM: &str = "consul";
/// Name of the program by which users of the ingress alone call it.
const INGRESS_PROGRAM: &str = "fabio";
/// Exit code of a plan that could not be made.
const PLAN_FAILED: u8 = 255;

/// The name of a program, the last word of what it is called by: `consul` of `trivet consul`.
#[must_use]
pub fn called(program: &str) -> &str {
    program.rsplit(' ').next().unwrap_or(program)
}

/// A command line, read and checked.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The name the program was called by, for texts that repeat it; two words where it was told
    /// which of its names is meant.
    pub program: String,
    /// Options that every command has.
    pub global: Global,
    /// What to do.
    pub command: Command,
}

/// Why there is nothing to do: a mistake in the arguments, or a question for help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to print.
    pub text: String,
    /// True for help, which belongs on standard output.
    pub is_help: bool,
    /// Exit code.
    pub code: u8,
}

/// Schedules jobs, keeps the service catalog and carries the traffic.
#[derive(Debug, Parser)]
#[command(
    name = "trivet",
    disable_version_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

impl Line {
    fn of(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let mut line = Self::from_arg_matches(matches)?;
        if let Command::Agent(arguments) = &mut line.command {
            let own = matches.subcommand_matches("agent");
            let source = own.and_then(|own| own.value_source("region"));
            let is_written = source == Some(clap::parser::ValueSource::CommandLine);
            arguments.region = line.global.region.clone().filter(|_| is_written);
        }
        Ok(line)
    }
}

/// Options that every command has.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "General options")]
pub struct Global {
    /// Address of the agent's HTTP API
    #[arg(
        long,
        global = true,
        env = "NOMAD_ADDR",
        value_name = "ADDR",
        hide_env_values = true
    )]
    pub address: Option<String>,
    /// Region of the servers
    #[arg(long, global = true, env = "NOMAD_REGION", hide_env_values = true)]
    pub region: Option<String>,
    /// Namespace of jobs; `*` for all where a command lists
    #[arg(long, global = true, env = "NOMAD_NAMESPACE", hide_env_values = true)]
    pub namespace: Option<String>,
    /// Secret id of an ACL token
    #[arg(long, global = true, env = "NOMAD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print without colors
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Print with colors even when the output is no terminal
    #[arg(long, global = true)]
    pub force_color: bool,
}

/// Arguments of `exec`, which is refused.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Exec {
    /// What would be run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Exec {
    fn refusal(&self) -> String {
        let command: Vec<_> = self
            .command
            .iter()
            .map(|part| part.to_string_lossy())
            .collect();
        format!(
            "`{}` is not run: trivet runs no command on other machines on request; a job of type `sysbatch` with the \
             driver `raw_exec` does",
            command.join(" ")
        )
    }
}

/// What to do.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Run an agent
    Agent(AgentArguments),
    /// Make a cluster, or let this machine join one
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Run a development agent with some jobs until interrupted
    Dev(DevArguments),
    /// Run a small HTTP server to try things with
    Echo(EchoArguments),
    /// Check files that define services and checks
    #[command(name = "validate-services")]
    ValidateServices(ValidateArguments),
    /// Be an ingress and nothing else, told so by the name of the program.
    #[command(skip)]
    Ingress(ProgramArguments),
    /// Be the catalog and nothing else, told so by the name of the program.
    #[command(skip)]
    CatalogAgent(ProgramArguments),
    /// Watch over one task's process (started by the agent itself)
    #[command(hide = true)]
    Supervise(SuperviseArguments),
    /// Ask an agent, or do something small here.
    #[command(flatten)]
    Request(Request),
}

/// A command that asks an agent, or does something small on this machine.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Request {
    /// Show the state of an agent
    #[command(name = "agent-info")]
    AgentInfo(agent_info::Arguments),
    /// Look at and act on allocations
    #[command(subcommand)]
    Alloc(alloc::Command),
    /// Look at nodes and services of the catalog
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Read and write configuration entries
    #[command(subcommand)]
    Config(config::Command),
    /// Look after the mesh
    #[command(subcommand)]
    Connect(connect::Command),
    /// Capture what is known of an agent
    Debug(debug::Arguments),
    /// Look at and act on deployments
    #[command(subcommand)]
    Deployment(deployment::Command),
    /// Look at evaluations
    #[command(subcommand)]
    Eval(eval::Command),
    /// Fire an event
    Event(event::Arguments),
    /// Run a command on other machines
    Exec(Exec),
    /// Take a member that failed out of the catalog
    #[command(name = "force-leave")]
    ForceLeave(members::ForceLeave),
    /// Show figures of the agent
    Info(info::Arguments),
    /// Say which services may talk to which
    #[command(subcommand)]
    Intention(intention::Command),
    /// Bring job files and configuration into their canonical layout
    Fmt(fmt::Arguments),
    /// Let an agent meet others
    Join(agent_control::Join),
    /// Run, plan, look at and stop jobs
    #[command(subcommand)]
    Job(job::Command),
    /// Make a key for gossip
    Keygen(keygen::Arguments),
    /// Read and write keys
    #[command(subcommand)]
    Kv(kv::Command),
    /// Let an agent leave for good
    Leave(agent_control::Leave),
    /// Run a program while a lock is held
    Lock(lock::Arguments),
    /// Put the node or a service into maintenance
    Maint(maint::Arguments),
    /// List the members of the cluster
    Members(members::Arguments),
    /// Follow the log of an agent
    Monitor(agent_control::Monitor),
    /// Look at and act on nodes
    #[command(subcommand)]
    Node(node::Command),
    /// Look after the servers
    #[command(subcommand)]
    Operator(operator::Command),
    /// Let an agent read its configuration again
    Reload(agent_control::Reload),
    /// Look at and move the share of requests that canaries get
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// Look at routes and set their shares
    #[command(subcommand)]
    Route(route::Command),
    /// Show how far two machines are apart
    Rtt(rtt::Arguments),
    /// Look at how far counts may be changed
    #[command(subcommand)]
    Scaling(scaling::Command),
    /// Look at servers
    #[command(subcommand)]
    Server(server::Command),
    /// Look at services that jobs keep to themselves
    #[command(subcommand)]
    Service(service::Command),
    /// Register services with the agent
    #[command(subcommand)]
    Services(services::Command),
    /// Save, look into and bring back snapshots of the catalog
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Show the state of whatever has this id
    Status(status::Arguments),
    /// Show live rates of the ingress
    Top(top::Arguments),
    /// Print or open the address of a page of the web UI
    Ui(ui::Arguments),
    /// Read and write variables
    #[command(subcommand)]
    Var(var::Command),
    /// Look at something until it changes
    Watch(watch::Arguments),
    /// Print the version
    Version(version::Arguments),
    /// As `job run`
    #[command(hide = true)]
    Run(job::run::Arguments),
    /// As `job plan`
    #[command(hide = true)]
    Plan(job::plan::Arguments),
    /// As `job start`
    #[command(hide = true)]
    Start(job::start::Arguments),
    /// As `job stop`
    #[command(hide = true)]
    Stop(job::stop::Arguments),
    /// As `job validate`
    #[command(hide = true)]
    Validate(job::validate::Arguments),
    /// As `job init`
    #[command(hide = true)]
    Init(job::init::Arguments),
    /// As `job inspect`
    #[command(hide = true)]
    Inspect(job::inspect::Arguments),
    /// As `alloc logs`
    #[command(hide = true)]
    Logs(alloc::logs::Arguments),
    /// As `alloc fs`
    #[command(hide = true)]
    Fs(alloc::fs::Arguments),
}

/// Reads a command line; the first argument is the name the program was called by.
///
/// # Errors
/// When help was asked for, or the arguments are wrong.
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Invocation, Refusal> {
    let mut argv = argv.into_iter();
    let called = argv.next().unwrap_or_default();
    let program = std::path::Path::new(&called)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("trivet")
        .to_owned();
    let mut args: Vec<OsString> = argv.collect();
    // `trivet consul …` is `consul …`.
    let chosen = args.first().and_then(|arg| arg.to_str());
    let chosen =
        chosen.filter(|name| [JOBS_PROGRAM, CATALOG_PROGRAM, INGRESS_PROGRAM].contains(name));
    let (called, program) = match chosen.map(str::to_owned) {
        Some(chosen) => {
            args.remove(0);
            let program = format!("{program} {chosen}");
            (chosen, program)
        }
        None => (program.clone(), program),
    };
    if args
        .first()
        .is_some_and(|arg| arg == "-v" || arg == "-version" || arg == "--version")
    {
        args = vec!["version".into()];
    } else if called == INGRESS_PROGRAM {
        let command = Command::Ingress(given(&args));
        return Ok(standing_in(program, command));
    } else if called == CATALOG_PROGRAM && args.first().is_some_and(|arg| arg == "agent") {
        let command = Command::CatalogAgent(given(&args[1..]));
        return Ok(standing_in(program, command));
    }
    // Users of the catalog's command line know it by that name.
    if called == CATALOG_PROGRAM && args.first().is_some_and(|arg| arg == "validate") {
        args[0] = "validate-services".into();
    }
    let command = Line::command().bin_name(program.clone());
    let names = arguments::subcommands(&command, &args);
    let rewritten = arguments::rewrite(&command, args);
    let whole = std::iter::once(OsString::from(&program)).chain(rewritten);
    let line = command
        .try_get_matches_from(whole)
        .and_then(|matches| Line::of(&matches));
    match line {
        Ok(line) => Ok(Invocation {
            program,
            global: line.global,
            command: line.command,
        }),
        Err(error) => Err(refusal(&error, &names)),
    }
}

/// Arguments as they are: the flags are those of the program that is stood in for.
fn given(args: &[OsString]) -> ProgramArguments {
    let given = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    let given: Vec<String> = given.collect();
    let asks = |arg: &String| matches!(arg.as_str(), "-h" | "-help" | "--help");
    let is_help = given.first().is_some_and(asks);
    ProgramArguments { given, is_help }
}

fn standing_in(program: String, command: Command) -> Invocation {
    Invocation {
        program,
        global: Global::default(),
        command,
    }
}

fn refusal(error: &clap::Error, names: &[String]) -> Refusal {
    let is_help = !error.use_stderr();
    let is_plan = names.last().is_some_and(|name| name == "plan");
    let code = match (is_help, is_plan) {
        (true, _) => 0,
        (false, true) => PLAN_FAILED,
        (false, false) => 1,
    };
    Refusal {
        text: error.render().to_string(),
        is_help,
        code,
    }
}

/// Carries out a request and returns the exit code. What is printed goes to the process's output.
pub async fn run(program: String, global: Global, request: Request) -> u8 {
    run_to(program, global, request, Output::process()).await
}

/// As [`run`], printing elsewhere.
pub async fn run_to(program: String, global: Global, request: Request, output: Output) -> u8 {
    let is_plan = matches!(
        request,
        Request::Plan(_) | Request::Job(job::Command::Plan(_))
    );
    let mut output = output;
    let failed = if is_plan { PLAN_FAILED } else { 1 };
    let mut cx = match Context::new(program, &global, output.share()) {
        Ok(cx) => cx,
        Err(error) => {
            output.complain(&format!("{error:#}"));
            return failed;
        }
    };
    match carry_out(&mut cx, request).await {
        Ok(code) => code,
        Err(error) => {
            if !context::is_broken_pipe(&error) {
                cx.complain(&format!("{error:#}"));
            }
            failed
        }
    }
}

async fn carry_out(cx: &mut Context, request: Request) -> anyhow::Result<u8> {
    match request {
        Request::AgentInfo(arguments) => agent_info::run(cx, &arguments).await,
        Request::Alloc(command) => alloc::run(cx, command).await,
        Request::Catalog(command) => catalog::run(cx, command).await,
        Request::Config(command) => config::run(cx, command).await,
        Request::Connect(command) => connect::run(cx, command).await,
        Request::Event(arguments) => event::run(cx, &arguments).await,
        Request::Exec(exec) => {
            cx.complain(&exec.refusal());
            Ok(1)
        }
        Request::ForceLeave(arguments) => members::force_leave(cx, &arguments).await,
        Request::Info(arguments) => info::run(cx, &arguments).await,
        Request::Intention(command) => intention::run(cx, command).await,
        Request::Join(arguments) => agent_control::join(cx, &arguments).await,
        Request::Keygen(_) => keygen::run(cx),
        Request::Leave(arguments) => agent_control::leave(cx, &arguments).await,
        Request::Monitor(arguments) => agent_control::monitor(cx, &arguments).await,
        Request::Reload(arguments) => agent_control::reload(cx, &arguments).await,
        Request::Snapshot(command) => snapshot::run(cx, command).await,
        Request::Maint(arguments) => maint::run(cx, &arguments).await,
        Request::Members(arguments) => members::run(cx, &arguments).await,
        Request::Rtt(arguments) => rtt::run(cx, &arguments).await,
        Request::Services(command) => services::run(cx, command).await,
        Request::Debug(arguments) => Box::pin(debug::run(cx, &arguments)).await,
        Request::Lock(arguments) => Box::pin(lock::run(cx, &arguments)).await,
        Request::Watch(arguments) => Box::pin(watch::run(cx, &arguments)).await,
        Request::Deployment(command) => deployment::run(cx, command).await,
        Request::Eval(command) => eval::run(cx, command).await,
        Request::Fmt(arguments) => fmt::run(cx, &arguments),
        Request::Job(command) => Box::pin(job::run(cx, command)).await,
        Request::Kv(command) => kv::run(cx, command).await,
        Request::Node(command) => node::run(cx, command).await,
        Request::Operator(command) => operator::run(cx, command).await,
        Request::Top(arguments) => top::run(cx, &arguments).await,
        Request::Rollout(command) => rollout::run(cx, command).await,
        Request::Route(command) => route::run(cx, command).await,
        Request::Scaling(command) => Box::pin(scaling::run(cx, command)).await,
        Request::Server(command) => server::run(cx, command).await,
        Request::Service(command) => service::run(cx, command).await,
        Request::Status(arguments) => Box::pin(status::run(cx, &arguments)).await,
        Request::Ui(arguments) => Box::pin(ui::run(cx, &arguments)).await,
        Request::Var(command) => var::run(cx, command).await,
        Request::Version(arguments) => version::run(cx, &arguments),
        Request::Run(arguments) => Box::pin(job::run::run(cx, &arguments)).await,
        Request::Plan(arguments) => Box::pin(job::plan::run(cx, &arguments)).await,
        Request::Start(arguments) => Box::pin(job::start::run(cx, &arguments)).await,
        Request::Stop(arguments) => Box::pin(job::stop::run(cx, &arguments)).await,
        Request::Validate(arguments) => Box::pin(job::validate::run(cx, &arguments)).await,
        Request::Init(arguments) => job::init::run(cx, &arguments).await,
        Request::Inspect(arguments) => job::inspect::run(cx, &arguments).await,
        Request::Logs(arguments) => Box::pin(alloc::logs::run(cx, &arguments)).await,
        Request::Fs(arguments) => Box::pin(alloc::fs::run(cx, &arguments)).await,
    }
}
