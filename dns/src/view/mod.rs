//! The facts an answer is drawn from, indexed for lookup.
//!
//! A view never changes; the next one shares with it what stayed as it was ([`View::with`]).

mod bag;
pub(crate) mod endpoint;
pub mod facts;
pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod pool;
mod reverse;
mod service;
mod shards;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::error::Error;
use crate::name::{Labels, Query, Scope, Zone, parse};
use endpoint::Endpoint;
use facts::{Changes, Facts, Instance, InstanceChange, Kind, Node, PreparedQueries};
use names::{ZoneNames, lower, prepend};
use node::NodeEntry;
use pool::Pool;
use reverse::{Owner, Reverse};
use service::{Member, MemberKey, Service};
use shards::Shards;

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
        if let Some(old) = self.nodes.remove(&*key) {
            self.count_node(&old.datacenter, Zone::leave);
            if let Some(fqdn) = &old.fqdn {
                for ip in old.ips() {
                    self.reverse.remove(ip, Owner::Node, fqdn);
                }
            }
        }
        let Some(node) = node else { return };
        let entry = Arc::new(NodeEntry::new(node, &self.names));
        self.count_node(&entry.datacenter, Zone::enter);
        if let Some(fqdn) = &entry.fqdn {
            for ip in entry.ips() {
                self.reverse.add(ip, Owner::Node, fqdn);
            }
        }
        self.nodes.insert(key, entry);
    }

    /// A node came into a datacenter, or left it.
    fn count_node(&mut self, datacenter: &[u8], change: fn(&mut Zone, &[u8])) {
        if !self.zone.is_own(datacenter) {
            change(Arc::make_mut(&mut self.zone), datacenter);
        }
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

    /// Addresses by which a service is found are no longer those, and now these, each with what the
    /// service's name ends with there.
    fn count_names(&mut self, kind: Kind, service: &str, gone: OwnIps, come: OwnIps) {
        if kind != Kind::Service || gone == come {
            return;
        }
        let service = service.to_ascii_lowercase();
        for (ip, suffix) in gone {
            if let Some(fqdn) = prepend(&suffix, &service) {
                self.reverse.remove(ip, Owner::Service, &fqdn);
            }
        }
        for (ip, suffix) in come {
            if let Some(fqdn) = prepend(&suffix, &service) {
                self.reverse.add(ip, Owner::Service, &fqdn);
            }
        }
    }

    /// Whether a name is none of the zone, and no address spelled as a name.
    pub(crate) fn is_outside(&self, name: &Name) -> bool {
        matches!(parse(&Labels::read(name), &self.zone), Query::Foreign)
    }

    /// Whether a name is that of a prepared query.
    pub(crate) fn is_query(&self, name: &Name) -> bool {
        matches!(
            parse(&Labels::read(name), &self.zone),
            Query::Prepared { .. }
        )
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

    /// The node of that lower-case name, if it is there.
    pub(crate) fn node(&self, name: &[u8], scope: Scope<'_>) -> Option<&NodeEntry> {
        let node = self.nodes.get(name).map(Arc::as_ref);
        node.filter(|node| scope.has(&node.datacenter))
    }

    /// The passing instances there of that lower-case service name, with that lower-case tag if one
    /// is given.
    pub(crate) fn service(
        &self,
        name: &[u8],
        tag: Option<&[u8]>,
        scope: Scope<'_>,
    ) -> Option<&Pool> {
        self.services.get(name)?.pool(tag, scope)
    }

    /// What takes connections of the mesh there for the service of that lower-case name.
    pub(crate) fn mesh(&self, name: &[u8], scope: Scope<'_>) -> Option<&Pool> {
        self.mesh.get(name)?.pool(None, scope)
    }

    /// The gateways there through which the service of that lower-case name is reached.
    pub(crate) fn ingress(&self, name: &[u8], scope: Scope<'_>) -> Option<&Pool> {
        self.ingress.get(name)?.pool(None, scope)
    }

    /// The address that stands for the service of that lower-case name.
    pub(crate) fn virtual_address(&self, name: &[u8]) -> Option<Ipv4Addr> {
        self.virtuals.get(name).copied()
    }

    /// What answers the prepared query of that lower-case name when it is asked there.
    pub(crate) fn prepared(
        &self,
        name: &[u8],
        scope: Scope<'_>,
        seed: u64,
    ) -> Option<PreparedMatch> {
        let queries = self.queries.as_ref()?;
        let datacenter = match scope {
            Scope::Region => None,
            Scope::Datacenter(name) => Some(str::from_utf8(name).ok()?),
        };
        let found = queries.execute(str::from_utf8(name).ok()?, datacenter, seed)?;
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

/// Addresses that instances have for themselves, each with what names end with there.
type OwnIps = Vec<(IpAddr, Name)>;

/// What a prepared query draws from; it may be empty.
#[derive(Debug)]
pub(crate) struct PreparedMatch {
    pub(crate) service: Box<[u8]>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) is_ordered: bool,
    pub(crate) pool: Pool,
}
