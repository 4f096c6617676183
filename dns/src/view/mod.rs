//! The facts an answer is drawn from, indexed for lookup.
//!
//! A view never changes; the next one shares with it what stayed as it was ([`View::with`]).

mod bag;
mod reverse;
mod shards;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::TXT;

use crate::error::Error;
use crate::name::{Labels, Query, Zone, parse};
use bag::Bag;
use reverse::{Owner, Reverse};
use shards::Shards;

/// Longest character string inside a TXT record, in bytes (RFC 1035, 3.3.14).
const TXT_STRING_BYTES_MAX: usize = 255;

/// Plain facts that a [`View`] is built from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Zone that is served, such as `consul.`; the final dot may be left out.
    pub domain: String,
    /// Another name of the zone that questions may use; empty for none. Answers name the first one.
    pub alt_domain: String,
    /// Datacenter that the names are in, one label.
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
    /// it. `seed` decides the order of the instances.
    fn execute(&self, name: &str, seed: u64) -> Option<Prepared>;
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

/// The facts an answer is drawn from: immutable, shared by all questions; cheap to clone.
///
/// Invariants:
/// 1. Only passing instances are stored, so no answer can name another one.
/// 2. A pool is never empty: a service or tag without passing instances has no entry.
#[derive(Clone, Debug)]
pub struct View {
    zone: Arc<Zone>,
    names: Arc<ZoneNames>,
    nodes: Shards<Box<[u8]>, Arc<NodeEntry>>,
    services: Shards<Box<[u8]>, Arc<Service>>,
    mesh: Shards<Box<[u8]>, Arc<Service>>,
    ingress: Shards<Box<[u8]>, Arc<Service>>,
    virtuals: Arc<HashMap<Box<[u8]>, Ipv4Addr>>,
    reverse: Reverse,
    servers: Arc<[Arc<NodeEntry>]>,
    queries: Option<Arc<dyn PreparedQueries>>,
}

impl View {
    /// Indexes the facts; cost grows with the number of nodes, instances and tags.
    ///
    /// # Errors
    /// [`Error::InvalidDomain`] and [`Error::InvalidDatacenter`] when these cannot be part of a DNS
    /// name. Nodes and services whose names cannot be asked for are no error.
    pub fn new(facts: &Facts) -> Result<Self, Error> {
        let names = ZoneNames::new(facts)?;
        let zone = Zone::new(&facts.domain, &facts.datacenter).also(&facts.alt_domain);
        let empty = Self {
            zone: Arc::new(zone),
            names: Arc::new(names),
            nodes: Shards::default(),
            services: Shards::default(),
            mesh: Shards::default(),
            ingress: Shards::default(),
            virtuals: Arc::default(),
            reverse: Reverse::default(),
            servers: Arc::default(),
            queries: None,
        };
        let mut known = HashSet::new();
        let nodes = facts
            .nodes
            .iter()
            .filter(|node| known.insert(lower(&node.name)));
        let nodes = nodes.map(|node| (node.name.clone(), Some(node.clone())));
        let mut services: BTreeMap<(Kind, String), Vec<Instance>> = BTreeMap::new();
        for (kind, instances) in [
            (Kind::Service, &facts.instances),
            (Kind::Mesh, &facts.mesh),
            (Kind::Ingress, &facts.ingress),
        ] {
            for instance in instances {
                let key = (kind, instance.service.to_ascii_lowercase());
                services.entry(key).or_default().push(instance.clone());
            }
        }
        let services = services.into_iter();
        Ok(empty.with(&Changes {
            nodes: nodes.collect(),
            services: services
                .map(|((kind, name), instances)| (kind, name, instances))
                .collect(),
            instances: Vec::new(),
            virtuals: Some(facts.virtuals.clone()),
            servers: Some(facts.servers.clone()),
            queries: facts.queries.clone(),
        }))
    }

