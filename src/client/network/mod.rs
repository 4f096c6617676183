//! Networks of allocations apart from the host's: a namespace for each, and for `bridge` a link to
//! one bridge of this agent, addresses, and ports of the host that lead inside. With `cni/NAME`
//! plugins of the operator do what they like to the namespace.
//!
//! What it needs from the machine: root, and the programs `ip` and `nft`. What it leaves behind:
//! nothing; the bridge and the table of rules go with the last allocation. What was made is written
//! down before it is made, so that the next agent finds it: one directory for each allocation, with
//! the files that its tasks see in the place of the host's. The table is always replaced as a
//! whole, from what is written down.
//!
//! Source: `network` block, mode `bridge`. Differs: no plugins take part in that; ports lead inside
//! from the address of the node alone, from the host itself as well; nothing is done for IPv6.

mod addresses;
mod cni;
mod files;
mod programs;
mod rules;

use super::{
    Config,
    drivers::{Holder, OwnNetwork},
};
use addresses::Subnet;
use cni::{Asked, Attachment, Plugins, PortMapping};
use futures_util::{StreamExt as _, stream};
use jobs::{
    environment::TaskEnvironment,
    model::{AllocId, AllocatedPort, Allocation, Dns, NetworkResource, NetworkStatus, Node},
};
use programs::Programs;
use rules::Forward;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};
use sys::{
    faults,
    files::{Durability, create_dir, write_atomic},
    network,
};
use tokio::sync::Mutex;

/// Where the program `ip` keeps the files that stand for namespaces.
const NAMESPACES: &str = "/run/netns";
/// Name of the interface inside.
const INSIDE: &str = "eth0";
/// What is written down of an allocation's network.
const STATE: &str = "state";
/// Says that the bridge was made here.
const BRIDGE: &str = "bridge";
/// The parts of a network for which published jobs ask by the version of a plugin, and the version
/// of the plugins that do the same.
const PARTS: [&str; 5] = ["bridge", "firewall", "host-local", "loopback", "portmap"];
const PARTS_VERSION: &str = "1.0.0";

/// Networks of plugins that are left at a time by an agent that starts.
const LEFT_AT_A_TIME: usize = 8;

/// Why an allocation has no network of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// The machine lacks something.
    #[error("this node has no networks apart from the host's: {0}")]
    Lack(String),
    /// A program did not do what it was asked for.
    #[error("`{command}` failed: {reason}")]
    Program {
        /// What was run.
        command: String,
        /// What it said.
        reason: String,
    },
    /// Every address is taken.
    #[error("no address is left in {subnet}: make `client.bridge_network_subnet` larger")]
    Full {
        /// The range.
        subnet: String,
    },
    /// A port of an address that no IPv4 packet is sent to.
    #[error("port `{label}` is on {address}, and ports of IPv4 addresses alone lead into a bridge")]
    Address {
        /// The port's name.
        label: String,
        /// The host's address.
        address: String,
    },
    /// There is no network of that name.
    #[error("{0}")]
    Unknown(String),
    /// A plugin did not do what it was asked for.
    #[error("network `{name}`: {reason}")]
    Plugin {
        /// Name of the network.
        name: String,
        /// What it said.
        reason: String,
    },
    /// A file could not be written.
    #[error("`{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What leads out of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nothing.
    #[default]
    None,
    /// A link to the bridge.
    Bridge,
    /// What plugins make.
    Plugins {
        /// Name of their network.
        name: String,
        /// What they are told beside their configuration.
        args: BTreeMap<String, String>,
    },
}

/// What a group wants of its network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// What there is beside loopback.
    pub(crate) link: Link,
    /// Name of the machine inside; empty for that of the host.
    pub(crate) hostname: String,
    /// How names are resolved; none for as on the host.
    pub(crate) dns: Option<Dns>,
    /// Ports of the host that lead inside.
    pub(crate) ports: Vec<AllocatedPort>,
    /// A container whose namespace it is, because other containers can join that one alone.
    pub(crate) holder: Option<Holder>,
}

