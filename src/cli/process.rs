//! Arguments of the commands that run until they are stopped. `main` starts them; only their
//! arguments are read here.

use crate::arguments::switches;
use jobs::model::Span;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `agent`. What is not given comes from the configuration files, then from the
/// defaults.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AgentArguments {
    /// Server and client in one process, on loopback, with a temporary data directory
    #[arg(long)]
    pub dev: bool,
    /// Configuration file or directory of such files; may be repeated, later ones win
    #[arg(long, value_name = "PATH")]
    pub config: Vec<PathBuf>,
    /// Be a server
    #[arg(long)]
    pub server: bool,
    /// Be a client
    #[arg(long)]
    pub client: bool,
    /// Servers to wait for before the first election
    #[arg(long, value_name = "N")]
    pub bootstrap_expect: Option<u32>,
    /// Server to ask who is there; may be repeated
    #[arg(long, alias = "join", value_name = "ADDR")]
    pub retry_join: Vec<String>,
    /// Server that a client goes to; may be repeated
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Directory of the agent's data
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address that every listener binds to unless it has its own
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,
    /// TRACE, DEBUG, INFO, WARN or ERROR
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Write logs as objects
    #[arg(long)]
    pub log_json: bool,
    /// Say in logs where in the program they come from
    #[arg(long, hide = true)]
    pub log_include_location: bool,
    /// Name of this machine
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Datacenter of this machine
    #[arg(long, value_name = "NAME")]
    pub dc: Option<String>,
    /// Class of this machine
    #[arg(long, value_name = "CLASS")]
    pub node_class: Option<String>,
    /// Label of this machine; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub meta: Vec<(String, String)>,
    /// MHz to offer instead of what was found
    #[arg(long, value_name = "MHZ")]
    pub cpu_total_compute: Option<u64>,
    /// Directory of allocations, instead of one in the data directory
    #[arg(long, value_name = "DIR", hide = true)]
    pub alloc_dir: Option<PathBuf>,
    /// Directory of the client's state, likewise
    #[arg(long, value_name = "DIR", hide = true)]
    pub state_dir: Option<PathBuf>,
    /// Interface whose address ports of jobs get
    #[arg(long, value_name = "NAME", hide = true)]
    pub network_interface: Option<String>,
    /// Which of several addresses ports of jobs get: ipv4 or ipv6
    #[arg(long, value_name = "FAMILY", hide = true)]
    pub preferred_address_family: Option<String>,
    /// Region, if the command line says it: the variable is for those who ask an agent.
    #[arg(skip)]
    pub region: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be help of a flag")]
    pub discovery: DiscoveryFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be help of a flag")]
    pub unheeded: UnheededFlags,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// How agents find each other through a catalog elsewhere, where a file names one.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(mut_args(switches(&[
    "consul_auto_advertise",
    "consul_checks_use_advertise",
    "consul_client_auto_join",
    "consul_server_auto_join",
])))]
pub struct DiscoveryFlags {
    /// Register this agent in the catalog elsewhere
    #[arg(long, hide = true)]
    pub consul_auto_advertise: Option<bool>,
    /// Let its checks go where others reach this agent
    #[arg(long, hide = true)]
    pub consul_checks_use_advertise: Option<bool>,
    /// Let a client ask it for servers
    #[arg(long, hide = true)]
    pub consul_client_auto_join: Option<bool>,
    /// Let a server ask it for others
    #[arg(long, hide = true)]
    pub consul_server_auto_join: Option<bool>,
    /// The service that clients are
    #[arg(long, hide = true)]
    pub consul_client_service_name: Option<String>,
    /// The service that servers are
    #[arg(long, hide = true)]
    pub consul_server_service_name: Option<String>,
}

/// Flags of the published agent that are known and not acted on, as their blocks in files are not
/// either. What protects something is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnheededFlags {
    /// Those that were given, with the dash.
    pub given: Vec<String>,
}

impl UnheededFlags {
    const SWITCHES: [&str; 3] = ["dev-connect", "rejoin", "vault-enabled"];
    const WITH_VALUES: [&str; 11] = [
        "alloc-mounts-dir",
        "host-volume-plugin-dir",
        "host-volumes-dir",
        "network-speed",
        "plugin-dir",
        "raft-protocol",
        "retry-interval",
        "retry-max",
        "vault-address",
        "vault-create-from-role",
        "vault-namespace",
    ];
}

