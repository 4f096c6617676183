//! What a view is made of and changed by, as whoever knows the catalog says it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Plain facts that a [`View`](super::View) is built from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Zone that is served, such as `consul.`; the final dot may be left out.
    pub domain: String,
    /// Another name of the zone that questions may use; empty for none. Answers name the first one.
    pub alt_domain: String,
    /// Datacenter of the agent, one label.
    pub datacenter: String,
    /// All nodes; of two with the same name (in any case) the first counts.
    pub nodes: Vec<Node>,
    /// All service instances, in any order.
    pub instances: Vec<Instance>,
    /// What takes connections of the mesh for a service: its proxies, and instances that speak the
    /// mesh's TLS themselves. `service` is the service that they take them for.
    pub mesh: Vec<Instance>,
    /// Gateways through which a service is reached. `service` is that service.
    pub ingress: Vec<Instance>,
    /// Addresses that stand for services, by service.
    pub virtuals: Vec<(String, Ipv4Addr)>,
    /// Names of the nodes that are listed as name servers of the zone.
    pub servers: Vec<String>,
    /// Who finds what answers a prepared query; nobody if there are none.
    pub queries: Option<Arc<dyn PreparedQueries>>,
}

/// A catalog node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Node name; may contain dots.
    pub name: String,
    /// Datacenter that it is in; empty for that of the agent. Nothing is found by one that cannot
    /// be a label.
    pub datacenter: String,
    /// IP addresses, the preferred one of each family first, or one host name.
    pub addresses: Vec<String>,
    /// Metadata, answered as TXT records.
    pub meta: Vec<(String, String)>,
}

/// One instance of a service.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// Service name; one that contains a dot cannot be asked for.
    pub service: String,
    /// Name of the node that it runs on; an instance without a known node is left out.
    pub node: String,
    /// What tells it from the others of its service on the node; of two with the same id the last
    /// counts.
    pub id: String,
    /// IP address or host name; empty means the node's address.
    pub address: String,
    /// Port, 0 when it has none.
    pub port: u16,
    /// Tags, matched in any case.
    pub tags: Vec<String>,
    /// SRV weight that goes with its current check status.
    pub weight: u16,
    /// Whether its checks let it be answered. An instance that does not pass is not even stored.
    pub passing: bool,
}

/// Which question an instance answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// For the service itself.
    Service,
    /// For connections of the mesh.
    Mesh,
    /// For gateways.
    Ingress,
}

/// What is different from an older view.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Nodes that are new, different or gone, by name.
    pub nodes: Vec<(String, Option<Node>)>,
    /// Services that are to have exactly these instances: all of that name in any case.
    pub services: Vec<(Kind, String, Vec<Instance>)>,
    /// Instances that are new, different or gone. With a change of a node, all instances on it have
    /// to be here or in `services`.
    pub instances: Vec<InstanceChange>,
    /// All addresses that stand for services, when any is different.
    pub virtuals: Option<Vec<(String, Ipv4Addr)>>,
    /// All names of nodes that are name servers; has to be given with changes of nodes.
    pub servers: Option<Vec<String>>,
    /// Who finds what answers a prepared query from now on.
    pub queries: Option<Arc<dyn PreparedQueries>>,
}

/// One instance that is new, different or gone.
#[derive(Clone, Debug)]
pub struct InstanceChange {
    /// Which questions it answers.
    pub kind: Kind,
    /// Name of the service, in any case.
    pub service: String,
    /// Name of its node, in any case.
    pub node: String,
    /// Its id, as [`Instance::id`].
    pub id: String,
    /// What it is now; none when it is gone or may not be answered.
    pub instance: Option<Instance>,
}

/// Finds what answers a name below `query`.
pub trait PreparedQueries: std::fmt::Debug + Send + Sync {
    /// The instances behind a name in lower case, which may contain dots; none when no query has
    /// it. It is asked in a datacenter in lower case, or without one in the whole region. `seed`
    /// decides the order of the instances.
    fn execute(&self, name: &str, datacenter: Option<&str>, seed: u64) -> Option<Prepared>;
}

/// What answers a prepared query.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Name of the service, whose TTL counts unless the query has one.
    pub service: String,
    /// The instances, in any order unless `is_ordered`. Those that do not pass are left out.
    pub instances: Vec<Instance>,
    /// How long the answer may be kept.
    pub ttl: Option<Duration>,
    /// Whether the first instances are to be answered first.
    pub is_ordered: bool,
}
