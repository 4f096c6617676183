//! The routing table: built whole from definitions, then only read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::definition::{
    Add, Command, Definition, Delete, Destination, Hold, Options, Rewrite, Rule, Split, Traits,
    Weigh, Weight,
};
use super::glob;
use super::group::{Groups, Member};
use super::limits::Limits;
use super::matcher::{self, Hosts};
use super::meter::Meter;
use super::path::RequestPath;
use super::paths::{PathMatcher, Paths};
use super::picker::{Choice, Picker};
use super::policy::Policy;
use super::problem::{Fault, Problem};
use super::request::Request;
use super::rule::Facts;
use super::scheme::Scheme;
use super::upstream::Upstream;
use super::weight::{self, Share};

/// How hosts and paths of routes are compared with those of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matching {
    /// How paths are compared.
    pub paths: PathMatcher,
    /// Whether hosts may be patterns; else they are plain text.
    pub has_host_globs: bool,
}

impl Default for Matching {
    fn default() -> Matching {
        Matching {
            paths: PathMatcher::Prefix,
            has_host_globs: true,
        }
    }
}

/// All routes. Cheap to look things up in; replaced as a whole when anything changes.
#[derive(Debug, Default)]
pub struct Table {
    http: Sites,
    tcp: Sites,
    upstreams: BTreeMap<UpstreamKey, Arc<Upstream>>,
    /// Upstreams of earlier tables that still had requests in flight when this one was built: if
    /// one of them comes back, its count goes on.
    retired: BTreeMap<UpstreamKey, Arc<Upstream>>,
}

/// Routes of one kind.
#[derive(Debug, Default)]
struct Sites {
    hosts: Hosts,
    /// The hosts as requests over TLS see them, where that makes a difference.
    tls_hosts: Option<Hosts>,
    /// In ascending order of the host.
    sites: Vec<Site>,
}

type UpstreamKey = (String, SocketAddr);

/// The routes of one host key.
#[derive(Debug)]
struct Site {
    host: String,
    paths: Paths,
    /// In ascending order of the path, in parallel with `paths`.
    routes: Vec<Route>,
}

/// A host key and a path prefix, with the targets that share its requests.
#[derive(Debug)]
pub struct Route {
    host: String,
    path: String,
    targets: Vec<Arc<Target>>,
    is_plain: bool,
    is_redirect: bool,
    groups: Groups,
    /// Requests that go to a version, by its number, whatever the shares are.
    rules: Vec<(Rule, Ruled)>,
    policy: Arc<Policy>,
    limits: Arc<Limits>,
    /// The services that are missing on a route that waits for them.
    held: Vec<String>,
}

/// The versions that a rule sends requests to.
#[derive(Debug)]
pub struct Ruled {
    versions: Vec<Version>,
    /// Over the versions.
    ring: Picker,
    rewrite: Option<Arc<Rewrite>>,
}

/// A version by its number, its name and its slots among those of a rule.
#[derive(Clone, Debug)]
struct Version {
    number: u32,
    name: Arc<str>,
    millionths: u64,
}

impl Ruled {
    /// The turns go on where those of `previous` stand.
    fn new(versions: Vec<Version>, rewrite: Option<&Rewrite>, previous: Option<&Ruled>) -> Ruled {
        let shares: Vec<Option<Share>> = versions
            .iter()
            .map(|version| {
                Some(Share {
                    millionths: version.millionths,
                    parts: 1,
                })
            })
            .collect();
        let turns = previous.map(|previous| previous.ring.turns().clone());
        Ruled {
            ring: Picker::new(&weight::slots(&shares), turns.unwrap_or_default()),
            versions,
            rewrite: rewrite.cloned().map(Arc::new),
        }
    }

