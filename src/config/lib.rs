//! The machine's configuration: files and flags become one resolved [`Config`].
//!
//! Three steps, each with its own type: a file becomes a tree with places (`file`), the tree
//! becomes what was written ([`Written`], everything optional), and what was written is merged and
//! resolved here. Every problem is reported, not just the first.

mod addresses;
mod autopilot;
mod bridge;
mod callers;
mod cni;
mod collection;
mod consul;
pub mod definitions;
mod discovery;
mod drain;
mod external;
mod fabio;
mod fetching;
mod file;
mod hcl1;
mod ignored;
mod ingress;
mod limits;
mod logs;
mod names;
mod networks;
mod options;
mod pairs;
mod plugins;
mod published;
mod reader;
mod reserved;
mod resilience;
mod resolve;
mod retention;
mod scheduling;
mod telemetry;
mod tls;
mod tree;
mod volumes;
mod written;

pub use autopilot::WrittenAutopilot;
pub use bridge::{Bridge, WrittenBridge};
pub use callers::{Callers, PerAddress, WrittenCallers};
pub use cni::{Cni, WrittenCni};
pub use collection::{Collection, WrittenCollection};
pub use consul::{help as consul_help, load as load_consul, validate as validate_consul};
pub use discovery::{Discovery, WrittenDiscovery};
pub use drain::{OwnDrain, WrittenDrain};
pub use external::{Consistency, External, ExternalTls, WrittenExternal};
pub use fabio::{
    Announcement, AskedSource, CatalogSource, MetricsForm, MetricsListener, MetricsReceiver,
    PageSource, PushedMetrics, RouteNames, RouteSource, RoutesLog, Standalone,
};
pub use fetching::{ArtifactLimits, TemplateRules, WrittenFiles};
pub use file::{Placed, Problem};
pub use ingress::{
    AuthScheme, Authority, CertificatePlace, CertificateSource, Ingress, IngressListener,
    IngressLog, ListenerTls, PagePlace, Shutdown, Strategy, Timeouts, WrittenIngress,
};
pub use limits::Connections;
pub use logs::{LogFile, Logs, SystemLog, WrittenLogs};
pub use names::{Dns, WrittenDns};
pub use networks::{Found, HostNetwork, Networks, WrittenHostNetwork, WrittenNetworks};
pub use options::{Listed, Options, Users, WrittenOptions};
pub use plugins::{Containers, Isolated, Plugins, WrittenPlugins};
pub use reserved::{Reserved, WrittenReserved};
pub use resilience::Resilience;
pub use retention::WrittenRetention;
pub use scheduling::{Scheduling, WrittenScheduling};
pub use telemetry::{Receiver, Telemetry, WrittenTelemetry};
pub use tls::{Https, Joining, RpcSecurity, WrittenTls};
pub use volumes::HostVolume;
pub use written::{Written, WrittenUi};

use jobs::{
    control::GcLimits,
    model::{AutopilotConfig, NodeId},
};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// What one agent runs, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What it is of the whole.
    pub part: Part,
    /// Dev mode: loopback only, data in a temporary directory, tasks end with the agent.
    pub dev: bool,
    /// Where durable data lives.
    pub data_dir: PathBuf,
    /// Name of the agent and of its node.
    pub name: String,
    /// Region.
    pub region: String,
    /// Datacenter.
    pub datacenter: String,
    /// A level, or directives of the log filter.
    pub log_level: String,
    /// In which form logs are written, and where besides standard error.
    pub logs: Logs,
    /// Address that others and tasks use to reach this machine.
    pub advertise: IpAddr,
    /// Port of the jobs API for others; none for the one that it listens on.
    pub http_port_advertised: Option<u16>,
    /// Where the jobs API listens; none when the agent is the catalog alone.
    pub http: Option<SocketAddr>,
    /// Where RPC listens, when this agent runs a server.
    pub rpc: SocketAddr,
    /// Where others reach that, unless it follows from where it listens.
    pub rpc_advertised: Option<SocketAddr>,
    /// What is to be said of it when the agent starts: a sentence each.
    pub notes: Vec<String>,
    /// How machines reach each other.
    pub rpc_security: RpcSecurity,
    /// Which signals let it leave the others, instead of only stopping.
    pub leaves: Leaves,
    /// Server; none when this agent goes to servers elsewhere.
    pub server: Option<Server>,
    /// Servers elsewhere, host and port each.
    pub servers: Vec<String>,
    /// Where the catalog API listens; none when it is switched off.
    pub catalog: Option<SocketAddr>,
    /// The catalog API over TLS; none unless it is asked for.
    pub https: Option<Https>,
    /// DNS; none when it is switched off.
    pub dns: Option<Dns>,
    /// A catalog elsewhere, in which what runs here is registered; none for the built-in one.
    pub external: Option<External>,
    /// How this agent and others find each other through that one; none for the built-in one.
    pub discovery: Option<Discovery>,
    /// Ingress; none when it is switched off.
    pub ingress: Option<Ingress>,
    /// Client; none when this agent runs no tasks.
    pub client: Option<Client>,
    /// Who may ask over HTTP.
    pub api: Api,
    /// What one address may hold at the listeners.
    pub callers: Callers,
    /// The web UI.
    pub ui: Ui,
    /// What is registered with this agent by files, and how it may be checked.
    pub registration: Registration,
    /// What of its figures is told, and to whom they are pushed.
    pub telemetry: Telemetry,
}

