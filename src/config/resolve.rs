//! What was written to what runs.

use super::{
    Api, Client, Config, Gossip, Leaves, Networks, Part, Problem, Registration, RpcSecurity,
    Server, Telemetry, Ui, Written, addresses, external, ignored, ingress, names, volumes,
    written::LISTENERS,
};
use jobs::model::NodeId;
use mesh::gossip::Keyring;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

const SOURCE: &str = "configuration";
/// The region of an agent that names none.
const REGION: &str = "global";
/// The datacenter of an agent that names none.
const DATACENTER: &str = "dc1";
/// The most that a task may take to end, unless configured.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// First and last port that jobs may be given, unless configured.
const DYNAMIC_PORTS: (u16, u16) = (20_000, 32_000);

pub(super) fn resolve(written: Written, problems: &mut Vec<Problem>) -> Config {
    let dev = written.dev.unwrap_or(false);
    let external = external::resolve(&written.external, problems);
    let is_built_in = external.is_none();
    let server = server(&written, dev, !is_built_in, problems);
    let bind = bind_address(&written, dev, problems);
    let rpc_security = written.tls.rpc(name_of_servers(&written), problems);
    let listen = |name: &str, problems: &mut Vec<Problem>| listener(&written, name, bind, problems);
    let has_jobs = written.part != Part::Catalog;
    let http = has_jobs.then(|| listen("http", problems));
    let rpc = rpc_listener(&written, bind, server.as_ref(), &rpc_security, problems);
    let server = server.map(|server| Server {
        gossip: gossip(&written, rpc.ip(), &rpc_security, problems),
        ..server
    });
    let asks_for_servers = !is_built_in && asks_for_servers(&written, server.as_ref());
    let servers = servers(
        &written,
        (server.as_ref(), asks_for_servers),
        &rpc_security,
        problems,
    );
    let discovery = external
        .is_some()
        .then(|| written.discovery.resolve(asks_for_servers, problems));
    let catalog = listen("catalog", problems);
    let https = written.ports.contains_key("https");
    let https = https.then(|| listen("https", problems));
    let https = written.tls.resolve(https, problems);
    let dns_address = listen("dns", problems);
    let ingress = listen("ingress", problems);
    let admin = listen("ingress_admin", problems);
    let places = ingress::Places {
        address: ingress,
        admin,
        bind,
    };
    for (name, wanted) in [
        ("catalog", written.catalog_enabled),
        ("dns", written.dns.enabled),
    ] {
        if !is_built_in && wanted == Some(true) {
            let message = format!(
                "`{name}.enabled` and `consul.address` are both set: with a catalog elsewhere the built-in one is off"
            );
            problems.push(Problem::new(SOURCE, message));
        }
    }
    let has_catalog = written.catalog_enabled.unwrap_or(is_built_in);
    // The catalog by itself may be offered over TLS alone.
    if https.is_some() && !has_catalog && has_jobs {
        problems.push(Problem::new(
            SOURCE,
            "`ports.https` is the catalog API over TLS, and that API is off",
        ));
    }
    let ingress = ingress::resolve(&written.ingress, places, problems);
    if ingress.is_none() && external.as_ref().is_some_and(|other| other.feeds_ingress) {
        problems.push(Problem::new(
            SOURCE,
            "`consul.ingress` is set, and the ingress is off",
        ));
    }
    let (advertise, http_port_advertised) = advertise(&written, bind, problems);
    let (networks, absent) = written.networks.resolve(advertise, problems);
    let mut config = Config {
        part: written.part,
        dev,
        data_dir: data_dir(&written, dev, problems),
        name: written.name.clone().unwrap_or_else(host_name),
        region: written.region.clone().unwrap_or_else(|| REGION.into()),
        datacenter: written
            .datacenter
            .clone()
            .unwrap_or_else(|| DATACENTER.into()),
        log_level: written.log_level.clone().unwrap_or_else(|| "info".into()),
        logs: written.logs.resolve(problems),
        advertise,
        http_port_advertised,
        http,
        rpc,
        rpc_advertised: advertised(&written, "rpc", rpc.port(), problems),
        notes: notes(&written).into_iter().chain(absent).collect(),
        rpc_security,
        leaves: Leaves {
            on_interrupt: written.leave_on_interrupt.unwrap_or(false),
            on_terminate: written.leave_on_terminate.unwrap_or(false),
        },
        server,
        servers,
        catalog: has_catalog.then_some(catalog),
        https,
        dns: names::resolve(&written.dns, dns_address, problems).filter(|_| is_built_in),
        external,
        discovery,
        ingress,
        client: client(&written, networks, dev, problems),
        api: api(&written, problems),
        callers: written.limits.resolve(problems),
        ui: Ui {
            is_enabled: written.ui.enabled.unwrap_or(true),
            is_read_only: written.ui.read_only.unwrap_or(false),
            has_hints: written.ui.show_cli_hints.unwrap_or(true),
            label: written.ui.label.clone().unwrap_or_default(),
        },
        registration: registration(&written, problems),
        telemetry: telemetry(&written, problems),
    };
    keep_own_ports(&mut config);
    config
}