    /// How they are called; nothing if the shares of the route count.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.versions.iter().map(|version| &*version.name)
    }

    /// Each of them with its part of the requests, 0 to 1.
    pub(super) fn shares(&self) -> impl Iterator<Item = (&str, f64)> {
        let all: u64 = self.versions.iter().map(|version| version.millionths).sum();
        let part = move |own: u64| own as f64 / all.max(1) as f64;
        let versions = self.versions.iter();
        versions.map(move |version| (&*version.name, part(version.millionths)))
    }

    /// How the path of its requests is changed.
    pub fn rewrite(&self) -> Option<&Arc<Rewrite>> {
        self.rewrite.as_ref()
    }

    /// The version whose turn it is, and the others behind it.
    fn turn(&self, choice: Choice) -> impl Iterator<Item = &Version> {
        let first = self.ring.pick(choice);
        let others = (0..self.versions.len()).filter(move |at| Some(*at) != first);
        first.into_iter().chain(others).map(|at| &self.versions[at])
    }
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
    part: Option<Arc<str>>,
    traits: Traits,
    policy: Arc<Policy>,
    meter: Arc<Meter>,
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

    /// The version that it runs; empty if nobody says.
    pub fn version(&self) -> &str {
        &self.traits.version
    }

    /// Whether it gets its share whatever it answers, since somebody else judges it by that.
    pub fn is_judged(&self) -> bool {
        self.traits.is_judged
    }

    /// The version of its service that it belongs to by a split; none without one.
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// What its route asks for.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it was asked, and how it answered.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The path and query of a request as they go on, of what came in, after a rule has changed the
    /// path; `None` if nothing changes.
    pub fn forwarded(
        &self,
        path: &RequestPath<'_>,
        raw: (&str, &str),
        rewrite: Option<&Rewrite>,
    ) -> Option<String> {
        let (raw_path, own) = raw;
        let path = match rewrite.and_then(|rewrite| rewrite.of(path)) {
            Some(changed) => {
                let path = RequestPath::new(&changed).forwarded(&self.options);
                Some(path.unwrap_or(changed))
            }
            None => path.forwarded(&self.options),
        };
        let added = self.destination.query.as_str();
        if path.is_none() && added.is_empty() {
            return None;
        }
        let mut uri = path.unwrap_or_else(|| raw_path.to_owned());
        for (separator, query) in [
            ("?", added),
            (if added.is_empty() { "?" } else { "&" }, own),
        ] {
            if !query.is_empty() {
                uri.push_str(separator);
                uri.push_str(query);
            }
        }
        Some(uri)
    }

    /// Status and place of the answer to a request, if the target is a redirect.
    pub fn redirect(&self, request: &Request<'_>) -> Option<(u16, String)> {
        let redirect = self.destination.redirect.as_ref()?;
        let path = request.path.forwarded(&self.options);
        let path = path.as_deref().unwrap_or_else(|| request.path.sent());
        let host = matcher::without_default_port(request.host, request.is_tls);
        let location = redirect.location(host, path, request.query);
        Some((redirect.status(), location))
    }

    /// Whether it is a redirect that leads a request back to where it came from.
    fn leads_back(&self, request: &Request<'_>) -> bool {
        let Some(redirect) = &self.destination.redirect else {
            return false;
        };
        let is_tls = redirect.scheme() == Scheme::Https;
        let bare = |host: &str| {
            let host = host.to_ascii_lowercase();
            matcher::without_default_port(&host, is_tls).to_owned()
        };
        let path = request.path.forwarded(&self.options);
        let path = path.as_deref().unwrap_or_else(|| request.path.sent());
        let own = matcher::without_default_port(request.host, request.is_tls);
        redirect.scheme() == request.scheme()
            && bare(&redirect.host(own)) == bare(request.host)
            && redirect.path(path) == request.path.sent()
    }

    /// Whether it is an HTTP/1.1 server that takes requests of everybody.
    fn is_plain(&self) -> bool {
        self.destination.scheme == Scheme::Http
            && self.destination.redirect.is_none()
            && !self.options.h2c
            && self.options.access.is_open()
            && self.options.auth.is_none()
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

    /// Whether all its targets are HTTP/1.1 servers that take requests of everybody.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether all its targets are redirects that lead a request back to where it came from.
    fn leads_back(&self, request: &Request<'_>) -> bool {
        self.is_redirect && self.targets.iter().all(|target| target.leads_back(request))
    }

    /// All targets, those without a share too.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// What it asks for.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What bounds its requests.
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// The part of a target in what its version gets, 0 to 1, by its place among the targets.
    pub(super) fn part(&self, at: usize) -> f64 {
        self.groups.part(at)
    }

    /// The services that it waits for, if its targets may come back.
    pub fn held(&self) -> &[String] {
        &self.held
    }

    /// Whether requests may go to one version whatever its share is.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The versions that a rule sends a request to, and the place of the rule.
    pub fn rule(&self, facts: &Facts<'_>) -> Option<(&Ruled, usize)> {
        let mut rules = self.rules.iter().enumerate();
        let (at, (_, ruled)) = rules.find(|(_, (rule, _))| {
            let mut conditions = rule.conditions.iter();
            conditions.all(|condition| condition.holds(facts))
        })?;
        Some((ruled, at))
    }

    /// The target whose turn it is; none if the route waits for its targets.
    pub fn pick(&self, choice: Choice) -> Option<&Arc<Target>> {
        self.pick_where(choice, |_| true)
    }

    /// The target whose turn it is, or another one that is acceptable.
    pub fn pick_where(
        &self,
        choice: Choice,
        acceptable: impl Fn(&Target) -> bool,
    ) -> Option<&Arc<Target>> {
        self.pick_of(None, choice, acceptable)
    }

    /// The target whose turn it is, of a version of a rule if one is given, or another one that is
    /// acceptable: of the same version if there is one.
    pub fn pick_of(
        &self,
        ruled: Option<&Ruled>,
        choice: Choice,
        acceptable: impl Fn(&Target) -> bool,
    ) -> Option<&Arc<Target>> {
        let of_version = |version: &Version| {
            let is_its = |target: &Target| target.part() == Some(&*version.name);
            self.groups.pick(Some(version.number), choice, |at| {
                is_its(&self.targets[at]) && acceptable(&self.targets[at])
            })
        };
        let of_rule = |ruled: &Ruled| ruled.turn(choice).find_map(of_version);
        ruled
            .and_then(of_rule)
            .or_else(|| {
                self.groups
                    .pick(None, choice, |at| acceptable(&self.targets[at]))
            })
            .map(|at| {
                if choice == Choice::LeastConnections {
                    self.least_busy(at, acceptable)
                } else {
                    &self.targets[at]
                }
            })
    }

    /// The acceptable target with the fewest requests in flight for its share, among those of the
    /// same version as the one whose turn it is; that one if none has fewer.
    fn least_busy(&self, turn: usize, acceptable: impl Fn(&Target) -> bool) -> &Arc<Target> {
        let load = |target: &Target| (target.upstream.in_flight() + 1) as f64 / target.share;
        let mut least = (&self.targets[turn], load(&self.targets[turn]));
        let mates = self.groups.mates(turn).map(|at| &self.targets[at]);
        for target in mates.filter(|target| target.share > 0.0) {
            let own = load(target);
            if own < least.1 && acceptable(target) {
                least = (target, own);
            }
        }
        least.0
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
        Table::build_with(Matching::default(), definitions, previous)
    }

    /// [`Table::build`] with another way to compare hosts and paths.
    pub fn build_with(
        matching: Matching,
        definitions: impl IntoIterator<Item = Definition>,
        previous: Option<&Table>,
    ) -> (Table, Vec<Problem>) {
        let mut drafts = Drafts::default();
        let mut problems = Vec::new();
        for definition in definitions {
            match definition.command {
                Command::Add(add) if add.destination.is_nowhere() => {
                    let host = add.destination.name.unwrap_or_default();
                    problems.push(Problem {
                        origin: definition.origin,
                        fault: Fault::NoAddress { host },
                    });
                }
                Command::Add(add) => match check_path(&add, matching) {
                    Ok(()) => drafts.add(*add),
                    Err(fault) => problems.push(Problem {
                        origin: definition.origin,
                        fault,
                    }),
                },
                Command::Delete(delete) => drafts.delete(&delete),
                Command::Weigh(weigh) => {
                    if !drafts.weigh(&weigh) {
                        problems.push(Problem {
                            origin: definition.origin,
                            fault: Fault::NoTarget,
                        });
                    }
                }
                Command::Split(split) => drafts.split(&split),
                Command::Hold(hold) => drafts.hold(hold),
            }
        }
        (
            Builder {
                matching,
                previous,
                upstreams: BTreeMap::new(),
            }
            .table(drafts),
            problems,
        )
    }

    /// The route of a request without TLS: its Host header (any case, with or without a port or a
    /// last dot) and its path.
    pub fn lookup(&self, host: &str, path: &RequestPath<'_>) -> Option<&Route> {
        self.lookup_request(&Request::plain(host, path))
    }

    /// The route of a request. One that would only lead the client back to where it came from is
    /// passed over.
    pub fn lookup_request(&self, request: &Request<'_>) -> Option<&Route> {
        self.http.find(request.host, request.is_tls, |site| {
            let route = &site.routes[site.paths.find(request.path.decoded())?];
            (!route.leads_back(request)).then_some(route)
        })
    }

    /// The route of connections to a listener, by its port.
    pub fn lookup_port(&self, port: u16) -> Option<&Route> {
        self.tcp.route(&format!(":{port}"), "")
    }

    /// The route of connections to an address, of that very address or else of its port.
    pub fn lookup_address(&self, address: SocketAddr) -> Option<&Route> {
        let exact = self.tcp.route(&address.to_string(), "/");
        exact.or_else(|| self.lookup_port(address.port()))
    }

    /// The route of TLS connections for a name (any case, with or without a last dot), which are
    /// passed on as they are. `is_any` takes routes to targets that speak HTTP too.
    pub fn lookup_name(&self, name: &str, is_any: bool) -> Option<&Route> {
        let whole = |site: &'_ Site| -> Option<usize> {
            let path = |route: &Route| route.path.as_str().cmp("/");
            site.routes.binary_search_by(path).ok()
        };
        let tcp = self.tcp.find(name, true, |site| {
            (!site.host.is_empty()).then_some(&site.routes[whole(site)?])
        });
        let has_server = |route: &&Route| !route.is_redirect;
        tcp.or_else(|| {
            let http = self.http.find(name, true, |site| {
                (!site.host.is_empty()).then_some(&site.routes[whole(site)?])
            });
            http.filter(|_| is_any).filter(has_server)
        })
    }

    /// The ports that routes ask to be listened on: of addresses or alone, and only where all
    /// targets are TCP servers.
    pub fn tcp_ports(&self) -> BTreeSet<u16> {
        let is_tcp = |route: &&Route| {
            let mut targets = route.targets.iter();
            targets.all(|target| target.destination.scheme == Scheme::Tcp)
        };
        let routes = self.tcp.sites.iter().flat_map(|site| &site.routes);
        let port = |route: &Route| route.host.rsplit_once(':')?.1.parse().ok();
        routes.filter(is_tcp).filter_map(port).collect()
    }

    /// The route with exactly this host key and path.
    pub fn route(&self, host: &str, path: &str) -> Option<&Route> {
        let http = self.http.route(host, path);
        http.or_else(|| self.tcp.route(host, path))
    }

    /// All routes, hosts ascending, paths of a host in the order in which they are tried; those of
    /// TCP after those of HTTP.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        let sites = self.http.sites.iter().chain(&self.tcp.sites);
        sites.flat_map(|site| site.routes.iter().rev())
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

