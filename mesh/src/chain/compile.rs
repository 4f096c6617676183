//! Entries to a chain.
//!
//! Routers come before splitters, splitters before resolvers. Only the router of the service that
//! is asked for counts; splitters of splitters are folded into one; what stands in for a target has
//! nothing that stands in for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::entry::{
    Defaults, Elsewhere, ProxyDefaults, ResolverEntry, RouteEntry, Router, SplitEntry, Splitter,
    read,
};
use super::{
    CONNECT_TIMEOUT, Chain, DEPTH_MAX, Entries, Error, HTTP_LIKE, Request, Resolver, Route,
    STEPS_MAX, Split, Step, Target, Version, WHOLE_SHARE,
};

/// Compiles the chain of a service.
///
/// # Errors
///
/// [`Error`] when the entries do not fit together.
pub fn compile(entries: &dyn Entries, request: &Request<'_>) -> Result<Chain, Error> {
    Compiler {
        entries,
        request,
        protocol: String::new(),
        uses_requests: false,
        steps: BTreeMap::new(),
        targets: BTreeMap::new(),
        open: Vec::new(),
    }
    .run()
}

/// How a service speaks: as its own entry says, or the one for all, or `tcp`.
#[must_use]
pub fn protocol(entries: &dyn Entries, service: &str) -> String {
    let own = read::<Defaults>(entries, "service-defaults", service);
    let own = own.map(|entry| entry.protocol);
    let global = || {
        let entry = read::<ProxyDefaults>(entries, "proxy-defaults", "global");
        entry.map(|entry| entry.config.protocol)
    };
    let said = own.filter(|protocol| !protocol.is_empty()).or_else(global);
    let said = said.filter(|protocol| !protocol.is_empty());
    said.unwrap_or_else(|| "tcp".to_owned())
}

/// A place to go to, before it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    service: String,
    subset: String,
    datacenter: String,
    peer: String,
}

impl Place {
    fn id(&self) -> String {
        let subset = if self.subset.is_empty() {
            String::new()
        } else {
            format!("{}.", self.subset)
        };
        let site = if self.peer.is_empty() {
            self.datacenter.clone()
        } else {
            format!("external.{}", self.peer)
        };
        format!("{subset}{}.default.default.{site}", self.service)
    }

    /// This place with what `other` says otherwise. A subset belongs to its service.
    fn changed(&self, other: &Elsewhere) -> Self {
        let mut place = self.clone();
        if !other.service.is_empty() && other.service != place.service {
            place.service.clone_from(&other.service);
            place.subset.clear();
        }
        if !other.service_subset.is_empty() {
            place.subset.clone_from(&other.service_subset);
        }
        if !other.datacenter.is_empty() {
            place.datacenter.clone_from(&other.datacenter);
        }
        if !other.peer.is_empty() {
            place.peer.clone_from(&other.peer);
            place.datacenter.clear();
        }
        place
    }
}

struct Compiler<'a> {
    entries: &'a dyn Entries,
    request: &'a Request<'a>,
    /// That of the first service that was met.
    protocol: String,
    uses_requests: bool,
    steps: BTreeMap<String, Step>,
    targets: BTreeMap<String, Target>,
    /// Splitters that are being made.
    open: Vec<String>,
}