fn telemetry(written: &Written, problems: &mut Vec<Problem>) -> Telemetry {
    let host = host_name();
    let node = written.name.clone().unwrap_or_else(|| host.clone());
    written.telemetry.resolve((host, &node), problems)
}

/// The name that certificates of servers have.
fn name_of_servers(written: &Written) -> String {
    let or = |text: &Option<String>, usual: &str| text.as_deref().unwrap_or(usual).to_owned();
    if written.part == Part::Catalog {
        let datacenter = or(&written.datacenter, DATACENTER);
        let domain = or(&written.dns.domain, names::DOMAIN);
        return format!("server.{datacenter}.{domain}");
    }
    format!("server.{}.nomad", or(&written.region, REGION))
}

/// What is said of the configuration when the agent starts.
fn notes(written: &Written) -> Vec<String> {
    let keys = written.ignored.iter();
    let unheeded = keys.map(|key| ignored::note(key));
    let is_asked = written.external.address.is_some();
    let nobody = written.discovery.unheeded().filter(|_| !is_asked);
    let leaves = [written.leave_on_interrupt, written.leave_on_terminate].contains(&Some(true));
    let drain = written.drain.note(written.dev.unwrap_or(false), leaves);
    let own = written.notes.iter().cloned();
    let figures = written.telemetry.notes();
    let options = written.options.notes();
    let told = own.chain(nobody).chain(drain).chain(figures);
    let told = told.chain(options);
    unheeded.chain(told).collect()
}

/// Keeps the ports of the agent's own listeners from being given to jobs that take any.
fn keep_own_ports(config: &mut Config) {
    let Some(mut client) = config.client.take() else {
        return;
    };
    let (first, last) = client.dynamic_ports;
    let server = config.server.as_ref().map(|_| config.rpc);
    let https = config.https.as_ref().map(|https| https.address);
    let dns = config.dns.as_ref().map(|dns| dns.address);
    let ingress = config.ingress.iter().flat_map(|ingress| {
        let listeners = ingress.listeners.iter().map(|listener| listener.address);
        listeners.chain([ingress.admin])
    });
    let own = [config.http, server, config.catalog, https, dns];
    let own = own.into_iter().flatten().chain(ingress);
    let ports = own.map(|address| address.port());
    let among = ports.filter(|port| (first..=last).contains(port));
    client.reserved.ports.extend(among);
    config.client = Some(client);
}

/// Port of RPC where an address names none.
const RPC_PORT: u16 = 4647;
/// How long an agent may be silent unless something else is said.
const GRACE: Duration = Duration::from_secs(10);
/// The least, and the most.
const LEASE_MIN: Duration = Duration::from_secs(3);
const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Most servers that a group may begin with.
const EXPECT_MAX: u64 = 9;

/// Whether a catalog elsewhere is asked for servers: by who names none, unless it begins alone.
fn asks_for_servers(written: &Written, server: Option<&Server>) -> bool {
    match server {
        Some(server) => {
            let is_alone = server.bootstrap_expect == 1;
            written.discovery.servers_join() && server.join.is_empty() && !is_alone
        }
        None => {
            let named = written.servers.iter().chain(&written.join).flatten();
            written.discovery.clients_join() && named.count() == 0
        }
    }
}