impl Sites {
    /// Offers the sites whose host matches, in order, until one is taken.
    fn find<'t, R>(
        &'t self,
        host: &str,
        is_tls: bool,
        mut offer: impl FnMut(&'t Site) -> Option<R>,
    ) -> Option<R> {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find(&host.to_ascii_lowercase(), is_tls, offer);
        }
        let whole = matcher::without_last_dot(host);
        let host = matcher::without_default_port(whole.as_deref().unwrap_or(host), is_tls);
        let hosts = self.tls_hosts.as_ref().filter(|_| is_tls);
        let hosts = hosts.unwrap_or(&self.hosts);
        hosts.find(host, |number| offer(&self.sites[number as usize]))
    }

    fn route(&self, host: &str, path: &str) -> Option<&Route> {
        let site = self
            .sites
            .binary_search_by(|site| site.host.as_str().cmp(host));
        let site = &self.sites[site.ok()?];
        let at = site
            .routes
            .binary_search_by(|route| route.path.as_str().cmp(path));
        Some(&site.routes[at.ok()?])
    }
}

/// Checks the path of a route where it is a pattern.
fn check_path(add: &Add, matching: Matching) -> Result<(), Fault> {
    if matching.paths != PathMatcher::Glob {
        return Ok(());
    }
    let compiled = glob::compile(&add.source.path);
    compiled.map(drop).map_err(|reason| Fault::InvalidPattern {
        pattern: add.source.path.clone(),
        reason,
    })
}

