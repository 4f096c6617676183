//! The routing table: built whole from definitions, then only read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::definition::{Add, Command, Definition, Delete, Destination, Options, Weigh, Weight};
use super::matcher::{self, Hosts, PrefixIndex};
use super::path::RequestPath;
use super::picker::{Choice, Picker};
use super::problem::{Fault, Problem};
use super::upstream::Upstream;
use super::weight::{self, Share};

/// All routes. Cheap to look things up in; replaced as a whole when anything changes.
#[derive(Debug, Default)]
pub struct Table {
    hosts: Hosts,
    /// In ascending order of the host.
    sites: Vec<Site>,
    upstreams: BTreeMap<UpstreamKey, Arc<Upstream>>,
    /// Upstreams of earlier tables that still had requests in flight when this one was built: if
    /// one of them comes back, its count goes on.
    retired: BTreeMap<UpstreamKey, Arc<Upstream>>,
}

type UpstreamKey = (String, SocketAddr);

/// The routes of one host key.
#[derive(Debug)]
struct Site {
    host: String,
    paths: PrefixIndex,
    /// In ascending order of the path, in parallel with `paths`.
    routes: Vec<Route>,
}

/// A host key and a path prefix, with the targets that share its requests.
#[derive(Debug)]
pub struct Route {
    host: String,
    path: String,
    targets: Vec<Arc<Target>>,
    picker: Picker,
}

/// A destination of a route.
#[derive(Debug)]
pub struct Target {
    service: String,
    tags: Vec<String>,
    destination: Destination,
    options: Options,
    host_header: Option<String>,
    fixed: Option<Share>,
    share: f64,
    upstream: Arc<Upstream>,
}

impl Target {
    /// The service that it belongs to.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The id of the instance; empty for a target that was written by hand.
    pub fn instance(&self) -> &str {
        self.upstream.instance()
    }

    /// Where its requests go.
    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// The tags of its instance that define no routes.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Its destination as written.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// What to do to requests on their way.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What to send as the Host header instead of the client's.
    pub fn host_header(&self) -> Option<&str> {
        self.host_header.as_deref()
    }

    /// Its part of the route's requests, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The weight that was fixed for it, if any.
    pub fn fixed_weight(&self) -> Option<f64> {
        self.fixed
            .map(|share| share.millionths as f64 / 1_000_000.0 / share.parts as f64)
    }

    /// The server behind it, with the count of requests in flight.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}

impl Route {
    /// The host key; empty if the route takes any host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path prefix.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// All targets, those without a share too.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// The target whose turn it is. There is one on every route of a table that was built from
    /// definitions.
    pub fn pick(&self, choice: Choice) -> Option<&Arc<Target>> {
        self.picker.pick(choice).map(|at| &self.targets[at])
    }

    /// The target whose turn it is, or the next one behind it that is acceptable.
    pub fn pick_where(
        &self,
        choice: Choice,
        acceptable: impl Fn(&Target) -> bool,
    ) -> Option<&Arc<Target>> {
        self.picker
            .pick_where(choice, |at| acceptable(&self.targets[at]))
            .map(|at| &self.targets[at])
    }
}

impl Table {
    /// Carries out definitions in order. One that finds nothing to act on is reported; the rest
    /// stays in force.
    ///
    /// `previous` is the table that is in force: its turns and in-flight counts go on in the new
    /// one.
    pub fn build(
        definitions: impl IntoIterator<Item = Definition>,
        previous: Option<&Table>,
    ) -> (Table, Vec<Problem>) {
        let mut drafts = Drafts::default();
        let mut problems = Vec::new();
        for definition in definitions {
            match definition.command {
                Command::Add(add) => drafts.add(add),
                Command::Delete(delete) => drafts.delete(&delete),
                Command::Weigh(weigh) => {
                    if !drafts.weigh(&weigh) {
                        problems.push(Problem {
                            origin: definition.origin,
                            fault: Fault::NoTarget,
                        });
                    }
                }
            }
        }
        (
            Builder {
                previous,
                upstreams: BTreeMap::new(),
            }
            .table(drafts),
            problems,
        )
    }