impl clap::Args for UnheededFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let named = |name: &'static str| clap::Arg::new(name).long(name).hide(true);
        let switches = Self::SWITCHES.map(|name| named(name).action(clap::ArgAction::SetTrue));
        let others = Self::WITH_VALUES.map(|name| named(name).action(clap::ArgAction::Append));
        command.args(switches).args(others)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for UnheededFlags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let names = Self::SWITCHES.into_iter().chain(Self::WITH_VALUES);
        let is_given = |name: &&str| {
            matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
        };
        Ok(Self {
            given: names
                .filter(is_given)
                .map(|name| format!("-{name}"))
                .collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Make a cluster, or let this machine join one.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// Make the authority, the tokens and the files of the first machine
    Init(ClusterInit),
    /// Get a certificate and make the files of this machine
    Join(ClusterJoin),
}

/// Arguments of `cluster init`.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterInit {
    /// Where the files are put
    #[arg(long, value_name = "DIR", default_value = "trivet")]
    pub dir: PathBuf,
    /// Address of this machine for others
    #[arg(long, value_name = "ADDR")]
    pub bind: IpAddr,
}

/// Arguments of `cluster join`.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterJoin {
    /// What `cluster init` printed
    #[arg(value_name = "TOKEN@ADDRESS")]
    pub invitation: String,
    /// Where the files are put
    #[arg(long, value_name = "DIR", default_value = "trivet")]
    pub dir: PathBuf,
    /// Address of this machine for others
    #[arg(long, value_name = "ADDR")]
    pub bind: IpAddr,
}

/// Arguments of `dev`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DevArguments {
    /// Job files to run
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Value of an input variable of the job files
    #[arg(long, value_name = "NAME=VALUE")]
    pub var: Vec<String>,
    /// File with values of input variables
    #[arg(long, value_name = "FILE")]
    pub var_file: Vec<PathBuf>,
    /// Configuration file or directory of such files for the agent; may be repeated, later ones win
    #[arg(long, value_name = "PATH")]
    pub config: Vec<PathBuf>,
    /// TRACE, DEBUG, INFO, WARN or ERROR
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// Arguments of `echo`.
#[derive(Clone, Debug, clap::Args)]
pub struct EchoArguments {
    /// Address to listen on; a port alone listens everywhere
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5678")]
    pub listen: String,
    /// Body of every answer
    #[arg(long, default_value = "hello")]
    pub text: String,
    /// Status of every ordinary answer
    #[arg(long, value_name = "CODE", default_value = "200")]
    pub status: http::StatusCode,
    /// Header of every answer; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub header: Vec<(String, String)>,
    /// Pause before every answer, such as 50ms
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub delay: Duration,
    /// Share of requests answered with 500, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub error_rate: f64,
    /// Share of connections that are reset instead of answered, from 0 to 1; health is not
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub reset_rate: f64,
    /// Status, pause and errors are only for paths that begin so; others are answered 200 at once
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/",
        hide_default_value = true
    )]
    pub only: String,
    /// Status, pause and errors are only there while this file is
    #[arg(long = "while", value_name = "FILE")]
    pub while_there: Option<PathBuf>,
    /// How long requests in flight may finish after the stop signal; 0s ends at once
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub drain: Duration,
}

/// Arguments of `validate-services`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ValidateArguments {
    /// Print nothing when nothing is wrong
    #[arg(long)]
    pub quiet: bool,
    /// Files that define services and checks, and directories of such files
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Arguments of `supervise`, passed on as they are.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(disable_help_flag = true)]
pub struct SuperviseArguments {
    /// What the agent says
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "must be NAME=VALUE".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// A duration that is not negative, in Go's form.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    if span < Span::ZERO {
        return Err("must not be negative".to_owned());
    }
    Ok(span.to_std())
}

/// Arguments of a program that this one stands in for, as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramArguments {
    /// What follows the program, or its command.
    pub given: Vec<String>,
    /// Whether they only ask for help.
    pub is_help: bool,
}