/// Targets that are still subject to later commands.
#[derive(Default)]
struct Drafts {
    http: DraftSites,
    tcp: DraftSites,
    /// The number of the last version that was made.
    versions: u32,
}

/// A route that is still subject to later commands.
#[derive(Default)]
struct RouteDraft {
    targets: Vec<Draft>,
    rules: Vec<(Rule, Vec<Version>)>,
    held: Vec<Hold>,
}

/// By host and path.
type DraftSites = BTreeMap<String, BTreeMap<String, RouteDraft>>;

struct Draft {
    add: Add,
    fixed: Option<Share>,
    /// The number of the version that its share is of.
    version: u32,
    part: Option<Arc<str>>,
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
        let is_tcp = add.source.is_port() || add.destination.scheme == Scheme::Tcp;
        let sites = if is_tcp {
            &mut self.tcp
        } else {
            &mut self.http
        };
        let paths = sites.entry(add.source.host.clone()).or_default();
        let drafts = &mut paths.entry(add.source.path.clone()).or_default().targets;
        if !drafts.iter().any(|draft| draft.is_same(&add)) {
            let fixed = add.weight.map(|weight| Share {
                millionths: weight.millionths(),
                parts: 1,
            });
            self.versions += u32::from(fixed.is_some());
            drafts.push(Draft {
                version: if fixed.is_some() { self.versions } else { 0 },
                add,
                fixed,
                part: None,
            });
        }
    }

    fn hold(&mut self, hold: Hold) {
        let paths = self.http.entry(hold.source.host.clone()).or_default();
        let held = &mut paths.entry(hold.source.path.clone()).or_default().held;
        if !held.iter().any(|other| other.service == hold.service) {
            held.push(hold);
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
        let freed = |hold: &Hold| {
            let service = delete.service.as_ref();
            let is_its = service.is_none_or(|service| hold.service == *service);
            let source = delete.source.as_ref();
            is_its && source.is_none_or(|source| hold.source == *source)
        };
        for sites in [&mut self.http, &mut self.tcp] {
            sites.retain(|_, paths| {
                paths.retain(|_, draft| {
                    draft.targets.retain(|draft| !gone(draft));
                    draft.held.retain(|hold| !freed(hold));
                    !draft.targets.is_empty() || !draft.held.is_empty()
                });
                !paths.is_empty()
            });
        }
    }

    /// The matching targets share the weight evenly, so that a canary's part does not depend on how
    /// many instances it has. If none matches, nothing changes (the share stays with the others)
    /// and the answer is `false`.
    fn weigh(&mut self, weigh: &Weigh) -> bool {
        let mut sites = [&mut self.http, &mut self.tcp];
        let is_match = |draft: &Draft| draft.has(weigh.service.as_deref(), &weigh.tags);
        let mut matched = false;
        self.versions += 1;
        let number = self.versions;
        for sites in &mut sites {
            let paths = sites.get_mut(&weigh.source.host);
            let Some(route) = paths.and_then(|paths| paths.get_mut(&weigh.source.path)) else {
                continue;
            };
            let drafts = &mut route.targets;
            let parts = drafts.iter().filter(|draft| is_match(draft)).count() as u64;
            let share = |weight: Weight| Share {
                millionths: weight.millionths(),
                parts,
            };
            for draft in drafts.iter_mut().filter(|draft| is_match(draft)) {
                draft.fixed = weigh.weight.map(share);
                draft.version = if draft.fixed.is_some() { number } else { 0 };
                matched = true;
            }
        }
        matched
    }

    /// Gives the parts of a service their shares on every route that it has.
    fn split(&mut self, split: &Split) {
        let first = self.versions + 1;
        self.versions += u32::try_from(split.parts.len()).unwrap_or(u32::MAX - first);
        let names: Vec<Arc<str>> = split.parts.iter().map(|part| (*part.name).into()).collect();
        let part_of = |draft: &Draft| {
            let mut parts = split.parts.iter();
            parts.position(|part| part.instances.contains(&draft.add.instance))
        };
        let sites = self.http.values_mut().chain(self.tcp.values_mut());
        let routes = sites.flat_map(BTreeMap::values_mut);
        for route in routes {
            if !route
                .targets
                .iter()
                .any(|draft| draft.add.service == split.service)
            {
                continue;
            }
            let mut counts = vec![0; split.parts.len()];
            for at in route.targets.iter().filter_map(part_of) {
                counts[at] += 1;
            }
            for draft in &mut route.targets {
                let Some(at) = part_of(draft) else { continue };
                draft.part = Some(names[at].clone());
                if let Some(millionths) = split.parts[at].millionths {
                    draft.fixed = Some(Share {
                        millionths,
                        parts: counts[at],
                    });
                    draft.version = number(first, at);
                }
            }
            let version = |(at, millionths): &(usize, u64)| {
                Some(Version {
                    number: number(first, *at),
                    name: names.get(*at)?.clone(),
                    millionths: *millionths,
                })
            };
            let rules = split.rules.iter().map(|rule| {
                let versions = rule.parts.iter().filter_map(version).collect();
                (rule.clone(), versions)
            });
            route.rules.extend(rules);
        }
    }
}