    /// The route of a request: its Host header (any case, with or without a port or a last dot) and
    /// its path.
    pub fn lookup(&self, host: &str, path: &RequestPath<'_>) -> Option<&Route> {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.lookup(&host.to_ascii_lowercase(), path);
        }
        if let Some(host) = matcher::without_last_dot(host) {
            return self.lookup(&host, path);
        }
        self.hosts
            .find(matcher::without_default_port(host), |number| {
                let site = &self.sites[number as usize];
                site.paths
                    .matches(path.decoded())
                    .next()
                    .map(|at| &site.routes[at])
            })
    }

    /// The route with exactly this host key and path prefix.
    pub fn route(&self, host: &str, path: &str) -> Option<&Route> {
        let site = &self.sites[self
            .sites
            .binary_search_by(|site| site.host.as_str().cmp(host))
            .ok()?];
        let at = site
            .routes
            .binary_search_by(|route| route.path.as_str().cmp(path))
            .ok()?;
        Some(&site.routes[at])
    }

    /// All routes, hosts ascending, paths of a host in the order in which they are tried.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.sites.iter().flat_map(|site| site.routes.iter().rev())
    }

    /// Every server that requests of this table may go to, once.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }

    /// Servers of earlier tables that may still have requests in flight.
    pub fn retired(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.retired.values()
    }

    /// Whether requests of this table may go to that very upstream.
    pub fn has_upstream(&self, upstream: &Upstream) -> bool {
        // The key is only borrowed for the comparison; tables are swapped far less often than read.
        let key = (upstream.instance().to_owned(), upstream.address());
        self.upstreams
            .get(&key)
            .is_some_and(|own| own.serial() == upstream.serial())
    }
}

/// Targets that are still subject to later commands.
#[derive(Default)]
struct Drafts {
    sites: BTreeMap<String, BTreeMap<String, Vec<Draft>>>,
}

struct Draft {
    add: Add,
    fixed: Option<Share>,
}

impl Draft {
    fn is_same(&self, add: &Add) -> bool {
        self.add.destination.url == add.destination.url
            && self.add.instance == add.instance
            && self.add.weight == add.weight
            && self.add.service == add.service
            && self.add.tags == add.tags
    }

    fn has(&self, service: Option<&str>, tags: &[String]) -> bool {
        service.is_none_or(|service| self.add.service == service)
            && tags.iter().all(|tag| self.add.tags.contains(tag))
    }
}

impl Drafts {
    fn add(&mut self, add: Add) {
        let paths = self.sites.entry(add.source.host.clone()).or_default();
        let drafts = paths.entry(add.source.path.clone()).or_default();
        if !drafts.iter().any(|draft| draft.is_same(&add)) {
            let fixed = add.weight.map(|weight| Share {
                millionths: weight.millionths(),
                parts: 1,
            });
            drafts.push(Draft { add, fixed });
        }
    }

    fn delete(&mut self, delete: &Delete) {
        let gone = |draft: &Draft| {
            draft.has(delete.service.as_deref(), &delete.tags)
                && delete
                    .source
                    .as_ref()
                    .is_none_or(|source| draft.add.source == *source)
                && delete
                    .destination
                    .as_ref()
                    .is_none_or(|url| draft.add.destination.url == *url)
        };
        self.sites.retain(|_, paths| {
            paths.retain(|_, drafts| {
                drafts.retain(|draft| !gone(draft));
                !drafts.is_empty()
            });
            !paths.is_empty()
        });
    }