    /// The view after changes; cost grows with them, not with what there is.
    #[must_use]
    pub fn with(&self, changes: &Changes) -> Self {
        let mut view = self.clone();
        for (name, node) in &changes.nodes {
            view.set_node(name, node.as_ref());
        }
        for (kind, name, instances) in &changes.services {
            view.set_service(*kind, name, instances);
        }
        for change in &changes.instances {
            view.set_instance(change);
        }
        if let Some(virtuals) = &changes.virtuals {
            let virtuals = virtuals.iter();
            let virtuals = virtuals.map(|(name, address)| (lower(name), *address));
            view.virtuals = Arc::new(virtuals.collect());
        }
        if let Some(servers) = &changes.servers {
            let servers = servers.iter();
            let servers = servers.filter_map(|name| view.nodes.get(&*lower(name)).cloned());
            view.servers = servers.collect();
        }
        if let Some(queries) = &changes.queries {
            view.queries = Some(Arc::clone(queries));
        }
        view
    }

    fn set_node(&mut self, name: &str, node: Option<&Node>) {
        let key = lower(name);
        if let Some(old) = self.nodes.remove(&*key)
            && let Some(fqdn) = &old.fqdn
        {
            for ip in old.ips() {
                self.reverse.remove(ip, Owner::Node, fqdn);
            }
        }
        let Some(node) = node else { return };
        let entry = Arc::new(NodeEntry::new(node, &self.names));
        if let Some(fqdn) = &entry.fqdn {
            for ip in entry.ips() {
                self.reverse.add(ip, Owner::Node, fqdn);
            }
        }
        self.nodes.insert(key, entry);
    }

    fn set_service(&mut self, kind: Kind, name: &str, instances: &[Instance]) {
        let mut service = Service::default();
        for instance in instances {
            let member = self.member(instance);
            service.set(MemberKey::new(&instance.node, &instance.id), member);
        }
        let key = lower(name);
        let old = self.table(kind).remove(&*key);
        let gone = old.iter().flat_map(|old| old.own_ips()).collect();
        let come = service.own_ips().collect();
        self.count_names(kind, name, gone, come);
        if !service.is_empty() {
            self.table(kind).insert(key, Arc::new(service));
        }
    }

    fn set_instance(&mut self, change: &InstanceChange) {
        let member = change.instance.as_ref();
        let member = member.and_then(|instance| self.member(instance));
        let come = member.iter().filter_map(|member| member.own_ip()).collect();
        let key = lower(&change.service);
        let mut service = self.table(change.kind).remove(&*key).unwrap_or_default();
        let of_service = Arc::make_mut(&mut service);
        let old = of_service.set(MemberKey::new(&change.node, &change.id), member);
        let gone = old.iter().filter_map(|old| old.own_ip()).collect();
        self.count_names(change.kind, &change.service, gone, come);
        if !service.is_empty() {
            self.table(change.kind).insert(key, service);
        }
    }

    /// An instance as it is answered; none for one that is not.
    fn member(&self, instance: &Instance) -> Option<Arc<Member>> {
        if !instance.passing {
            return None;
        }
        let node = self.nodes.get(&*lower(&instance.node))?;
        let endpoint = Endpoint::new(instance, node, &self.names)?;
        Some(Arc::new(Member {
            endpoint: Arc::new(endpoint),
            tags: instance.tags.iter().map(|tag| lower(tag)).collect(),
        }))
    }

    fn table(&mut self, kind: Kind) -> &mut Shards<Box<[u8]>, Arc<Service>> {
        match kind {
            Kind::Service => &mut self.services,
            Kind::Mesh => &mut self.mesh,
            Kind::Ingress => &mut self.ingress,
        }
    }

    /// Addresses by which a service is found are no longer those, and now these.
    fn count_names(&mut self, kind: Kind, service: &str, gone: Vec<IpAddr>, come: Vec<IpAddr>) {
        if kind != Kind::Service || gone == come {
            return;
        }
        let name = service.to_ascii_lowercase();
        let Some(fqdn) = prepend(&self.names.service_suffix, &name) else {
            return;
        };
        for ip in gone {
            self.reverse.remove(ip, Owner::Service, &fqdn);
        }
        for ip in come {
            self.reverse.add(ip, Owner::Service, &fqdn);
        }
    }