impl Wanted {
    /// What the group of an allocation asks for; none for the network of the host.
    pub(crate) fn of(alloc: &Allocation, node: &Node) -> Option<Self> {
        let network = alloc.group()?.networks.first()?;
        let mode = network.mode.as_str();
        let plugins = mode.strip_prefix("cni/");
        if plugins.is_none() && !matches!(mode, "bridge" | "none") {
            return None;
        }
        let environment = TaskEnvironment::of_group(alloc, node);
        let link = match plugins {
            Some(name) => Link::Plugins {
                name: name.to_owned(),
                args: plugin_args(alloc, network, &environment),
            },
            None if mode == "bridge" => Link::Bridge,
            None => Link::None,
        };
        let texts = |list: &Option<Vec<String>>| {
            let list = list.as_ref()?.iter();
            Some(list.map(|text| environment.interpolate(text)).collect())
        };
        let dns = network.dns.as_ref().map(|dns| Dns {
            servers: texts(&dns.servers),
            searches: texts(&dns.searches),
            options: texts(&dns.options),
        });
        Some(Self {
            link,
            hostname: host_name(&environment.interpolate(&network.hostname)),
            dns,
            ports: alloc.allocated_resources.shared.ports.to_vec(),
            holder: None,
        })
    }
}

/// The network of an allocation.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// For the drivers of its tasks.
    pub(crate) own: OwnNetwork,
    /// For the servers; none without a bridge.
    pub(crate) status: Option<NetworkStatus>,
}

/// What is written down of an allocation's network.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    address: Option<Ipv4Addr>,
    forwards: Vec<Forward>,
    hostname: String,
    holder: Option<Holder>,
    /// Of a network of plugins.
    plugins: Option<(String, Attachment)>,
    /// It was about to be made: a part of it may be there.
    is_begun: bool,
    /// This agent has made it, or has asked whether it is there.
    #[serde(skip)]
    is_seen: bool,
}

impl Kept {
    /// What the servers are told.
    fn status(&self) -> Option<NetworkStatus> {
        let of_bridge = self.address.map(|address| NetworkStatus {
            interface_name: INSIDE.into(),
            address: address.to_string(),
            ..NetworkStatus::default()
        });
        let made = self
            .plugins
            .as_ref()
            .and_then(|(_, plugins)| plugins.result.as_ref());
        of_bridge.or_else(|| cni::status(made?))
    }

    /// False of what an agent that was killed has begun, and while plugins have not said that they
    /// have made theirs.
    fn is_whole(&self) -> bool {
        let plugins = self.plugins.as_ref();
        !self.is_begun && plugins.is_none_or(|(_, plugins)| plugins.result.is_some())
    }
}

/// The networks of all allocations of this machine.
#[derive(Debug)]
pub(crate) struct Networks {
    dir: PathBuf,
    bridge: String,
    subnet: Subnet,
    hairpin: bool,
    programs: Result<Programs, String>,
    plugins: Plugins,
    made: Mutex<Made>,
    /// Who changes the network of one allocation, whose plugins take their time.
    busy: parking_lot::Mutex<BTreeMap<AllocId, Weak<Mutex<()>>>>,
}

/// What there is. Whoever changes the machine's network holds the lock.
#[derive(Debug, Default)]
struct Made {
    kept: BTreeMap<AllocId, Kept>,
    last: Option<Ipv4Addr>,
}

