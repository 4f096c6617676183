//! Facts about this machine, for constraints and for placement. One file per fact; each adds what
//! it finds to the node and leaves out what it cannot find.
//!
//! Names are those of the jobs API. Drivers report their own facts, see [`super::drivers`].

mod catalog;
mod cpu;
mod host;
mod memory;
mod network;
mod numa;
mod os;
mod program;
mod storage;

pub(super) use memory::kib;
pub(super) use storage::mount_of;

use super::Config;
use config::Reserved;
use jobs::model::{Node, NodeEvent, NodeId, SecretId};
use sys::clock;

/// What drivers' and operators' constraints may ask of this machine; quick, without drivers.
pub(super) fn node(config: &Config, id: NodeId, secret_id: SecretId) -> Node {
    let mut node = Node {
        id,
        secret_id,
        datacenter: config.datacenter.clone(),
        name: config.name.as_str().into(),
        http_addr: config.http_addr.clone(),
        node_class: config.node_class.clone(),
        node_pool: config.node_pool.clone(),
        meta: config.meta.clone(),
        #[cfg(feature = "next")]
        note: "from its agent".to_owned(),
        ..Node::default()
    };
    let finds_out = |kind: &str| config.options.facts.takes(kind);
    if finds_out("cpu") {
        cpu::add(&mut node);
        numa::add(&mut node);
    }
    if finds_out("memory") {
        memory::add(&mut node);
    }
    if finds_out("storage") {
        storage::add(&mut node, &config.alloc_dir);
    }
    if finds_out("host") {
        os::add(&mut node);
        host::add(&mut node);
    }
    if finds_out("network") {
        network::add(&mut node, config);
    }
    if finds_out("nomad") {
        program::add(&mut node, config);
    }
    if finds_out("consul") {
        catalog::add(&mut node, config);
    }
    storage::add_volumes(&mut node, config);
    if let Some(mhz) = config.cpu_mhz {
        node.node_resources.cpu.cpu_shares = mhz;
    }
    if let Some(mib) = config.memory_mib {
        node.node_resources.memory.memory_mb = mib;
    }
    reserve(&mut node, &config.reserved);
    node.events.push(NodeEvent {
        message: "Node registered".into(),
        subsystem: "Cluster".into(),
        timestamp: clock::now(),
        ..NodeEvent::default()
    });
    node.classify();
    node
}

/// The id that a node gets when it is made: the one that is wanted, or one that the machine gives
/// it; none for any.
pub(super) fn wanted_id(config: &Config) -> Option<NodeId> {
    let of_host = || config.has_host_id.then(host::node_id).flatten();
    config.node_id.or_else(of_host)
}

/// Keeps back what jobs must not have; cores that are kept back count as the compute that they are.
fn reserve(node: &mut Node, reserved: &Reserved) {
    let cpu = &mut node.node_resources.cpu;
    let a_core = cpu.cpu_shares / i64::from(cpu.total_cpu_cores.max(1));
    let had = cpu.reservable_cpu_cores.len();
    cpu.reservable_cpu_cores
        .retain(|core| !reserved.cores.contains(core));
    let left = cpu.reservable_cpu_cores.len();
    let of_cores = a_core * i64::try_from(had - left).unwrap_or_default();
    let kept = &mut node.reserved_resources;
    kept.cpu.cpu_shares = reserved.cpu_mhz.max(of_cores);
    kept.memory.memory_mb = reserved.memory_mb;
    kept.disk.disk_mb = reserved.disk_mb;
    kept.networks.reserved_host_ports = reserved.port_ranges();
    let usable = node.node_resources.cpu.cpu_shares - kept.cpu.cpu_shares;
    set(node, "cpu.usablecompute", usable.max(0).to_string());
    set(node, "cpu.reservablecores", left.to_string());
}

/// Adds one fact.
fn set(node: &mut Node, key: &str, value: impl Into<String>) {
    node.attributes.insert(key.into(), value.into());
}