    /// Whether a name is none of the zone, and no address spelled as a name.
    pub(crate) fn is_outside(&self, name: &Name) -> bool {
        matches!(parse(&Labels::read(name), &self.zone), Query::Foreign)
    }

    /// Whether a name is that of a node.
    pub(crate) fn is_node(&self, name: &Name) -> bool {
        matches!(parse(&Labels::read(name), &self.zone), Query::Node { .. })
    }

    /// The zone that question names are read against.
    pub(crate) fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(crate) fn names(&self) -> &ZoneNames {
        &self.names
    }

    /// The node of that lower-case name.
    pub(crate) fn node(&self, name: &[u8]) -> Option<&NodeEntry> {
        self.nodes.get(name).map(Arc::as_ref)
    }

    /// The passing instances of that lower-case service name, with that lower-case tag if one is
    /// given.
    pub(crate) fn service(&self, name: &[u8], tag: Option<&[u8]>) -> Option<&Pool> {
        matching(self.services.get(name)?, tag)
    }

    /// What takes connections of the mesh for the service of that lower-case name.
    pub(crate) fn mesh(&self, name: &[u8]) -> Option<&Pool> {
        matching(self.mesh.get(name)?, None)
    }

    /// The gateways through which the service of that lower-case name is reached.
    pub(crate) fn ingress(&self, name: &[u8]) -> Option<&Pool> {
        matching(self.ingress.get(name)?, None)
    }

    /// The address that stands for the service of that lower-case name.
    pub(crate) fn virtual_address(&self, name: &[u8]) -> Option<Ipv4Addr> {
        self.virtuals.get(name).copied()
    }

    /// What answers the prepared query of that lower-case name.
    pub(crate) fn prepared(&self, name: &[u8], seed: u64) -> Option<PreparedMatch> {
        let queries = self.queries.as_ref()?;
        let found = queries.execute(str::from_utf8(name).ok()?, seed)?;
        let passing = found.instances.iter().filter(|instance| instance.passing);
        let endpoints = passing.filter_map(|instance| {
            let node = self.nodes.get(&*lower(&instance.node))?;
            Endpoint::new(instance, node, &self.names).map(Arc::new)
        });
        let endpoints: Vec<Arc<Endpoint>> = endpoints.collect();
        Some(PreparedMatch {
            pool: Pool::in_order(&endpoints),
            service: lower(&found.service),
            ttl: found.ttl,
            is_ordered: found.is_ordered,
        })
    }

    /// Names of an address: of the node that has it, else of the services on it. Empty when it is
    /// unknown.
    pub(crate) fn reverse(&self, ip: IpAddr) -> impl Iterator<Item = &Name> {
        self.reverse.names(ip)
    }

    /// The nodes listed as name servers, in the order of the facts.
    pub(crate) fn servers(&self) -> &[Arc<NodeEntry>] {
        &self.servers
    }
}

/// The instances of a service, or those with a lower-case tag.
fn matching<'a>(service: &'a Service, tag: Option<&[u8]>) -> Option<&'a Pool> {
    match tag {
        Some(tag) => service.by_tag.get(tag).map(Arc::as_ref),
        None => Some(&service.all),
    }
}

/// Names that are the same for all records of the zone.
#[derive(Debug)]
pub(crate) struct ZoneNames {
    pub(crate) apex: Name,
    pub(crate) primary_server: Name,
    pub(crate) mailbox: Name,
    node_suffix: Name,
    service_suffix: Name,
    service_suffix_short: Name,
    addr_suffix: Name,
}