impl Networks {
    /// Reads what an earlier agent wrote down. Changes nothing.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub(crate) fn open(config: &Config) -> io::Result<Self> {
        let dir = config.data_dir.join("networks");
        create_dir(&dir, 0o711)?;
        let mut kept = BTreeMap::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(id) = name.and_then(AllocId::parse) else {
                continue;
            };
            // One that was not written to its end stands for nothing that was made.
            let state = fs::read(path.join(STATE)).unwrap_or_default();
            let state: Kept = serde_json::from_slice(&state).unwrap_or_default();
            kept.insert(id, state);
        }
        let (address, bits) = config.bridge.subnet;
        let last = kept.values().filter_map(|kept| kept.address).max();
        Ok(Self {
            dir,
            bridge: config.bridge.name.clone(),
            subnet: Subnet::new(address, bits),
            hairpin: config.bridge.hairpin,
            programs: match network::may_change() {
                true => Programs::find(),
                false => Err("the agent must run as root".into()),
            },
            plugins: Plugins::new(config.cni.path.clone(), config.cni.config_dir.clone()),
            made: Mutex::new(Made { kept, last }),
            busy: parking_lot::Mutex::default(),
        })
    }

    /// Says what this machine can do, in the words of those who ask for the plugins that do it
    /// elsewhere. Where something is missing it says nothing, and placement tells what was asked
    /// for.
    pub(crate) fn fingerprint(&self, config: &Config, node: &mut Node) {
        if self.programs.is_err() {
            return;
        }
        if config.address.is_ipv4() {
            for part in PARTS {
                let key = format!("plugins.cni.version.{part}");
                node.attributes.insert(key, PARTS_VERSION.into());
            }
            let hairpin = self.hairpin.to_string();
            node.attributes
                .insert("nomad.bridge.hairpin_mode".into(), hairpin);
        }
        let networks = self.plugins.networks().into_iter();
        let networks = networks.map(|name| NetworkResource {
            mode: format!("cni/{name}"),
            ..NetworkResource::default()
        });
        node.node_resources.networks.extend(networks);
        node.classify();
    }

    /// The versions of the plugins, as attributes of a node. Those whose work is done here are not
    /// among them: jobs ask for them because of the bridge.
    pub(crate) async fn plugin_versions(&self) -> BTreeMap<String, String> {
        if self.programs.is_err() {
            return BTreeMap::new();
        }
        let versions = self.plugins.versions().await.into_iter();
        let others = versions.filter(|(name, _)| !PARTS.contains(&name.as_str()));
        let key = |name: &str| format!("plugins.cni.version.{name}");
        others
            .map(|(name, version)| (key(&name), version))
            .collect()
    }

    /// Removes what belongs to none of `known`, and brings the rules into agreement with the rest.
    pub(crate) async fn retain(&self, known: &BTreeSet<AllocId>) {
        let mut made = self.made.lock().await;
        let unknown: Vec<(AllocId, Kept)> = made
            .kept
            .iter()
            .filter(|(id, _)| !known.contains(id))
            .map(|(id, kept)| (*id, kept.clone()))
            .collect();
        let leaving = unknown.iter().map(|(id, kept)| self.leave(*id, kept));
        let leaving: Vec<_> = leaving.collect();
        let mut leaving = stream::iter(leaving).buffer_unordered(LEFT_AT_A_TIME);
        while leaving.next().await.is_some() {}
        drop(leaving);
        for (id, _) in unknown {
            self.clear(&mut made, id).await;
        }
        if made.kept.values().any(|kept| kept.address.is_some()) {
            self.tell(self.set_rules(&made).await, "rules of ports");
        }
    }

    /// The network of an allocation, made unless it is there.
    ///
    /// # Errors
    /// Why it cannot be made; then nothing of it is left.
    pub(crate) async fn ensure(
        &self,
        id: AllocId,
        wanted: &Wanted,
    ) -> Result<Joined, NetworkError> {
        let busy = self.busy(id);
        let _turn = busy.lock().await;
        let mut made = self.made.lock().await;
        if let Some(kept) = made.kept.get(&id)
            && network::is_namespace(&namespace(id))
            && kept.holder == wanted.holder
            && kept.is_whole()
        {
            let kept = kept.clone();
            drop(made);
            if !kept.is_seen {
                self.look_at(id, &kept).await;
            }
            return Ok(self.joined(id, &kept));
        }
        if let Some(kept) = made.kept.get(&id).cloned() {
            drop(made);
            self.leave(id, &kept).await;
            made = self.made.lock().await;
            self.clear(&mut made, id).await;
        }
        let mut kept = self.choose(&made, wanted)?;
        self.write(id, &kept, wanted)?;
        made.last = kept.address.or(made.last);
        made.kept.insert(id, kept.clone());
        let mut done = self.make(&made, id, &kept).await;
        // Plugins of one allocation hold up no other one.
        drop(made);
        if done.is_ok() {
            done = self.join(id, &mut kept).await;
            kept.is_begun = false;
            done = done.and_then(|()| self.write(id, &kept, wanted));
            if done.is_err() {
                self.leave(id, &kept).await;
            }
        }
        let mut made = self.made.lock().await;
        if let Err(error) = done {
            self.clear(&mut made, id).await;
            return Err(error);
        }
        kept.is_seen = true;
        made.kept.insert(id, kept.clone());
        Ok(self.joined(id, &kept))
    }

    /// Removes the network of an allocation, if it has one.
    pub(crate) async fn remove(&self, id: AllocId) {
        let busy = self.busy(id);
        let _turn = busy.lock().await;
        let kept = self.made.lock().await.kept.get(&id).cloned();
        let Some(kept) = kept else { return };
        self.leave(id, &kept).await;
        let mut made = self.made.lock().await;
        self.clear(&mut made, id).await;
    }

    /// What whoever changes the network of an allocation holds.
    fn busy(&self, id: AllocId) -> Arc<Mutex<()>> {
        let mut busy = self.busy.lock();
        if let Some(one) = busy.get(&id).and_then(Weak::upgrade) {
            return one;
        }
        busy.retain(|_, one| one.strong_count() > 0);
        let one = Arc::new(Mutex::new(()));
        busy.insert(id, Arc::downgrade(&one));
        one
    }

    /// Lets the plugins join the namespace, and takes note of what they made.
    async fn join(&self, id: AllocId, kept: &mut Kept) -> Result<(), NetworkError> {
        let Some((name, plugins)) = &mut kept.plugins else {
            return Ok(());
        };
        let (container, namespace) = (id.to_string(), namespace(id));
        let asked = Asked {
            container: &container,
            namespace: &namespace,
        };
        let added = self.plugins.add(plugins, asked).await;
        let added = added.map_err(|error| NetworkError::Plugin {
            name: name.clone(),
            reason: error.to_string(),
        })?;
        plugins.result = Some(added);
        Ok(())
    }

    /// Lets the plugins take the namespace out again. What they say is logged.
    async fn leave(&self, id: AllocId, kept: &Kept) {
        let Some((name, plugins)) = &kept.plugins else {
            return;
        };
        let (container, namespace) = (id.to_string(), namespace(id));
        let is_there = network::is_namespace(&namespace);
        let asked = Asked {
            container: &container,
            namespace: if is_there { &namespace } else { Path::new("") },
        };
        if let Err(error) = self.plugins.del(plugins, asked).await {
            tracing::warn!(alloc = %id, network = name, %error, "a network of plugins was not left");
        }
    }

    /// Asks the plugins whether a network of an earlier agent is as they made it. What they say is
    /// logged: tasks are in it.
    async fn look_at(&self, id: AllocId, kept: &Kept) {
        if let Some((name, plugins)) = &kept.plugins {
            let (container, namespace) = (id.to_string(), namespace(id));
            let asked = Asked {
                container: &container,
                namespace: &namespace,
            };
            if let Err(error) = self.plugins.check(plugins, asked).await {
                tracing::warn!(alloc = %id, network = name, %error, "a network of plugins is not as it was made");
            }
        }
        if let Some(kept) = self.made.lock().await.kept.get_mut(&id) {
            kept.is_seen = true;
        }
    }

    fn choose(&self, made: &Made, wanted: &Wanted) -> Result<Kept, NetworkError> {
        let mut kept = Kept {
            hostname: wanted.hostname.clone(),
            holder: wanted.holder.clone(),
            is_begun: true,
            ..Kept::default()
        };
        match &wanted.link {
            Link::None => {}
            Link::Bridge => {
                let taken = made.kept.values().filter_map(|kept| kept.address).collect();
                let address = self.subnet.free(&taken, made.last);
                let full = || NetworkError::Full {
                    subnet: self.subnet.to_string(),
                };
                kept.address = Some(address.ok_or_else(full)?);
                kept.forwards = wanted.ports.iter().map(forward).collect::<Result<_, _>>()?;
            }
            Link::Plugins { name, args } => {
                let ports = wanted.ports.iter().flat_map(port_mappings).collect();
                let attachment = self.plugins.attachment(name, args.clone(), ports);
                let attachment = attachment.map_err(NetworkError::Unknown)?;
                kept.plugins = Some((name.clone(), attachment));
            }
        }
        Ok(kept)
    }

    /// Writes down what is about to be made, and the files that its tasks see.
    fn write(&self, id: AllocId, kept: &Kept, wanted: &Wanted) -> Result<(), NetworkError> {
        let dir = self.dir_of(id);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NetworkError::File { path, source }
        };
        create_dir(&dir, 0o711).map_err(failed(&dir))?;
        let of_host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let own_name = nix::unistd::gethostname().unwrap_or_default();
        let hostname = match wanted.hostname.as_str() {
            "" => own_name.to_string_lossy().into_owned(),
            asked => asked.to_owned(),
        };
        let status = kept.status().unwrap_or_default();
        let address = status.address.parse().ok();
        let dns = wanted.dns.as_ref().or(status.dns.as_deref());
        let state = serde_json::to_string(kept).unwrap_or_default();
        for (name, text) in [
            ("hosts", files::hosts(address, &hostname)),
            ("resolv.conf", files::resolver(dns, &of_host)),
        ] {
            let path = dir.join(name);
            let everybody = fs::Permissions::from_mode(0o644);
            fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, everybody))
                .map_err(failed(&path))?;
        }
        let path = dir.join(STATE);
        write_atomic(&path, state.as_bytes(), Durability::Process).map_err(failed(&path))
    }

    async fn make(&self, made: &Made, id: AllocId, kept: &Kept) -> Result<(), NetworkError> {
        let programs = self.programs()?;
        let name = id.to_string();
        if namespace(id).exists() {
            // Of an agent that was killed before it wrote down what it made.
            programs.ip(&["netns", "del", &name]).await?;
        }
        match &kept.holder {
            None => programs.ip(&["netns", "add", &name]).await?,
            Some(holder) => {
                let pid = holder.pid.to_string();
                programs.ip(&["netns", "attach", &name, &pid]).await?;
            }
        }
        faults::point("network.namespace");
        let Some(address) = kept.address else {
            return programs.links(Some(&name), "link set lo up\n").await;
        };
        self.make_bridge(programs).await?;
        let link = link(id);
        let bridge = &self.bridge;
        let hairpin = if self.hairpin { "on" } else { "off" };
        let outside = format!(
            "link add {link} type veth peer name {INSIDE} netns {name}\n\
             link set {link} master {bridge} up\n\
             link set {link} type bridge_slave hairpin {hairpin}\n"
        );
        programs.links(None, &outside).await?;
        let inside = format!(
            "link set lo up\naddr add {} dev {INSIDE}\nlink set {INSIDE} up\nroute add default via {}\n",
            self.subnet.with(address),
            self.subnet.gateway()
        );
        programs.links(Some(&name), &inside).await?;
        self.set_rules(made).await
    }

    async fn make_bridge(&self, programs: &Programs) -> Result<(), NetworkError> {
        let bridge = &self.bridge;
        if !network::has_interface(bridge) {
            self.write_file(&self.dir.join(BRIDGE), "")?;
            programs
                .ip(&["link", "add", bridge, "type", "bridge"])
                .await?;
        }
        let commands = format!(
            "addr replace {} dev {bridge}\nlink set {bridge} up\n",
            self.subnet.with(self.subnet.gateway())
        );
        programs.links(None, &commands).await?;
        // Packets pass from one interface to another, and those of the host itself to the bridge
        // although they come from its loopback addresses.
        let of_bridge = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
        for path in ["/proc/sys/net/ipv4/ip_forward", &of_bridge] {
            self.write_file(Path::new(path), "1")?;
        }
        Ok(())
    }

    fn write_file(&self, path: &Path, text: &str) -> Result<(), NetworkError> {
        fs::write(path, text).map_err(|source| NetworkError::File {
            path: path.to_owned(),
            source,
        })
    }

    async fn set_rules(&self, made: &Made) -> Result<(), NetworkError> {
        let forwards = made.kept.values().flat_map(|kept| {
            let forwards = kept.forwards.iter().copied();
            forwards.filter_map(|forward| Some((forward, kept.address?)))
        });
        let text = rules::replace(&self.bridge, self.subnet, forwards);
        self.programs()?.rules(&text).await
    }

    /// Takes away everything of one allocation, as far as it is there; what cannot be taken away is
    /// logged.
    async fn clear(&self, made: &mut Made, id: AllocId) {
        let Some(kept) = made.kept.remove(&id) else {
            return;
        };
        let name = id.to_string();
        if let Ok(programs) = self.programs() {
            if kept.address.is_some() {
                let is_last = made.kept.values().all(|kept| kept.address.is_none());
                let done = match is_last {
                    true => programs.rules(&rules::remove(&self.bridge)).await,
                    false => self.set_rules(made).await,
                };
                self.tell(done, "rules of ports");
                let link = link(id);
                if network::has_interface(&link) {
                    self.tell(programs.ip(&["link", "del", &link]).await, &link);
                }
                let mark = self.dir.join(BRIDGE);
                if is_last && mark.exists() {
                    if network::has_interface(&self.bridge) {
                        let done = programs.ip(&["link", "del", &self.bridge]).await;
                        self.tell(done, &self.bridge);
                    }
                    fs::remove_file(&mark).ok();
                }
            }
            if namespace(id).exists() {
                self.tell(programs.ip(&["netns", "del", &name]).await, &name);
            }
        }
        if let Err(error) = fs::remove_dir_all(self.dir_of(id)) {
            tracing::warn!(alloc = %id, %error, "what is written down of a network cannot be removed");
        }
    }

    fn tell(&self, done: Result<(), NetworkError>, what: &str) {
        if let Err(error) = done {
            tracing::warn!(what, %error, "a part of a network cannot be changed");
        }
    }

    fn programs(&self) -> Result<&Programs, NetworkError> {
        let lack = |lack: &String| NetworkError::Lack(lack.clone());
        self.programs.as_ref().map_err(lack)
    }

    fn dir_of(&self, id: AllocId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn joined(&self, id: AllocId, kept: &Kept) -> Joined {
        let dir = self.dir_of(id);
        Joined {
            own: OwnNetwork {
                namespace: namespace(id),
                container: kept.holder.as_ref().map(|holder| holder.container.clone()),
                hostname: kept.hostname.clone(),
                files: ["hosts", "resolv.conf"]
                    .map(|name| (dir.join(name), Path::new("/etc").join(name)))
                    .to_vec(),
            },
            status: kept.status(),
        }
    }
}