impl Compiler<'_> {
    fn run(mut self) -> Result<Chain, Error> {
        let service = self.request.service;
        self.record_protocol(service)?;
        let start = self.first_step()?;
        if self.uses_requests && !HTTP_LIKE.contains(&self.protocol.as_str()) {
            return Err(Error::NoRequests {
                chain: service.to_owned(),
                protocol: self.protocol,
            });
        }
        self.fold_splitters()?;
        self.drop_unused(&start);
        let own = self.place(service, "").id();
        let is_default = match self.steps.get(&start) {
            Some(Step::Resolver { resolver, .. }) => resolver.is_default && resolver.target == own,
            _ => false,
        };
        let overrides = &self.request.overrides;
        let is_customized = (!overrides.protocol.is_empty()
            && overrides.protocol != protocol(self.entries, service))
            || !overrides.connect_timeout.is_zero()
            || !overrides.gateway_mode.is_empty();
        Ok(Chain {
            service: service.to_owned(),
            datacenter: self.request.datacenter.to_owned(),
            protocol: self.protocol,
            is_default,
            is_customized,
            start,
            steps: self.steps,
            targets: self.targets,
        })
    }

    fn place(&self, service: &str, subset: &str) -> Place {
        Place {
            service: service.to_owned(),
            subset: subset.to_owned(),
            datacenter: self.request.datacenter.to_owned(),
            peer: String::new(),
        }
    }

    /// Whether the asker's protocol leaves routers and splitters aside.
    fn ignores_requests(&self) -> bool {
        let wanted = self.request.overrides.protocol.as_str();
        !wanted.is_empty() && !HTTP_LIKE.contains(&wanted)
    }

    /// All services of a chain speak alike.
    fn record_protocol(&mut self, service: &str) -> Result<(), Error> {
        let wanted = &self.request.overrides.protocol;
        if !wanted.is_empty() {
            self.protocol.clone_from(wanted);
            return Ok(());
        }
        let has = protocol(self.entries, service);
        if self.protocol.is_empty() {
            self.protocol = has;
        } else if self.protocol != has {
            return Err(Error::Protocols {
                chain: self.request.service.to_owned(),
                service: service.to_owned(),
                has,
                wanted: self.protocol.clone(),
            });
        }
        Ok(())
    }

    fn record(&mut self, name: String, step: Step) -> Result<(), Error> {
        self.steps.insert(name, step);
        self.require_length(self.steps.len(), STEPS_MAX)
    }

    fn require_length(&self, length: usize, length_max: usize) -> Result<(), Error> {
        if length <= length_max {
            return Ok(());
        }
        Err(Error::TooLong {
            chain: self.request.service.to_owned(),
        })
    }

    fn first_step(&mut self) -> Result<String, Error> {
        let service = self.request.service;
        let router = read::<Router>(self.entries, "service-router", service);
        let Some(router) = router.filter(|_| !self.ignores_requests()) else {
            return self.splitter_or_resolver(service);
        };
        self.uses_requests = true;
        let mut routes = Vec::with_capacity(router.routes.len() + 1);
        for definition in router.routes {
            let entry = RouteEntry::read(&definition);
            let to = match entry.destination.service.as_str() {
                "" => service,
                other => other,
            };
            let subset = &entry.destination.service_subset;
            let next = if subset.is_empty() {
                self.splitter_or_resolver(to)?
            } else {
                self.resolver(self.place(to, subset))?
            };
            routes.push(Route {
                matches: entry.matches(),
                prefix_rewrite: entry.destination.prefix_rewrite.clone(),
                definition,
                next,
            });
        }
        let definition = json!({
            "Match": { "HTTP": { "PathPrefix": "/" } },
            "Destination": { "Service": service, "Namespace": "default", "Partition": "default" },
        });
        routes.push(Route {
            matches: RouteEntry::read(&definition).matches(),
            prefix_rewrite: String::new(),
            definition,
            next: self.splitter_or_resolver(service)?,
        });
        let name = format!("router:{service}.default.default");
        self.record(name.clone(), Step::Router { routes })?;
        Ok(name)
    }

    fn splitter_or_resolver(&mut self, service: &str) -> Result<String, Error> {
        let splitter = read::<Splitter>(self.entries, "service-splitter", service);
        let Some(splitter) = splitter.filter(|_| !self.ignores_requests()) else {
            return self.resolver(self.place(service, ""));
        };
        let name = format!("splitter:{service}.default.default");
        if let Some(at) = self.open.iter().position(|open| *open == name) {
            let mut path = self.open.split_off(at);
            path.push(name);
            return Err(Error::Circle { path });
        }
        if self.steps.contains_key(&name) {
            return Ok(name);
        }
        self.uses_requests = true;
        self.record_protocol(service)?;
        self.open.push(name.clone());
        self.require_length(self.open.len(), DEPTH_MAX)?;
        let mut splits = Vec::with_capacity(splitter.splits.len());
        let mut is_balanced = false;
        for definition in splitter.splits {
            let entry = SplitEntry::read(&definition);
            let to = match entry.service.as_str() {
                "" => service,
                other => other,
            };
            let next = if entry.service_subset.is_empty() && to != service {
                self.splitter_or_resolver(to)?
            } else {
                self.resolver(self.place(to, &entry.service_subset))?
            };
            is_balanced |= match self.steps.get(&next) {
                Some(
                    Step::Splitter { load_balancer, .. } | Step::Resolver { load_balancer, .. },
                ) => load_balancer.is_some(),
                _ => false,
            };
            splits.push(Split {
                share: entry.share(),
                definition,
                next,
            });
        }
        self.open.pop();
        let own = is_balanced.then(|| self.resolver_entry(service));
        let load_balancer = own.flatten().and_then(|entry| entry.load_balancer);
        let step = Step::Splitter {
            splits,
            load_balancer,
        };
        self.record(name.clone(), step)?;
        Ok(name)
    }

    fn resolver_entry(&self, service: &str) -> Option<ResolverEntry> {
        read::<ResolverEntry>(self.entries, "service-resolver", service)
    }

    /// The step that leads to a place.
    fn resolver(&mut self, place: Place) -> Result<String, Error> {
        let (place, entry) = self.resolved(place)?;
        let id = self.target(&place, entry.as_ref());
        let name = format!("resolver:{id}");
        if self.steps.contains_key(&name) {
            return Ok(name);
        }
        let is_default = entry.is_none();
        let entry = entry.unwrap_or_default();
        let mut failover = Vec::new();
        let said = entry.failover.get(&place.subset);
        let said = said.or_else(|| entry.failover.get("*"));
        for elsewhere in said.iter().flat_map(|said| said.stand_ins()) {
            let stand_in = place.changed(&elsewhere);
            if stand_in == place {
                continue;
            }
            let (stand_in, entry) = self.resolved(stand_in)?;
            let stand_in = self.target(&stand_in, entry.as_ref());
            if stand_in != id && !failover.contains(&stand_in) {
                failover.push(stand_in);
            }
        }
        let resolver = Resolver {
            is_default,
            connect_timeout: self.connect_timeout(&entry),
            request_timeout: entry.request_timeout,
            target: id,
            failover_policy: said.and_then(|said| said.policy.clone()),
            failover,
        };
        let step = Step::Resolver {
            resolver,
            load_balancer: entry.load_balancer,
        };
        self.record(name.clone(), step)?;
        Ok(name)
    }

    fn connect_timeout(&self, entry: &ResolverEntry) -> Duration {
        let wanted = self.request.overrides.connect_timeout;
        [wanted, entry.connect_timeout]
            .into_iter()
            .find(|timeout| !timeout.is_zero())
            .unwrap_or(CONNECT_TIMEOUT)
    }

    /// Follows redirects and the default subset to where they end.
    fn resolved(&mut self, mut place: Place) -> Result<(Place, Option<ResolverEntry>), Error> {
        let mut path: Vec<String> = Vec::new();
        loop {
            if place.peer.is_empty() {
                self.record_protocol(&place.service)?;
            }
            let entry = self.resolver_entry(&place.service);
            let Some(said) = entry.as_ref().filter(|_| place.peer.is_empty()) else {
                // What a peer has, only the peer knows.
                if place.peer.is_empty() && !has_subset(&ResolverEntry::default(), &place.subset) {
                    return Err(unknown_subset(&place));
                }
                return Ok((place, None));
            };
            if let Some(redirect) = &said.redirect {
                let to = place.changed(redirect);
                if to != place {
                    path.push(place.id());
                    self.require_length(path.len(), DEPTH_MAX)?;
                    if let Some(at) = path.iter().position(|id| *id == to.id()) {
                        let mut path = path.split_off(at);
                        path.push(to.id());
                        return Err(Error::Redirects { path });
                    }
                    place = to;
                    continue;
                }
            }
            if place.subset.is_empty() && !said.default_subset.is_empty() {
                place.subset.clone_from(&said.default_subset);
            }
            if !has_subset(said, &place.subset) {
                return Err(unknown_subset(&place));
            }
            return Ok((place, entry));
        }
    }

    /// Takes note of a target and names it.
    fn target(&mut self, place: &Place, entry: Option<&ResolverEntry>) -> String {
        let id = place.id();
        if self.targets.contains_key(&id) {
            return id;
        }
        let empty = ResolverEntry::default();
        let entry = entry.unwrap_or(&empty);
        let subset = entry.subsets.get(&place.subset);
        let defaults = read::<Defaults>(self.entries, "service-defaults", &place.service);
        let defaults = defaults.unwrap_or_default();
        let external = &defaults.external_sni;
        let target = Target {
            service: place.service.clone(),
            subset: place.subset.clone(),
            filter: subset
                .map(|subset| subset.filter.clone())
                .unwrap_or_default(),
            version: match subset {
                None if place.peer.is_empty() => Version::of_subset(&place.subset),
                _ => None,
            },
            only_passing: subset.is_some_and(|subset| subset.only_passing),
            datacenter: place.datacenter.clone(),
            peer: place.peer.clone(),
            connect_timeout: self.connect_timeout(entry),
            gateway_mode: self.gateway_mode(defaults.mesh_gateway.mode),
            sni: if external.is_empty() {
                self.sni(place)
            } else {
                external.clone()
            },
            is_external: !external.is_empty(),
            id: id.clone(),
        };
        self.targets.insert(id.clone(), target);
        id
    }

    fn gateway_mode(&self, own: String) -> String {
        let wanted = &self.request.overrides.gateway_mode;
        if !wanted.is_empty() {
            return wanted.clone();
        }
        if !own.is_empty() {
            return own;
        }
        let global = read::<ProxyDefaults>(self.entries, "proxy-defaults", "global");
        global
            .map(|entry| entry.mesh_gateway.mode)
            .unwrap_or_default()
    }

    fn sni(&self, place: &Place) -> String {
        if !place.peer.is_empty() {
            return String::new();
        }
        let subset = if place.subset.is_empty() {
            String::new()
        } else {
            format!("{}.", place.subset)
        };
        format!(
            "{subset}{}.default.{}.internal.{}",
            place.service, place.datacenter, self.request.trust_domain
        )
    }

    /// Replaces a part that leads to a splitter by the parts of that one. Inner splitters are
    /// folded first, so once is enough.
    fn fold_splitters(&mut self) -> Result<(), Error> {
        let names: Vec<String> = self.steps.keys().cloned().collect();
        for name in names {
            self.fold(&name)?;
        }
        Ok(())
    }

    fn fold(&mut self, name: &str) -> Result<Vec<Split>, Error> {
        let Some(Step::Splitter { splits, .. }) = self.steps.get(name) else {
            return Ok(Vec::new());
        };
        let mut folded = Vec::with_capacity(splits.len());
        for split in splits.clone() {
            if !matches!(self.steps.get(&split.next), Some(Step::Splitter { .. })) {
                folded.push(split);
                continue;
            }
            for inner in self.fold(&split.next)? {
                let share = u64::from(split.share) * u64::from(inner.share);
                let whole = u64::from(WHOLE_SHARE);
                let share = u32::try_from((share + whole / 2) / whole).unwrap_or(WHOLE_SHARE);
                folded.push(Split { share, ..inner });
            }
            // Each splitter of splitters may double it.
            self.require_length(folded.len(), STEPS_MAX)?;
        }
        if let Some(Step::Splitter { splits, .. }) = self.steps.get_mut(name) {
            splits.clone_from(&folded);
        }
        Ok(folded)
    }

    fn drop_unused(&mut self, start: &str) {
        let mut used = BTreeSet::new();
        let mut targets = BTreeSet::new();
        let mut open = vec![start.to_owned()];
        while let Some(name) = open.pop() {
            let Some(step) = self.steps.get(&name) else {
                continue;
            };
            match step {
                Step::Router { routes } => open.extend(routes.iter().map(|to| to.next.clone())),
                Step::Splitter { splits, .. } => {
                    open.extend(splits.iter().map(|to| to.next.clone()));
                }
                Step::Resolver { resolver, .. } => {
                    targets.insert(resolver.target.clone());
                    targets.extend(resolver.failover.iter().cloned());
                }
            }
            used.insert(name);
        }
        self.steps.retain(|name, _| used.contains(name));
        self.targets.retain(|id, _| targets.contains(id));
    }
}

fn has_subset(entry: &ResolverEntry, name: &str) -> bool {
    name.is_empty() || entry.subsets.contains_key(name) || Version::of_subset(name).is_some()
}

fn unknown_subset(place: &Place) -> Error {
    Error::UnknownSubset {
        service: place.service.clone(),
        subset: place.subset.clone(),
    }
}