fn number(first: u32, at: usize) -> u32 {
    first.saturating_add(u32::try_from(at).unwrap_or(u32::MAX))
}

struct Builder<'a> {
    matching: Matching,
    previous: Option<&'a Table>,
    upstreams: BTreeMap<UpstreamKey, Arc<Upstream>>,
}

impl Builder<'_> {
    fn table(mut self, drafts: Drafts) -> Table {
        let (http, tcp) = (self.sites(drafts.http), self.sites(drafts.tcp));
        let retired = self.retired();
        Table {
            http,
            tcp,
            upstreams: self.upstreams,
            retired,
        }
    }

    fn sites(&mut self, drafts: DraftSites) -> Sites {
        let has_globs = self.matching.has_host_globs;
        let hosts = |is_tls| Hosts::new(drafts.keys().map(String::as_str), is_tls, has_globs);
        let differs = |host: &String| host.ends_with(":80") || host.ends_with(":443");
        let tls_hosts = drafts.keys().any(differs).then(|| hosts(true));
        let hosts = hosts(false);
        let mut sites = Vec::with_capacity(drafts.len());
        for (host, paths) in drafts {
            let index = Paths::new(self.matching.paths, paths.keys().map(String::as_str));
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
        Sites {
            hosts,
            tls_hosts,
            sites,
        }
    }

    fn route(&mut self, host: &str, path: String, draft: RouteDraft) -> Route {
        let RouteDraft {
            targets: drafts,
            rules,
            held,
        } = draft;
        let previous = self.previous.and_then(|table| table.route(host, &path));
        let members: Vec<Member<'_>> = drafts
            .iter()
            .map(|draft| Member {
                version: draft.version,
                share: draft.fixed,
                turns: draft.add.traits.turns,
                key: (&draft.add.instance, draft.add.destination.address),
            })
            .collect();
        let groups = Groups::new(&members, previous.map(|route| &route.groups));
        let rules = rules.into_iter().enumerate().map(|(at, (rule, versions))| {
            let earlier = previous.and_then(|route| route.rules.get(at));
            let earlier = earlier.filter(|(earlier, _)| *earlier == rule);
            let earlier = earlier.map(|(_, ruled)| ruled);
            let ruled = Ruled::new(versions, rule.rewrite.as_ref(), earlier);
            (rule, ruled)
        });
        let rules = rules.collect();
        let mut policy = Policy::default();
        let written = drafts.iter().map(|draft| &draft.add.options.policy);
        for written in written.chain(held.iter().map(|hold| &hold.policy)) {
            policy.complete(written);
        }
        let policy = match previous {
            Some(route) if *route.policy == policy => route.policy.clone(),
            _ => Arc::new(policy),
        };
        let limits = previous.map(|route| route.limits.clone());
        let limits = limits.filter(|limits| limits.suits(policy.rate));
        let targets = (0..).zip(drafts).map(|(at, draft)| {
            let share = groups.share(at);
            Arc::new(self.target(draft, share, &policy, previous))
        });
        let targets: Vec<Arc<Target>> = targets.collect();
        Route {
            host: host.to_owned(),
            path,
            is_plain: targets.iter().all(|target| target.is_plain()),
            is_redirect: !targets.is_empty()
                && targets
                    .iter()
                    .all(|target| target.destination.redirect.is_some()),
            targets,
            groups,
            rules,
            limits: limits.unwrap_or_else(|| Arc::new(Limits::new(policy.rate))),
            policy,
            held: held.into_iter().map(|hold| hold.service).collect(),
        }
    }

    fn target(
        &mut self,
        draft: Draft,
        share: f64,
        policy: &Arc<Policy>,
        previous: Option<&Route>,
    ) -> Target {
        let Add {
            service,
            instance,
            destination,
            tags,
            options,
            traits,
            ..
        } = draft.add;
        let upstream = self.upstream(instance, destination.address);
        let host_header = options.host.as_ref().map(|host| match host.as_str() {
            "dst" => destination.authority(),
            name => name.to_owned(),
        });
        let earlier = previous.and_then(|route| {
            let mut targets = route.targets.iter();
            targets.find(|target| {
                target.upstream.serial() == upstream.serial()
                    && target.service == service
                    && target.traits.version == traits.version
            })
        });
        Target {
            meter: earlier.map_or_else(Arc::default, |target| target.meter.clone()),
            service,
            tags,
            destination,
            options,
            host_header,
            fixed: draft.fixed,
            share,
            part: draft.part,
            traits,
            policy: policy.clone(),
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