/// A name that the kernel takes, and that is one word of a file: what does not belong into names of
/// machines is left out.
fn host_name(asked: &str) -> String {
    /// Bytes that the kernel takes.
    const BYTES_MAX: usize = 64;
    let belongs = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    asked.chars().filter(belongs).take(BYTES_MAX).collect()
}

/// The file that stands for the namespace of an allocation.
fn namespace(id: AllocId) -> PathBuf {
    Path::new(NAMESPACES).join(id.to_string())
}

/// The host's end of an allocation's link; names of interfaces have at most 15 bytes.
fn link(id: AllocId) -> String {
    let digits = id.to_string().replace('-', "");
    format!("tv{}", digits.get(..12).unwrap_or(&digits))
}

fn forward(port: &AllocatedPort) -> Result<Forward, NetworkError> {
    let host = port.host_ip.parse().map_err(|_| NetworkError::Address {
        label: port.label.clone(),
        address: port.host_ip.clone(),
    })?;
    let to = u16::try_from(port.to).ok().filter(|to| *to > 0);
    Ok(Forward {
        host,
        port: port.value,
        to: to.unwrap_or(port.value),
    })
}

/// What an allocation tells plugins: what its job says, and what it is.
fn plugin_args(
    alloc: &Allocation,
    network: &NetworkResource,
    environment: &TaskEnvironment<'_>,
) -> BTreeMap<String, String> {
    let of_job = network.cni.as_ref().and_then(|cni| cni.args.as_ref());
    let of_job = of_job.into_iter().flatten();
    let own = [
        ("NOMAD_REGION", alloc.job.region.to_string()),
        ("NOMAD_NAMESPACE", alloc.namespace.to_string()),
        ("NOMAD_JOB_ID", alloc.job_id.to_string()),
        ("NOMAD_GROUP_NAME", alloc.task_group.to_string()),
        ("NOMAD_ALLOC_ID", alloc.id.to_string()),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value)).into_iter();
    own.chain(of_job.map(|(key, value)| (key.clone(), environment.interpolate(value))))
        .collect()
}

fn port_mappings(port: &AllocatedPort) -> [PortMapping; 2] {
    let to = u16::try_from(port.to).ok().filter(|to| *to > 0);
    ["tcp", "udp"].map(|protocol| PortMapping {
        host_port: port.value,
        container_port: to.unwrap_or(port.value),
        protocol: protocol.to_owned(),
        host_ip: port.host_ip.clone(),
    })
}