/// `finds` says that a catalog elsewhere may be asked for other servers.
fn server(
    written: &Written,
    dev: bool,
    finds: bool,
    problems: &mut Vec<Problem>,
) -> Option<Server> {
    let client = written.client_enabled.unwrap_or(dev);
    // A dev agent that is told of servers elsewhere is one of theirs.
    let server = written
        .server_enabled
        .unwrap_or_else(|| dev && written.servers.is_none());
    if !server && !client {
        problems.push(Problem::new(
            SOURCE,
            "nothing to run: set `server { enabled = true }` and `client { enabled = true }`, or use -dev",
        ));
    }
    if !server {
        if written.bootstrap_expect.is_some() {
            let message = "`server.bootstrap_expect` is set, and this agent runs no server";
            problems.push(Problem::new(SOURCE, message));
        }
        return None;
    }
    let join: Vec<String> = written
        .join
        .iter()
        .flatten()
        .map(|text| with_port(text))
        .collect();
    let finds = finds && written.discovery.servers_join();
    // Whoever writes that it is to join does not want a cluster of its own.
    let is_told = finds && !dev && written.discovery.server_auto_join.is_some();
    let expect = match written.bootstrap_expect {
        None => u64::from(join.is_empty() && !is_told),
        Some(expect) => expect,
    };
    if expect > EXPECT_MAX || (expect > 1 && expect % 2 == 0) {
        let message = format!(
            "`server.bootstrap_expect` is {expect}; 1, 3 or 5 servers are expected: of an even number more have to answer, and not more may fail"
        );
        problems.push(Problem::new(SOURCE, message));
    }
    if expect == 0 && join.is_empty() && !finds {
        problems.push(Problem::new(
            SOURCE,
            "`server.bootstrap_expect` is 0, so the server joins others, and `server.server_join.retry_join` names none",
        ));
    }
    let lease = lease(written, problems);
    Some(Server {
        bootstrap_expect: u32::try_from(expect).unwrap_or(1),
        join,
        gc: written.retention.resolve(problems),
        autopilot: written.autopilot.resolve(problems),
        oidc_issuer: issuer(written, problems),
        data_dir: directory(
            "server.data_dir",
            written.server_data_dir.as_deref(),
            problems,
        ),
        lease,
        scheduling: written.scheduling.resolve(lease, problems),
        gossip: None,
    })
}

/// How long an agent may be silent. It heartbeats three times in that time, so that the two
/// published settings, how often and how late it may, come to their sum.
fn lease(written: &Written, problems: &mut Vec<Problem>) -> Duration {
    let mut read = |key: &str, text: &Option<String>, usual: Duration| match text {
        Some(text) => names::duration(key, text, problems),
        None => usual,
    };
    let ttl = read(
        "server.min_heartbeat_ttl",
        &written.min_heartbeat_ttl,
        Duration::ZERO,
    );
    let grace = read("server.heartbeat_grace", &written.heartbeat_grace, GRACE);
    let lease = ttl.saturating_add(grace);
    if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
        let message = format!(
            "`server.min_heartbeat_ttl` and `server.heartbeat_grace` are {} s together, and a node is down after that; it must be from {} s to an hour",
            lease.as_secs_f64(),
            LEASE_MIN.as_secs()
        );
        problems.push(Problem::new(SOURCE, message));
    }
    lease
}

/// Whoever trusts the tokens asks there for the keys.
fn issuer(written: &Written, problems: &mut Vec<Problem>) -> Option<String> {
    let text = written.oidc_issuer.as_deref()?;
    let is_usable = url::Url::parse(text).is_ok_and(|url| {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web && url.query().is_none() && url.fragment().is_none()
    });
    if !is_usable {
        let message = format!(
            "`server.oidc_issuer` is `{text}`; it must be a URL such as `https://trivet.example.com`, without a query"
        );
        problems.push(Problem::new(SOURCE, message));
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// An address with the port of RPC where it names none.
fn with_port(text: &str) -> String {
    let text = text.trim();
    let has_port = match text.rsplit_once(':') {
        Some((host, port)) => {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        }
        None => false,
    };
    match text.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, RPC_PORT).to_string(),
        Err(_) if has_port => text.to_owned(),
        Err(_) => format!("{text}:{RPC_PORT}"),
    }
}

