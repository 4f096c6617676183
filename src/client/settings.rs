use config::{
    ArtifactLimits, Bridge, Cni, Collection, HostVolume, Networks, Options, Plugins, TemplateRules,
};
use jobs::model::NodeId;
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

/// The settings of the client part, resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the client keeps its state, an absolute path; `<data_dir>/client` unless chosen.
    pub data_dir: PathBuf,
    /// Where allocations live; `<data_dir>/alloc` unless chosen.
    pub alloc_dir: PathBuf,
    /// Name of the node.
    pub name: String,
    /// Region.
    pub region: String,
    /// Datacenter.
    pub datacenter: String,
    /// Class, may be empty.
    pub node_class: String,
    /// Pool, usually `default`.
    pub node_pool: String,
    /// Operator's labels.
    pub meta: BTreeMap<String, String>,
    /// Address that services of this node are reached at: `NOMAD_IP_…`, and the node's address.
    pub address: IpAddr,
    /// Networks that ports may ask for by name, and the interface of that address if one is named.
    pub networks: Networks,
    /// The agent's own HTTP API as others reach it, host:port.
    pub http_addr: String,
    /// Version of this program, `x.y.z`.
    pub version: String,
    /// Whether jobs run here; if not, there are no drivers.
    pub takes_jobs: bool,
    /// The id that the node gets when it is made; any if none.
    pub node_id: Option<NodeId>,
    /// That id is made of the machine's own, where no other is wanted.
    pub has_host_id: bool,
    /// Run programs without isolation: the `raw_exec` driver.
    pub raw_exec: bool,
    /// The program whose hidden subcommand supervises tasks: usually this very executable.
    pub executable: PathBuf,
    /// First and last dynamic port.
    pub dynamic_ports: (u16, u16),
    /// What is kept back from jobs.
    pub reserved: config::Reserved,
    /// MHz to offer instead of what is found.
    pub cpu_mhz: Option<i64>,
    /// MB to offer instead of what is found.
    pub memory_mib: Option<i64>,
    /// Directories below which artifacts may be read from this machine; none for no local
    /// artifacts.
    pub artifact_dirs: Vec<PathBuf>,
    /// Settings of drivers.
    pub plugins: Plugins,
    /// Directories of the host that jobs may mount, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// The bridge of networks apart from the host's.
    pub bridge: Bridge,
    /// The plugins of networks that jobs ask for by name.
    pub cni: Cni,
    /// What of the host isolated tasks see: path on the host to path in the task; none for the
    /// usual.
    pub chroot_env: Option<BTreeMap<String, String>>,
    /// The most that a task may take to end.
    pub kill_timeout_max: Duration,
    /// Whether users may run commands in tasks.
    pub takes_commands: bool,
    /// Rules about what this machine offers, and to whom.
    pub options: Options,
    /// What fetching a file may cost.
    pub artifact: ArtifactLimits,
    /// How templates of jobs are rendered.
    pub template: TemplateRules,
    /// When ended allocations give their directories back.
    pub collection: Collection,
    /// Stop every task and remove every directory when the client stops.
    pub dev: bool,
}