/// Which signals let an agent leave the others: its node is emptied first if that is asked for,
/// and its server leaves the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// An interrupt.
    pub on_interrupt: bool,
    /// A termination.
    pub on_terminate: bool,
}

/// What an agent is started as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    #[default]
    All,
    /// Jobs, without listeners for the catalog, names and traffic.
    Jobs,
    /// The catalog and names, without listeners for jobs and traffic, and without drivers.
    Catalog,
}

impl Part {
    /// The part that the program is when it is called by a name: by that of one of the programs
    /// that it stands in for, only what that one does.
    #[must_use]
    pub fn of_program(name: &str) -> Self {
        match name {
            "nomad" => Self::Jobs,
            "consul" => Self::Catalog,
            _ => Self::All,
        }
    }

    fn written(self) -> Written {
        let mut written = Written {
            part: self,
            ..Written::default()
        };
        if self == Self::Jobs {
            written.catalog_enabled = Some(false);
            written.dns.enabled = Some(false);
        }
        if self != Self::All {
            written.ingress.enabled = Some(false);
        }
        written
    }
}

/// The place of a server among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// With how many servers a new group begins; 0 to join one that there is.
    pub bootstrap_expect: u32,
    /// Servers to ask who is there, host and port each.
    pub join: Vec<String>,
    /// How long and how much of what is over is kept.
    pub gc: GcLimits,
    /// How the servers look after their group, where nobody said it to them yet.
    pub autopilot: AutopilotConfig,
    /// Who signs the tokens of tasks, for those who look up the keys there: a URL without a slash
    /// at its end.
    pub oidc_issuer: Option<String>,
    /// Where its files are; none for the data directory of the agent.
    pub data_dir: Option<PathBuf>,
    /// How long an agent may be silent before its node is down.
    pub lease: Duration,
    /// How it schedules and listens.
    pub scheduling: Scheduling,
    /// How it hears of servers in other regions; none when it does not.
    pub gossip: Option<Gossip>,
}

/// How servers hear of each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Gossip {
    /// Where it is heard, UDP.
    pub listen: SocketAddr,
    /// Where others reach it; none for the address of the agent.
    pub advertised: Option<SocketAddr>,
    /// The key that seals what is said, base64.
    pub key: Option<String>,
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gossip({})", self.listen)
    }
}

/// What is registered with an agent by files, and how it may be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// Files that define services and checks, and directories of such files.
    pub definitions: Vec<PathBuf>,
    /// What is defined in the configuration itself, each with the name of its file.
    pub defined: Vec<(String, serde_json::Value)>,
    /// Whether checks that are registered over the API may run programs.
    pub remote_scripts: bool,
    /// Whether checks of files may.
    pub local_scripts: bool,
}

/// The web UI of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ui {
    /// Whether there is one.
    pub is_enabled: bool,
    /// Whether its pages only show and change nothing. The API takes changes all the same.
    pub is_read_only: bool,
    /// Whether the command line names pages that show the same.
    pub has_hints: bool,
    /// What tells it from those of other clusters; empty for nothing.
    pub label: String,
}