/// Whether an address is on this machine for sure.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn servers(
    written: &Written,
    (server, asks): (Option<&Server>, bool),
    security: &RpcSecurity,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let named = written.servers.iter().flatten();
    let joined = written.join.iter().flatten().filter(|_| server.is_none());
    let servers: Vec<String> = named.chain(joined).map(|text| with_port(text)).collect();
    let is_client = written.client_enabled.or(written.dev).unwrap_or(false);
    if server.is_none() && servers.is_empty() && is_client && !asks {
        problems.push(Problem::new(
            SOURCE,
            "this agent runs no server and knows none: set `client { servers = [\"ADDRESS\"] }`, `consul { address = \"ADDRESS\" }` to ask there, or `server { enabled = true }`",
        ));
    }
    let join = server.iter().flat_map(|server| &server.join);
    let far = servers
        .iter()
        .chain(join)
        .find(|address| !is_loopback(address));
    if let (RpcSecurity::Loopback, Some(far)) = (security, far) {
        problems.push(Problem::new(
            SOURCE,
            format!("the server at {far} is on another machine; {SAY_HOW}"),
        ));
    }
    servers
}

const SAY_HOW: &str = "connections between machines need certificates: set `tls { rpc = true }` with `ca_file`, `cert_file` and `key_file`, or say `tls { rpc = false }` when whoever reaches the port may do everything";

/// Gossip is where RPC is, unless something else is said. A dev agent has none unless it is asked
/// for, so that several can be tried on one machine.
fn gossip(
    written: &Written,
    rpc: IpAddr,
    security: &RpcSecurity,
    problems: &mut Vec<Problem>,
) -> Option<Gossip> {
    let is_asked_for = written.encrypt.is_some()
        || written.ports.contains_key("serf")
        || written.addresses.contains_key("serf");
    if written.part == Part::Catalog || written.dev.unwrap_or(false) && !is_asked_for {
        return None;
    }
    let mut listen = listener(written, "serf", rpc, problems);
    if written.ports.get("rpc") == Some(&0) && !written.ports.contains_key("serf") {
        // Whoever takes any port for one takes any for the other.
        listen.set_port(0);
    }
    let key = written.encrypt.clone();
    if let Some(Err(error)) = key.as_deref().map(|key| Keyring::new([key])) {
        problems.push(Problem::new(SOURCE, format!("`server.encrypt`: {error}")));
    }
    if *security == RpcSecurity::Loopback && key.is_none() && !listen.ip().is_loopback() {
        let message = format!(
            "`addresses.serf` is `{}`, where whoever reaches it could say which servers there are; set `server.encrypt` to a key that `trivet operator gossip keyring generate` makes",
            listen.ip()
        );
        problems.push(Problem::new(SOURCE, message));
    }
    Some(Gossip {
        listen,
        advertised: advertised(written, "serf", listen.port(), problems),
        key,
    })
}

fn advertised(
    written: &Written,
    name: &str,
    port: u16,
    problems: &mut Vec<Problem>,
) -> Option<SocketAddr> {
    let key = format!("advertise.{name}");
    let text = written.advertise.get(name)?;
    let text = addresses::filled(&key, text, problems)?;
    let parsed = text.parse::<SocketAddr>().ok();
    let address = parsed.or_else(|| Some(SocketAddr::new(text.parse().ok()?, port)));
    if address.is_none() {
        let message =
            format!("`{key}` is `{text}`, which is no IP address, with or without a port");
        problems.push(Problem::new(SOURCE, message));
    }
    address
}

fn bind_address(written: &Written, dev: bool, problems: &mut Vec<Problem>) -> IpAddr {
    let default = IpAddr::from(if dev {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    });
    let text = written.bind_addr.as_ref();
    text.and_then(|text| addresses::address("bind_addr", text, problems))
        .unwrap_or(default)
}

/// The address of this machine for others, and the port of its jobs API if that is another one.
fn advertise(
    written: &Written,
    bind: IpAddr,
    problems: &mut Vec<Problem>,
) -> (IpAddr, Option<u16>) {
    let usual = || {
        if bind.is_unspecified() {
            addresses::outward_address().unwrap_or_else(|| Ipv4Addr::LOCALHOST.into())
        } else {
            bind
        }
    };
    let Some(text) = written.advertise.get("http") else {
        return (usual(), None);
    };
    let Some(text) = addresses::filled("advertise.http", text, problems) else {
        return (usual(), None);
    };
    if let Ok(address) = text.parse::<SocketAddr>() {
        // Any port is the one that it listens on.
        let port = Some(address.port()).filter(|port| *port > 0);
        return (address.ip(), port);
    }
    let host = text.parse().unwrap_or_else(|_| {
        let message =
            format!("`advertise.http` is `{text}`, which is no IP address, with or without a port");
        problems.push(Problem::new(SOURCE, message));
        usual()
    });
    (host, None)
}