impl ZoneNames {
    fn new(facts: &Facts) -> Result<Self, Error> {
        let invalid_domain = || Error::InvalidDomain {
            domain: facts.domain.clone(),
        };
        let apex = host_name(&facts.domain).ok_or_else(invalid_domain)?;
        let within = |label: &str| prepend(&apex, label).ok_or_else(invalid_domain);
        let datacenter = (!facts.datacenter.contains('.'))
            .then(|| prepend(&apex, &facts.datacenter))
            .flatten()
            .ok_or_else(|| Error::InvalidDatacenter {
                datacenter: facts.datacenter.clone(),
            })?;
        let suffix = |label: &str| prepend(&datacenter, label).ok_or_else(invalid_domain);
        Ok(Self {
            primary_server: within("ns")?,
            mailbox: within("hostmaster")?,
            node_suffix: suffix("node")?,
            service_suffix: suffix("service")?,
            service_suffix_short: within("service")?,
            addr_suffix: suffix("addr")?,
            apex,
        })
    }

    /// The name that spells an address, `HEX.addr.DC.DOMAIN`; absent if the zone leaves no room for
    /// it.
    fn address(&self, ip: IpAddr) -> Option<Name> {
        let hex = match ip {
            IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
        };
        prepend(&self.addr_suffix, &hex)
    }

    /// Whether a host name is the service's own name, which would answer a question with itself.
    fn is_service(&self, alias: &Name, service: &str) -> bool {
        [&self.service_suffix, &self.service_suffix_short]
            .into_iter()
            .any(|suffix| prepend(suffix, service).is_some_and(|name| name == *alias))
    }
}

/// A node, ready to be answered.
#[derive(Debug)]
pub(crate) struct NodeEntry {
    /// `NODE.node.DC.DOMAIN`; absent when the node's name cannot be a DNS name.
    pub(crate) fqdn: Option<Name>,
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
    /// Host name, when the node has no IP address.
    pub(crate) alias: Option<Name>,
    pub(crate) meta: Vec<TXT>,
}

impl NodeEntry {
    fn new(node: &Node, names: &ZoneNames) -> Self {
        let mut entry = Self {
            fqdn: prepend(&names.node_suffix, &node.name),
            v4: Vec::new(),
            v6: Vec::new(),
            alias: None,
            meta: node
                .meta
                .iter()
                .map(|(key, value)| meta_text(key, value))
                .collect(),
        };
        for address in &node.addresses {
            match address.parse() {
                Ok(IpAddr::V4(ip)) => entry.v4.push(ip),
                Ok(IpAddr::V6(ip)) => entry.v6.push(ip),
                Err(_) => entry.alias = entry.alias.or_else(|| host_name(address)),
            }
        }
        if !(entry.v4.is_empty() && entry.v6.is_empty()) {
            entry.alias = None;
        }
        entry
    }

    fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().map(|ip| IpAddr::V4(*ip));
        v4.chain(self.v6.iter().map(|ip| IpAddr::V6(*ip)))
    }

    fn has(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.contains(&ip),
            IpAddr::V6(ip) => self.v6.contains(&ip),
        }
    }
}

/// Where an instance is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// At its node's address.
    Node,
    /// At an address of its own.
    Ip(IpAddr),
    /// At a host name.
    Alias(Name),
}

/// A passing instance, ready to be answered.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: Arc<NodeEntry>,
    pub(crate) host: Host,
    /// Target of its SRV record.
    pub(crate) target: Name,
    pub(crate) port: u16,
    pub(crate) weight: u16,
}

impl Endpoint {
    fn new(instance: &Instance, node: &Arc<NodeEntry>, names: &ZoneNames) -> Option<Self> {
        let host = host(instance, node, names);
        let target = match &host {
            Host::Node => node_target(node, names),
            Host::Ip(ip) => names.address(*ip),
            Host::Alias(alias) => Some(alias.clone()),
        };
        Some(Self {
            node: Arc::clone(node),
            target: target?,
            host,
            port: instance.port,
            weight: instance.weight,
        })
    }

    /// First IPv4 address, if it is known.
    pub(crate) fn v4(&self) -> Option<Ipv4Addr> {
        match &self.host {
            Host::Node => self.node.v4.first().copied(),
            Host::Ip(IpAddr::V4(ip)) => Some(*ip),
            Host::Ip(IpAddr::V6(_)) | Host::Alias(_) => None,
        }
    }