/// Who may ask over HTTP, on every listener but the ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// Host names that connections to a loopback address may name, besides the loopback ones and
    /// the names of this machine and agent.
    pub allowed_hosts: Vec<String>,
    /// Origins (`scheme://host:port`) whose web pages may ask, besides that of the listener itself;
    /// `*` for all.
    pub allowed_origins: Vec<String>,
}

/// What this machine offers to jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Whether jobs run here; if not, there are no drivers.
    pub takes_jobs: bool,
    /// The id that the node gets when it is made; any if none.
    pub node_id: Option<NodeId>,
    /// That id is made of the machine's own, so that a node whose files are lost is the same again.
    pub has_host_id: bool,
    /// Where its state is; none for a place in the data directory.
    pub state_dir: Option<PathBuf>,
    /// Where allocations live; likewise.
    pub alloc_dir: Option<PathBuf>,
    /// The most that a task may take to end.
    pub kill_timeout_max: Duration,
    /// Whether users may run commands in tasks.
    pub takes_commands: bool,
    /// Rules about what it offers, and to whom.
    pub options: Options,
    /// Class of the node.
    pub node_class: String,
    /// Labels of the node.
    pub meta: BTreeMap<String, String>,
    /// MHz to offer instead of what was found.
    pub cpu_mhz: Option<i64>,
    /// MB to offer instead of what was found.
    pub memory_mib: Option<i64>,
    /// First and last port that jobs may be given.
    pub dynamic_ports: (u16, u16),
    /// Whether `raw_exec` may be used.
    pub raw_exec: bool,
    /// Absolute paths of directories below which local artifacts may lie.
    pub artifact_dirs: Vec<PathBuf>,
    /// Settings of drivers.
    pub plugins: Plugins,
    /// Directories of the host that jobs may mount, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// What of the host isolated tasks see: path on the host to path in the task; none for the
    /// usual.
    pub chroot_env: Option<BTreeMap<String, String>>,
    /// The addresses that ports of jobs get.
    pub networks: Networks,
    /// The bridge of networks that allocations have for themselves.
    pub bridge: Bridge,
    /// The plugins of networks that jobs ask for by name.
    pub cni: Cni,
    /// What is kept back from jobs: what is written, and those ports of the agent's own listeners
    /// that are among the dynamic ones.
    pub reserved: Reserved,
    /// What fetching a file may cost.
    pub artifact: ArtifactLimits,
    /// How templates of jobs are rendered.
    pub template: TemplateRules,
    /// When ended allocations give their directories back.
    pub collection: Collection,
    /// How its node is emptied when the agent leaves; none when it is not.
    pub drain: Option<OwnDrain>,
}

impl Client {
    /// Where allocations live, of an agent with this data directory.
    #[must_use]
    pub fn alloc_dir(&self, data_dir: &Path) -> PathBuf {
        let own = self.alloc_dir.clone();
        own.unwrap_or_else(|| data_dir.join("alloc"))
    }
}

impl Config {
    /// Reads the files and directories in `paths` in order, lets `flags` win over them, and
    /// resolves.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(paths: &[PathBuf], flags: Written) -> Result<Self, Vec<Problem>> {
        Self::load_as(Part::All, paths, flags)
    }

    /// As [`Config::load`]; what does not belong to `part` is off unless it is written.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load_as(part: Part, paths: &[PathBuf], flags: Written) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut merged = part.written();
        for path in paths {
            for file in file::expand(path, &mut problems) {
                merged = merged.merge(read(&file, &mut problems));
            }
        }
        if !problems.is_empty() {
            // What is missing may stand in the part that could not be read.
            return Err(problems);
        }
        let config = resolve::resolve(merged.merge(flags), &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> Written {
    let label = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => match file::parse(&label, &text) {
            Ok(tree) => Written::from_tree(&label, tree, problems),
            Err(problem) => {
                problems.push(problem);
                Written::default()
            }
        },
        Err(error) => {
            problems.push(Problem::new(
                &label,
                format!("cannot read the file: {error}"),
            ));
            Written::default()
        }
    }
}

#[cfg(test)]
mod tests;