fn listener(
    written: &Written,
    name: &str,
    bind: IpAddr,
    problems: &mut Vec<Problem>,
) -> SocketAddr {
    let default_port = LISTENERS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(0, |(_, port)| *port);
    let port = written.ports.get(name).copied().unwrap_or(default_port);
    let key = format!("addresses.{name}");
    let text = written.addresses.get(name);
    let address = text.and_then(|text| addresses::address(&key, text, problems));
    SocketAddr::new(address.unwrap_or(bind), port)
}

/// RPC leaves the machine only with certificates, or when the operator says so.
fn rpc_listener(
    written: &Written,
    bind: IpAddr,
    server: Option<&Server>,
    security: &RpcSecurity,
    problems: &mut Vec<Problem>,
) -> SocketAddr {
    let stays = *security == RpcSecurity::Loopback && !bind.is_loopback();
    let usual = if stays {
        Ipv4Addr::LOCALHOST.into()
    } else {
        bind
    };
    let listener = listener(written, "rpc", usual, problems);
    if *security == RpcSecurity::Loopback && !listener.ip().is_loopback() {
        let message = format!("`addresses.rpc` is `{}`; {SAY_HOW}", listener.ip());
        problems.push(Problem::new(SOURCE, message));
    } else if stays && server.is_some_and(|server| server.bootstrap_expect > 1) {
        let message = format!(
            "the other servers cannot reach this one on {}; {SAY_HOW}",
            listener.ip()
        );
        problems.push(Problem::new(SOURCE, message));
    }
    listener
}

/// A directory that must be an absolute path where it is written.
fn directory(key: &str, text: Option<&str>, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let path = PathBuf::from(text.filter(|text| !text.is_empty())?);
    if !path.is_absolute() {
        let message = format!(
            "`{key}` is `{}`; it must be an absolute path",
            path.display()
        );
        problems.push(Problem::new(SOURCE, message));
    }
    Some(path)
}

fn data_dir(written: &Written, dev: bool, problems: &mut Vec<Problem>) -> PathBuf {
    match &written.data_dir {
        Some(text) if PathBuf::from(text).is_absolute() => PathBuf::from(text),
        Some(text) => {
            let message = format!("`data_dir` is `{text}`; it must be an absolute path");
            problems.push(Problem::new(SOURCE, message));
            PathBuf::new()
        }
        // The agent makes a temporary directory.
        None if dev => PathBuf::new(),
        None => {
            problems.push(Problem::new(
                SOURCE,
                "`data_dir` is missing: set it to an absolute path",
            ));
            PathBuf::new()
        }
    }
}

fn client(
    written: &Written,
    networks: Networks,
    dev: bool,
    problems: &mut Vec<Problem>,
) -> Option<Client> {
    let dynamic_ports = dynamic_ports(written, problems);
    let artifact_dirs = artifact_dirs(written, dev, problems);
    let mut plugins = written.plugins.clone();
    written.options.fill(&mut plugins, problems);
    let plugins = plugins.resolve(dev, problems);
    let state_dir = directory("client.state_dir", written.state_dir.as_deref(), problems);
    let alloc_dir = directory("client.alloc_dir", written.alloc_dir.as_deref(), problems);
    let kill_timeout_max = match &written.max_kill_timeout {
        Some(text) => names::duration("client.max_kill_timeout", text, problems),
        None => KILL_TIMEOUT,
    };
    volumes::check(&written.host_volumes, problems);
    let bridge = written.bridge.resolve(problems);
    let cni = written.cni.resolve(problems);
    let drain = written.drain.resolve(dev, problems);
    let collection = written.collection.resolve(dev, problems);
    let artifact = written.files.artifact(problems);
    let template = written.files.template(problems);
    written.client_enabled.unwrap_or(dev).then(|| Client {
        takes_jobs: written.part != Part::Catalog,
        node_id: written.node_id.as_deref().and_then(NodeId::parse),
        node_class: written.node_class.clone().unwrap_or_default(),
        meta: written.meta.clone(),
        cpu_mhz: written
            .cpu_total_compute
            .and_then(|mhz| i64::try_from(mhz).ok()),
        memory_mib: written
            .memory_total_mb
            .and_then(|mib| i64::try_from(mib).ok()),
        dynamic_ports,
        raw_exec: plugins.raw_exec.unwrap_or(dev),
        plugins,
        artifact_dirs,
        host_volumes: written.host_volumes.clone(),
        chroot_env: written.chroot_env.clone(),
        networks,
        bridge,
        cni,
        reserved: written.reserved.resolve(problems),
        collection,
        artifact,
        template,
        has_host_id: written.no_host_uuid == Some(false),
        state_dir,
        alloc_dir,
        kill_timeout_max,
        takes_commands: written.disable_remote_exec != Some(true),
        options: written.options.resolve(),
        drain,
    })
}