    /// The matching targets share the weight evenly, so that a canary's part does not depend on how
    /// many instances it has. If none matches, nothing changes (the share stays with the others)
    /// and the answer is `false`.
    fn weigh(&mut self, weigh: &Weigh) -> bool {
        let paths = self.sites.get_mut(&weigh.source.host);
        let Some(drafts) = paths.and_then(|paths| paths.get_mut(&weigh.source.path)) else {
            return false;
        };
        let is_match = |draft: &Draft| draft.has(weigh.service.as_deref(), &weigh.tags);
        let parts = drafts.iter().filter(|draft| is_match(draft)).count() as u64;
        let share = |weight: Weight| Share {
            millionths: weight.millionths(),
            parts,
        };
        for draft in drafts.iter_mut().filter(|draft| is_match(draft)) {
            draft.fixed = weigh.weight.map(share);
        }
        parts > 0
    }
}

struct Builder<'a> {
    previous: Option<&'a Table>,
    upstreams: BTreeMap<UpstreamKey, Arc<Upstream>>,
}

impl Builder<'_> {
    fn table(mut self, drafts: Drafts) -> Table {
        let hosts = Hosts::new(drafts.sites.keys().map(String::as_str));
        let mut sites = Vec::with_capacity(drafts.sites.len());
        for (host, paths) in drafts.sites {
            let index = PrefixIndex::new(paths.keys().map(|path| path.as_bytes().into()));
            let routes = paths
                .into_iter()
                .map(|(path, drafts)| self.route(&host, path, drafts))
                .collect();
            sites.push(Site {
                host,
                paths: index,
                routes,
            });
        }
        let retired = self.retired();
        Table {
            hosts,
            sites,
            upstreams: self.upstreams,
            retired,
        }
    }

    fn route(&mut self, host: &str, path: String, drafts: Vec<Draft>) -> Route {
        let shares: Vec<Option<Share>> = drafts.iter().map(|draft| draft.fixed).collect();
        let slots = weight::slots(&shares);
        let total = slots.iter().sum::<u64>().max(1) as f64;
        let turns = self
            .previous
            .and_then(|table| table.route(host, &path))
            .map(|route| route.picker.turns().clone());
        let targets = drafts
            .into_iter()
            .zip(&slots)
            .map(|(draft, slots)| self.target(draft, *slots as f64 / total));
        let targets = targets.map(Arc::new).collect();
        Route {
            host: host.to_owned(),
            path,
            targets,
            picker: Picker::new(&slots, turns.unwrap_or_default()),
        }
    }

    fn target(&mut self, draft: Draft, share: f64) -> Target {
        let Add {
            service,
            instance,
            destination,
            tags,
            options,
            ..
        } = draft.add;
        let upstream = self.upstream(instance, destination.address);
        let host_header = options.host.as_ref().map(|host| match host.as_str() {
            "dst" => destination.address.to_string(),
            name => name.to_owned(),
        });
        Target {
            service,
            tags,
            destination,
            options,
            host_header,
            fixed: draft.fixed,
            share,
            upstream,
        }
    }

    fn upstream(&mut self, instance: String, address: SocketAddr) -> Arc<Upstream> {
        let previous = self.previous;
        let key = (instance, address);
        if let Some(known) = self.upstreams.get(&key) {
            return known.clone();
        }
        let earlier = previous.and_then(|table| {
            table
                .upstreams
                .get(&key)
                .or_else(|| table.retired.get(&key))
                .cloned()
        });
        let upstream = earlier.unwrap_or_else(|| Arc::new(Upstream::new(&key.0, address)));
        self.upstreams.insert(key, upstream.clone());
        upstream
    }

    /// The upstreams of the table before that this one does not have. Those of its own targets are
    /// kept even if they are idle now, since that table is still in force; older ones only as long
    /// as they are not.
    fn retired(&self) -> BTreeMap<UpstreamKey, Arc<Upstream>> {
        let Some(previous) = self.previous else {
            return BTreeMap::new();
        };
        let busy = previous
            .retired
            .iter()
            .filter(|(_, old)| old.in_flight() > 0);
        let candidates = busy.chain(&previous.upstreams);
        let gone = candidates.filter(|(key, _)| !self.upstreams.contains_key(key));
        gone.map(|(key, old)| (key.clone(), old.clone())).collect()
    }
}