    /// First IPv6 address, if it is known.
    pub(crate) fn v6(&self) -> Option<Ipv6Addr> {
        match &self.host {
            Host::Node => self.node.v6.first().copied(),
            Host::Ip(IpAddr::V6(ip)) => Some(*ip),
            Host::Ip(IpAddr::V4(_)) | Host::Alias(_) => None,
        }
    }

    /// Host name, if that is all that is known.
    pub(crate) fn alias(&self) -> Option<&Name> {
        match &self.host {
            Host::Node => self.node.alias.as_ref(),
            Host::Alias(alias) => Some(alias),
            Host::Ip(_) => None,
        }
    }
}

fn host(instance: &Instance, node: &NodeEntry, names: &ZoneNames) -> Host {
    if instance.address.is_empty() {
        return Host::Node;
    }
    match instance.address.parse() {
        Ok(ip) if node.has(ip) => Host::Node,
        Ok(ip) => Host::Ip(ip),
        Err(_) => match host_name(&instance.address) {
            Some(alias) if node.alias.as_ref() == Some(&alias) => Host::Node,
            Some(alias) if !names.is_service(&alias, &instance.service) => Host::Alias(alias),
            _ => Host::Node,
        },
    }
}

/// The SRV target of an instance at its node's address: the node's name, or its address spelled as
/// a name.
fn node_target(node: &NodeEntry, names: &ZoneNames) -> Option<Name> {
    let first = node.ips().next();
    let spelled = || first.and_then(|ip| names.address(ip));
    node.alias
        .clone()
        .or_else(|| node.fqdn.clone())
        .or_else(spelled)
}

/// What tells the instances of a service apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MemberKey {
    /// Name of the node in lower case.
    node: Box<[u8]>,
    id: Box<str>,
}

impl MemberKey {
    fn new(node: &str, id: &str) -> Self {
        Self {
            node: lower(node),
            id: id.into(),
        }
    }
}

/// A passing instance of a service.
#[derive(Debug)]
struct Member {
    endpoint: Arc<Endpoint>,
    /// In lower case.
    tags: BTreeSet<Box<[u8]>>,
}

impl Member {
    /// The address that it has for itself.
    fn own_ip(&self) -> Option<IpAddr> {
        match self.endpoint.host {
            Host::Ip(ip) => Some(ip),
            Host::Node | Host::Alias(_) => None,
        }
    }
}

/// The passing instances of one service. Invariant: the pools are made of the members.
#[derive(Clone, Debug, Default)]
struct Service {
    members: Shards<MemberKey, Arc<Member>>,
    all: Pool,
    by_tag: Shards<Box<[u8]>, Arc<Pool>>,
}

impl Service {
    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Makes an instance another one, or takes it away; returns what it was. The cost does not grow
    /// with the number of instances, but for a reference to each few dozen of them.
    fn set(&mut self, key: MemberKey, member: Option<Arc<Member>>) -> Option<Arc<Member>> {
        let old = match member.clone() {
            Some(member) => self.members.insert(key, member),
            None => self.members.remove(&key),
        };
        if let Some(old) = &old {
            let others = || self.members.values();
            self.all.remove(&old.endpoint, others);
            for tag in &old.tags {
                let Some(mut pool) = self.by_tag.remove(tag) else {
                    continue;
                };
                let tagged = || {
                    self.members
                        .values()
                        .filter(|other| other.tags.contains(tag))
                };
                Arc::make_mut(&mut pool).remove(&old.endpoint, tagged);
                if !pool.endpoints.is_empty() {
                    self.by_tag.insert(tag.clone(), pool);
                }
            }
        }
        if let Some(member) = member {
            self.all.add(&member.endpoint);
            for tag in &member.tags {
                let mut pool = self.by_tag.remove(tag).unwrap_or_default();
                Arc::make_mut(&mut pool).add(&member.endpoint);
                self.by_tag.insert(tag.clone(), pool);
            }
        }
        old
    }