/// Where local artifacts may lie. In dev mode, unless something else is written, below the working
/// directory: that is where the job files of the one who started it are. The whole machine is never
/// meant by that.
fn artifact_dirs(written: &Written, dev: bool, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let Some(dirs) = &written.artifact_directories else {
        let here = std::env::current_dir().ok().filter(|_| dev);
        return here
            .filter(|dir| dir.parent().is_some())
            .into_iter()
            .collect();
    };
    let (absolute, others): (Vec<PathBuf>, Vec<PathBuf>) = dirs
        .iter()
        .map(PathBuf::from)
        .partition(|dir| dir.is_absolute());
    for other in others {
        let message = format!(
            "`client.artifact_directories` holds `{}`, which must be an absolute path",
            other.display()
        );
        problems.push(Problem::new(SOURCE, message));
    }
    absolute
}

fn registration(written: &Written, problems: &mut Vec<Problem>) -> Registration {
    let remote_scripts = written.enable_script_checks.unwrap_or(false);
    let paths = written.definitions.iter().flatten().map(PathBuf::from);
    let definitions: Vec<PathBuf> = paths.collect();
    for path in &definitions {
        if !path.is_absolute() {
            let message = format!(
                "`catalog.definitions` holds `{}`, which must be an absolute path",
                path.display()
            );
            problems.push(Problem::new(SOURCE, message));
        }
    }
    Registration {
        definitions,
        defined: written.defined.clone(),
        remote_scripts,
        local_scripts: remote_scripts || written.enable_local_script_checks.unwrap_or(false),
    }
}

fn dynamic_ports(written: &Written, problems: &mut Vec<Problem>) -> (u16, u16) {
    let port = |asked: Option<u64>, default: u16| {
        asked.map_or(Some(default), |port| {
            u16::try_from(port).ok().filter(|&port| port > 0)
        })
    };
    let first = port(written.min_dynamic_port, DYNAMIC_PORTS.0);
    let last = port(written.max_dynamic_port, DYNAMIC_PORTS.1);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => {
            let message =
                "`client.min_dynamic_port` to `client.max_dynamic_port` must be a range of ports";
            problems.push(Problem::new(SOURCE, message));
            DYNAMIC_PORTS
        }
    }
}

/// The machine's and the agent's own names need not be configured: distributions resolve them to a
/// loopback address.
fn api(written: &Written, problems: &mut Vec<Problem>) -> Api {
    let mut allowed_hosts = written.allowed_hosts.clone().unwrap_or_default();
    for host in &allowed_hosts {
        if host.is_empty() || host.contains(['/', ':', '*', ' ']) {
            let message = format!(
                "`api.allowed_hosts` names `{host}`; a host name without scheme and port is expected"
            );
            problems.push(Problem::new(SOURCE, message));
        }
    }
    allowed_hosts.push(host_name());
    allowed_hosts.extend(written.name.clone());
    let allowed_origins = written.allowed_origins.clone().unwrap_or_default();
    for origin in &allowed_origins {
        let is_origin = origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains('/')
        });
        if origin != "*" && !is_origin {
            let message = format!(
                "`api.allowed_origins` names `{origin}`; `scheme://host` or `scheme://host:port` is expected, or `*` for every origin"
            );
            problems.push(Problem::new(SOURCE, message));
        }
    }
    Api {
        allowed_hosts,
        allowed_origins,
    }
}

pub(super) fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}