    /// Addresses that instances have for themselves.
    fn own_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.members.values().filter_map(|member| member.own_ip())
    }
}

/// What a prepared query draws from; it may be empty.
#[derive(Debug)]
pub(crate) struct PreparedMatch {
    pub(crate) service: Box<[u8]>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) is_ordered: bool,
    pub(crate) pool: Pool,
}

/// An endpoint that is the same as another one at its node, host and port.
#[derive(Clone, Debug)]
pub(crate) struct Place(pub(crate) Arc<Endpoint>);

impl Place {
    fn parts(&self) -> (*const NodeEntry, &Host, u16) {
        let Endpoint {
            node, host, port, ..
        } = &*self.0;
        (Arc::as_ptr(node), host, *port)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// Instances of a service, or of one tag of it, as lists without duplicates, so that an answer only
/// has to pick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) v4: Bag<Ipv4Addr>,
    pub(crate) v6: Bag<Ipv6Addr>,
    pub(crate) aliases: Bag<Name>,
    pub(crate) endpoints: Bag<Place>,
}

impl Pool {
    fn in_order(endpoints: &[Arc<Endpoint>]) -> Self {
        let all = || endpoints.iter();
        Self {
            v4: Bag::in_order(all().filter_map(|endpoint| endpoint.v4())),
            v6: Bag::in_order(all().filter_map(|endpoint| endpoint.v6())),
            aliases: Bag::in_order(all().filter_map(|endpoint| endpoint.alias().cloned())),
            endpoints: Bag::in_order(all().cloned().map(Place)),
        }
    }

    fn add(&mut self, endpoint: &Arc<Endpoint>) {
        if let Some(ip) = endpoint.v4() {
            self.v4.add(ip);
        }
        if let Some(ip) = endpoint.v6() {
            self.v6.add(ip);
        }
        if let Some(alias) = endpoint.alias() {
            self.aliases.add(alias.clone());
        }
        self.endpoints.add(Place(Arc::clone(endpoint)));
    }

    /// Takes an endpoint away; of the other members one may be at the same place.
    fn remove<'a, I: Iterator<Item = &'a Arc<Member>>>(
        &mut self,
        endpoint: &Arc<Endpoint>,
        others: impl FnOnce() -> I,
    ) {
        if let Some(ip) = endpoint.v4() {
            self.v4.remove(&ip, || None);
        }
        if let Some(ip) = endpoint.v6() {
            self.v6.remove(&ip, || None);
        }
        if let Some(alias) = endpoint.alias() {
            self.aliases.remove(alias, || None);
        }
        let place = Place(Arc::clone(endpoint));
        self.endpoints.remove(&place, || {
            let mut places = others().map(|other| Place(Arc::clone(&other.endpoint)));
            places.find(|other| *other == place)
        });
    }
}

fn lower(text: &str) -> Box<[u8]> {
    text.to_ascii_lowercase().into_bytes().into()
}

/// A host name with or without the final dot; absent when it cannot be a DNS name.
fn host_name(text: &str) -> Option<Name> {
    prepend(&Name::root(), text.strip_suffix('.').unwrap_or(text))
}

/// `text` (one or more labels) in front of `suffix`; absent when the result cannot be a DNS name.
fn prepend(suffix: &Name, text: &str) -> Option<Name> {
    let mut name = suffix.clone();
    for label in text.rsplit('.') {
        if label.is_empty() {
            return None;
        }
        name = name.prepend_label(label.as_bytes()).ok()?;
    }
    Some(name)
}

/// The TXT record of one metadata pair; keys that start with `rfc1035-` carry a bare value.
fn meta_text(key: &str, value: &str) -> TXT {
    let text = if key.starts_with("rfc1035-") {
        value.to_owned()
    } else {
        format!("{key}={value}")
    };
    let strings: Vec<&[u8]> = match text.as_bytes() {
        [] => vec![&[]],
        bytes => bytes.chunks(TXT_STRING_BYTES_MAX).collect(),
    };
    TXT::from_bytes(strings)
}
