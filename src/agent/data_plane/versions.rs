//! Versions of services: the shares that configuration entries and jobs give them, and the requests
//! that go to one whatever its share is.
//!
//! Where requests go by the entries is the chain of a service: a router picks by the request, a
//! splitter by share, a resolver says which instances are meant and who stands in for them. Beneath
//! that, canaries have the share that the rollout of their deployment gives each of them, or, where
//! nobody decides that, the first of the steps that their job names: their share is the product of
//! both, unless a subset holds canaries only, or none, so that the entries say the share
//! themselves; the job may say that a splitter which does so is ignored. A canary that cannot be
//! used leaves its part to the stable ones.

use jobs::model::{RolloutPolicy, SPLITTER_META, STEPS_META, Share};
use mesh::{
    chain::{self, Chain, HeaderMatch, MatchKind, RouteMatch},
    filter::Filter,
    model::Status,
    split::{is_of_version, splitter_of_versions},
    view::{Instance, View},
    wire::HealthServiceEntry,
};
use proxy::route::{
    Command, Condition, Definition, Destination, Options, Origin, Part, Rewrite, Rule, Split, Test,
    Traits,
};
use std::collections::{BTreeMap, BTreeSet};

/// The key of a service's meta that says what the judge may do.
const JUDGE_META: &str = "rollout_judge";
/// The whole, in millionths.
const WHOLE: u64 = 1_000_000;

/// What the catalog says of versions.
pub(super) struct Versions<'a> {
    catalog: &'a View,
    datacenter: &'a str,
    by_service: BTreeMap<&'a str, Vec<&'a Instance>>,
    /// What cannot be used, in sentences.
    pub(super) problems: Vec<String>,
}

impl<'a> Versions<'a> {
    /// Of a catalog, with its instances that may get requests.
    pub(super) fn new(catalog: &'a View, datacenter: &'a str, instances: &'a [Instance]) -> Self {
        let mut by_service: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
        let alive = instances
            .iter()
            .filter(|instance| instance.status != Status::Critical);
        for instance in alive {
            let name = instance.service.name.as_str();
            by_service.entry(name).or_default().push(instance);
        }
        Self {
            catalog,
            datacenter,
            by_service,
            problems: Vec::new(),
        }
    }

    /// The definitions to carry out after `adds`, the routes of instances; `registered` are those
    /// of instances that get no requests, for which others may stand in.
    pub(super) fn definitions(
        &mut self,
        adds: &[Definition],
        registered: &[Definition],
    ) -> Vec<Definition> {
        let adds: Vec<&Definition> = adds.iter().chain(registered).collect();
        let services: BTreeSet<&str> = adds
            .iter()
            .filter_map(|definition| match &definition.command {
                Command::Add(add) => Some(add.service.as_str()),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        for service in services {
            let split = self.split(service);
            let rewrites = split.rules.iter().any(|rule| rule.rewrite.is_some());
            if split.parts.is_empty() && !rewrites {
                continue;
            }
            let others = split.parts.iter().flat_map(|part| &part.instances);
            let others: BTreeSet<&str> = others.map(String::as_str).collect();
            found.extend(self.stand_ins(service, &others, &adds));
            found.push(Definition {
                origin: Origin::Split {
                    service: service.to_owned(),
                    route: String::new(),
                },
                command: Command::Split(split),
            });
        }
        found
    }

    fn problem(&mut self, service: &str, what: &str) {
        self.problems.push(format!(
            "an entry of service `{service}` is not obeyed: {what}"
        ));
    }

    /// What entries and jobs say of a service; without parts if they say nothing.
    fn split(&mut self, service: &str) -> Split {
        let request = chain::Request {
            service,
            datacenter: self.datacenter,
            trust_domain: "",
            // It has routes, so it speaks so whatever the entries say.
            overrides: chain::Overrides {
                protocol: "http".to_owned(),
                ..chain::Overrides::default()
            },
        };
        let mut split = Split {
            service: service.to_owned(),
            parts: Vec::new(),
            rules: Vec::new(),
        };
        match chain::compile(self.catalog, &request) {
            Ok(chain) => {
                self.add_shares(&chain, &mut split);
                self.add_rules(&chain, &mut split);
            }
            Err(error) => {
                self.problem(service, &error.to_string());
                self.add_rollout(service, &mut split.parts);
            }
        }
        split
    }

    /// The parts that get requests by their share.
    fn add_shares(&mut self, chain: &Chain, split: &mut Split) {
        let shares = chain.shares(&chain.start);
        let is_own = |share: &chain::Share<'_>| {
            let target = share.target;
            target.service == chain.service
                && target.subset.is_empty()
                && target.peer.is_empty()
                && target.datacenter == chain.datacenter
        };
        if let [only] = shares.as_slice()
            && is_own(only)
            && (self.has_instances(&chain.service) || only.failover.is_empty())
            && !fails_over_elsewhere(chain, only)
        {
            self.add_rollout(&chain.service, &mut split.parts);
            return;
        }
        if self.ignores_splitter(&chain.service) {
            return self.add_rollout(&chain.service, &mut split.parts);
        }
        let mut parts = Vec::new();
        for share in &shares {
            let Some(found) = self.parts_of(chain, share) else {
                // A share that leads nowhere would leave the others more than they were given.
                return self.add_rollout(&chain.service, &mut split.parts);
            };
            parts.extend(found);
        }
        for (part, millionths) in parts {
            let at = place(&mut split.parts, part);
            let share = split.parts[at].millionths.get_or_insert(0);
            *share = share.saturating_add(millionths);
        }
    }

    /// Whether a splitter tells the versions of a service apart, and its job says that this is not
    /// to be obeyed.
    fn ignores_splitter(&self, service: &str) -> bool {
        let instances = self.by_service.get(service).into_iter().flatten();
        let mut said = instances.filter_map(|instance| instance.service.meta.get(SPLITTER_META));
        said.any(|said| said == "ignore")
            && splitter_of_versions(self.catalog, self.datacenter, service).is_some()
    }

    /// The shares of canaries and others among the instances of a service of which entries say
    /// nothing.
    fn add_rollout(&mut self, service: &str, parts: &mut Vec<Part>) {
        let instances = self.by_service.get(service).cloned().unwrap_or_default();
        for (name, share, own) in self.rollout(service, &instances) {
            parts.push(Part {
                name: name.to_owned(),
                millionths: Some(share),
                instances: own,
            });
        }
    }

    /// The requests that a router tells apart.
    fn add_rules(&mut self, chain: &Chain, split: &mut Split) {
        let Some((last, routes)) = chain.routes().split_last() else {
            return;
        };
        for route in routes {
            let asked =
                conditions(&route.matches).and_then(|conditions| Ok((conditions, rewrite(route)?)));
            let (conditions, rewrite) = match asked {
                Ok(asked) => asked,
                Err(what) => {
                    self.problem(&chain.service, &what);
                    continue;
                }
            };
            let mut parts = Vec::new();
            if route.next != last.next {
                let shares = chain.shares(&route.next);
                let found: Option<Vec<_>> = shares
                    .iter()
                    .map(|share| self.parts_of(chain, share))
                    .collect();
                let Some(found) = found else { continue };
                for (part, millionths) in found.into_iter().flatten() {
                    parts.push((place(&mut split.parts, part), millionths));
                }
            }
            split.rules.push(Rule {
                conditions,
                parts,
                rewrite,
            });
        }
    }

    fn has_instances(&self, service: &str) -> bool {
        self.by_service
            .get(service)
            .is_some_and(|instances| !instances.is_empty())
    }

    /// The instances that a share means, apart by the steps of their job, with their shares in
    /// millionths. None if it cannot be said which ones are meant.
    fn parts_of(&mut self, chain: &Chain, share: &chain::Share<'_>) -> Option<Vec<(Part, u64)>> {
        let mut found = (share.target, Vec::new());
        let is_local = fails_over_elsewhere(chain, share);
        for target in std::iter::once(share.target).chain(share.failover.iter().copied()) {
            let instances = self.instances(chain, target, is_local)?;
            if !instances.is_empty() {
                found = (target, instances);
                break;
            }
        }
        let (target, instances) = found;
        let name = name(&chain.service, target);
        let millionths = u64::from(share.share) * WHOLE / u64::from(chain::WHOLE_SHARE);
        let versions = self.rollout(&target.service, &instances);
        // Instances of another service are on these routes for what is sent to them only.
        let is_other = target.service != chain.service;
        let part = |name, instances| Part {
            name,
            millionths: is_other.then_some(0),
            instances,
        };
        if versions.is_empty() {
            let own = instances.iter();
            let own = own
                .map(|instance| instance.service.id.to_string())
                .collect();
            return Some(vec![(part(name, own), millionths)]);
        }
        let versions = versions.into_iter().map(|(version, of_it, own)| {
            let part = part(format!("{name}.{version}"), own);
            (part, millionths * of_it / WHOLE)
        });
        Some(versions.collect())
    }

    /// The instances of a target that may get requests; none if its subset cannot be read. Those of
    /// the agent's datacenter are meant only with `is_local`, and otherwise those of the region.
    fn instances(
        &mut self,
        chain: &Chain,
        target: &chain::Target,
        is_local: bool,
    ) -> Option<Vec<&'a Instance>> {
        let is_here = target.datacenter == chain.datacenter;
        let is_known = is_here || self.catalog.has_datacenter(&target.datacenter);
        if !target.peer.is_empty() || !is_known {
            let what = format!("the instances of `{}` are out of reach", target.id);
            self.problem(&chain.service, &what);
            return Some(Vec::new());
        }
        let filter = match target.filter.as_str() {
            "" => None,
            text => match Filter::of::<HealthServiceEntry>(text) {
                Ok(filter) => Some(filter),
                Err(error) => {
                    self.problem(&target.service, &error.to_string());
                    return None;
                }
            },
        };
        let service = target.service.as_str();
        let instances = self.by_service.get(service).into_iter().flatten();
        let is_there = |instance: &Instance| match instance.node.datacenter.as_str() {
            // Of who did not say where it is.
            "" => is_here,
            datacenter => datacenter == target.datacenter || (is_here && !is_local),
        };
        let is_meant = |instance: &&&Instance| {
            let holds = |filter: &Filter| filter.holds(&HealthServiceEntry::from(**instance));
            is_there(instance)
                && filter.as_ref().is_none_or(holds)
                && (!target.only_passing || instance.status == Status::Passing)
                && is_of_version(target, instance)
        };
        Some(instances.filter(is_meant).copied().collect())
    }

    /// The canaries among instances of a service, and the others, with their shares in millionths
    /// that were decided for each canary, or by the first step that the job names. Nothing if there
    /// are not both, or nothing is said.
    fn rollout(
        &mut self,
        service: &str,
        instances: &[&Instance],
    ) -> Vec<(&'static str, u64, BTreeSet<String>)> {
        let is_canary = |instance: &&&Instance| {
            let origin = instance.service.origin.as_ref();
            origin.is_some_and(|origin| origin.canary)
        };
        if !instances.iter().any(|instance| !is_canary(&instance)) {
            return Vec::new();
        }
        let canaries = instances.iter().filter(is_canary);
        let decided: Vec<u64> = canaries
            .filter_map(|instance| decided_share(instance))
            .collect();
        let canary = if decided.is_empty() {
            let steps = instances
                .iter()
                .filter(is_canary)
                .find_map(|instance| instance.service.meta.get(STEPS_META));
            let Some(steps) = steps else {
                return Vec::new();
            };
            match first_step(steps) {
                Some(share) => share,
                None => {
                    self.problems.push(format!(
                        "meta `{STEPS_META}` of service `{service}` is `{steps}`; it must be percents such as `5,25,50`, or `auto`"
                    ));
                    return Vec::new();
                }
            }
        } else {
            decided.iter().sum::<u64>().min(WHOLE)
        };
        let version = |name, share, is_of: &dyn Fn(&Instance) -> bool| {
            let own = instances.iter().filter(|instance| is_of(instance));
            let own = own
                .map(|instance| instance.service.id.to_string())
                .collect();
            (name, share, own)
        };
        let is_left_out =
            |instance: &Instance| is_canary(&&instance) && decided_share(instance) == Some(0);
        let is_stable = |instance: &Instance| !is_canary(&&instance);
        let mut versions = vec![
            version("canary", canary, &|instance| {
                is_canary(&&instance) && (canary == 0 || !is_left_out(instance))
            }),
            version("stable", WHOLE - canary, &is_stable),
        ];
        if canary > 0 && instances.iter().any(|instance| is_left_out(instance)) {
            versions.push(version("left out", 0, &is_left_out));
        }
        versions
    }

    /// Instances of other services, on the routes of a service.
    fn stand_ins(
        &self,
        service: &str,
        wanted: &BTreeSet<&str>,
        adds: &[&Definition],
    ) -> Vec<Definition> {
        let others = self.by_service.iter().filter(|(name, _)| **name != service);
        let others: Vec<&&Instance> = others
            .flat_map(|(_, instances)| instances)
            .filter(|instance| wanted.contains(instance.service.id.as_str()))
            .collect();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for definition in adds {
            let Command::Add(add) = &definition.command else {
                continue;
            };
            if add.service != service || !seen.insert(&add.source) {
                continue;
            }
            for other in &others {
                let (host, port) = (other.address(), other.service.port);
                let destination = Destination::at(host, port, &Options::default());
                let Ok(destination) = destination else {
                    continue;
                };
                let mut add = add.clone();
                add.service = other.service.name.to_string();
                add.instance = other.service.id.to_string();
                add.destination = destination;
                add.weight = None;
                add.tags.clear();
                add.traits = traits(other);
                found.push(Definition {
                    origin: definition.origin.clone(),
                    command: Command::Add(add),
                });
            }
        }
        found
    }
}

/// The share that was decided for a canary, in millionths; less with a warning, as its weights say.
fn decided_share(instance: &Instance) -> Option<u64> {
    let share = u64::from(instance.service.origin.as_ref()?.share?);
    let weights = &instance.service.weights;
    Some(match instance.status {
        Status::Passing => share,
        Status::Warning => {
            let (part, whole) = (u64::from(weights.warning), u64::from(weights.passing));
            share * part.min(whole) / whole.max(1)
        }
        Status::Critical => 0,
    })
}

/// The first of the steps of a job, in millionths; none if it cannot be read.
fn first_step(steps: &str) -> Option<u64> {
    let first = steps.split(',').next().unwrap_or_default().trim();
    let share = if first == "auto" {
        RolloutPolicy::AUTO_STEPS[0]
    } else {
        Share::parse(first).ok()?
    };
    Some(u64::from(share.ten_thousandths()) * 100)
}

/// Whether what a canary answers is judged: it has a share, and nobody wants the judge only to look
/// on.
fn is_judged(instance: &Instance) -> bool {
    let looks_on = instance.service.meta.get(JUDGE_META);
    let looks_on = looks_on.is_some_and(|mode| mode.trim() == "observe");
    !looks_on && decided_share(instance).is_some_and(|share| share > 0)
}

/// Version and turns of an instance, and whether it is judged.
pub(super) fn traits(instance: &Instance) -> Traits {
    let own = instance.service.meta.get("version").cloned();
    let of_job = || {
        let origin = instance.service.origin.as_ref()?;
        Some(format!("v{}", origin.job_version))
    };
    Traits {
        version: own.or_else(of_job).unwrap_or_default(),
        turns: match instance.status {
            Status::Passing => instance.service.weights.passing,
            Status::Warning => instance.service.weights.warning,
            Status::Critical => 0,
        },
        is_judged: is_judged(instance),
    }
}

/// The place of a part among others: of one of its name or with the same instances, or a new one.
fn place(parts: &mut Vec<Part>, part: Part) -> usize {
    let is_same = |known: &Part| known.name == part.name || known.instances == part.instances;
    parts.iter().position(is_same).unwrap_or_else(|| {
        parts.push(part);
        parts.len() - 1
    })
}

/// How the instances of a target are called on the routes of a service.
fn name(own: &str, target: &chain::Target) -> String {
    match (target.service == own, target.subset.is_empty()) {
        (true, true) => "default".to_owned(),
        (true, false) => target.subset.clone(),
        (false, true) => target.service.clone(),
        (false, false) => format!("{}.{}", target.subset, target.service),
    }
}

fn conditions(matches: &RouteMatch) -> Result<Vec<Condition>, String> {
    let mut found = Vec::new();
    let paths = [
        (&matches.path_exact, MatchKind::Exact),
        (&matches.path_prefix, MatchKind::Prefix),
        (&matches.path_regex, MatchKind::Regex),
    ];
    for (text, kind) in paths.into_iter().filter(|(text, _)| !text.is_empty()) {
        let test = test(kind, text, matches.case_insensitive)?;
        found.push(Condition::Path(test));
    }
    for header in &matches.headers {
        let name = header.name.to_ascii_lowercase();
        found.push(wanted(header, |test| Condition::Header(name, test))?);
    }
    for parameter in &matches.query {
        let name = parameter.name.clone();
        found.push(wanted(parameter, |test| Condition::Query(name, test))?);
    }
    if !matches.methods.is_empty() {
        found.push(Condition::Method(matches.methods.clone()));
    }
    Ok(found)
}

/// How a route changes the path.
fn rewrite(route: &chain::Route) -> Result<Option<Rewrite>, String> {
    let replacement = route.prefix_rewrite.as_str();
    if replacement.is_empty() {
        return Ok(None);
    }
    let matches = &route.matches;
    let prefixes = [&matches.path_prefix, &matches.path_exact];
    let prefix = prefixes.into_iter().find(|text| !text.is_empty());
    let prefix = prefix.ok_or("a route that rewrites the prefix needs PathPrefix or PathExact")?;
    let is_path = replacement.starts_with('/')
        && replacement
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if !is_path {
        return Err(format!("PrefixRewrite `{replacement}` is no path"));
    }
    Ok(Some(Rewrite {
        prefix: prefix.clone(),
        ignores_case: matches.case_insensitive,
        replacement: replacement.to_owned(),
    }))
}

fn wanted(
    matches: &HeaderMatch,
    condition: impl FnOnce(Test) -> Condition,
) -> Result<Condition, String> {
    let test = test(matches.kind, &matches.value, matches.ignores_case)?;
    let condition = condition(test);
    Ok(if matches.is_inverted {
        Condition::Not(Box::new(condition))
    } else {
        condition
    })
}

fn test(kind: MatchKind, text: &str, ignores_case: bool) -> Result<Test, String> {
    let test = match kind {
        MatchKind::Present => Test::Present,
        MatchKind::Exact => Test::Exact(text.to_owned()),
        MatchKind::Prefix => Test::Prefix(text.to_owned()),
        MatchKind::Suffix => Test::Suffix(text.to_owned()),
        MatchKind::Contains => Test::Contains(text.to_owned()),
        MatchKind::Regex => Test::like(text)?,
    };
    if ignores_case {
        test.in_any_case()
    } else {
        Ok(test)
    }
}

/// Whether instances of another datacenter stand in for a share, so that those of its own are
/// wanted first.
fn fails_over_elsewhere(chain: &Chain, share: &chain::Share<'_>) -> bool {
    let mut stand_ins = share.failover.iter();
    stand_ins.any(|target| target.peer.is_empty() && target.datacenter != chain.datacenter)
}

#[cfg(test)]
mod tests {
    use mesh::{
        model::{Check, ConfigEntry, ConfigKey, Node, Origin, Service},
        view::Change,
    };
    use proxy::route::{Choice, Facts, RequestPath, Table};
    use std::sync::Arc;

    use super::*;
    use crate::agent::data_plane::routes;

    fn rules(addresses: &crate::agent::data_plane::hosts::Addresses) -> routes::Rules<'_> {
        routes::Rules {
            datacenter: "dc1",
            prefix: proxy::route::tags::PREFIX,
            matching: proxy::route::Matching::default(),
            addresses,
            texts: &[],
        }
    }

    /// A catalog of instances of `web` and of entries.
    struct Catalog {
        view: View,
        index: u64,
    }

    impl Catalog {
        fn new() -> Self {
            let mut catalog = Self {
                view: View::default(),
                index: 0,
            };
            catalog.put(Change::PutNode(Arc::new(Node {
                name: "n1".into(),
                address: "10.0.0.1".into(),
                ..Node::default()
            })));
            catalog
        }

        fn put(&mut self, change: Change) {
            self.index += 1;
            self.view.apply(self.index, change);
        }

        fn instance(&mut self, name: &str, id: &str, change: impl FnOnce(&mut Service)) {
            let mut service = Service {
                id: id.into(),
                node: "n1".into(),
                name: name.into(),
                port: 80 + u16::try_from(self.index).unwrap(),
                tags: vec!["urlprefix-/".into()],
                ..Service::default()
            };
            if name != "web" {
                service.tags.clear();
            }
            change(&mut service);
            self.put(Change::PutService(Arc::new(service)));
        }

        fn check(&mut self, id: &str, status: Status) {
            self.put(Change::PutCheck(Arc::new(Check {
                id: format!("check-{id}").into(),
                node: "n1".into(),
                service_id: Some(id.into()),
                service_name: Some("web".into()),
                status,
                ..Check::default()
            })));
        }

        fn entry(&mut self, kind: &str, name: &str, body: &str) {
            self.put(Change::PutConfigEntry(Arc::new(ConfigEntry {
                key: ConfigKey {
                    kind: kind.into(),
                    name: name.into(),
                },
                body: body.into(),
                ..ConfigEntry::default()
            })));
        }

        fn take_entry(&mut self, kind: &str, name: &str) {
            self.put(Change::RemoveConfigEntry(ConfigKey {
                kind: kind.into(),
                name: name.into(),
            }));
        }

        /// How often each instance gets one of 1000 requests with a header, and the problems.
        fn counts(&self, header: Option<&'static str>) -> (BTreeMap<String, usize>, Vec<String>) {
            let instances: Vec<Instance> = self.view.all_instances().collect();
            let built = routes::build(
                &self.view,
                &instances,
                rules(&Arc::default()),
                &Table::default(),
                (&mut routes::Holding::default(), std::time::Duration::ZERO),
            );
            let path = RequestPath::new("/");
            let route = built.table.lookup("any", &path).expect("a route");
            let value = |name: &str| {
                let header = header.filter(|_| name == "x-canary");
                header.map(str::as_bytes)
            };
            let facts = Facts {
                method: "GET",
                path: b"/",
                query: "",
                header: &value,
            };
            let ruled = route.rule(&facts).map(|(ruled, _)| ruled);
            let mut counts = BTreeMap::new();
            for _ in 0..1000 {
                let target = route.pick_of(ruled, Choice::RoundRobin, |_| true);
                let id = target.expect("a target").instance().to_owned();
                *counts.entry(id).or_insert(0) += 1;
            }
            (counts, built.problems.into_iter().collect())
        }
    }

    fn counted<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
        counts.map(|(id, count)| (id.to_owned(), count)).into()
    }

    fn web() -> Catalog {
        let mut catalog = Catalog::new();
        for (id, version) in [("a", "1"), ("b", "1"), ("c", "2")] {
            catalog.instance("web", id, |service| {
                service.meta.insert("version".into(), version.into());
            });
        }
        catalog.entry(
            "service-resolver",
            "web",
            r#"{"Kind": "service-resolver", "Name": "web", "Subsets": {
                "v1": {"Filter": "Service.Meta.version == 1"}, "v2": {"Filter": "Service.Meta.version == 2"}}}"#,
        );
        catalog
    }

    const SPLITTER: &str = r#"{"Kind": "service-splitter", "Name": "web", "Splits": [
        {"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}]}"#;

    #[test]
    fn a_splitter_gives_subsets_their_shares() {
        let mut catalog = web();
        assert!(
            catalog
                .counts(None)
                .0
                .values()
                .all(|count| (333..=334).contains(count))
        );
        catalog.entry("service-splitter", "web", SPLITTER);
        assert_eq!(
            catalog.counts(None),
            (counted([("a", 450), ("b", 450), ("c", 100)]), vec![])
        );
        // A subset without instances gives its share to the others.
        catalog.check("c", Status::Critical);
        assert_eq!(catalog.counts(None).0, counted([("a", 500), ("b", 500)]));
    }

    #[test]
    fn a_splitter_that_tells_versions_apart_says_their_shares_unless_it_is_ignored() {
        let mut catalog = web();
        let canary = |catalog: &mut Catalog, said: &'static str| {
            catalog.instance("web", "c", |service| {
                service.origin = Some(Origin {
                    canary: true,
                    share: Some(200_000),
                    ..Origin::default()
                });
                let meta = [("version", "2"), (SPLITTER_META, said)];
                service.meta = meta.map(|(key, value)| (key.into(), value.into())).into();
            });
        };
        canary(&mut catalog, "hold");
        assert_eq!(catalog.counts(None).0["c"], 200);
        catalog.entry("service-splitter", "web", SPLITTER);
        assert_eq!(catalog.counts(None).0["c"], 100);
        canary(&mut catalog, "ignore");
        assert_eq!(catalog.counts(None).0["c"], 200);
        // One that does something else is obeyed: 50 of 100 go elsewhere, whatever the version.
        catalog.instance("next", "n", |_| {});
        catalog.entry(
            "service-splitter",
            "web",
            r#"{"Splits": [{"Weight": 50, "Service": "web"}, {"Weight": 50, "Service": "next"}]}"#,
        );
        let (counts, _) = catalog.counts(None);
        assert_eq!((counts["c"], counts["n"]), (100, 500));
    }

    #[test]
    fn every_service_has_the_subsets_of_its_versions() {
        let mut catalog = Catalog::new();
        let canary = |catalog: &mut Catalog, canary: bool| {
            catalog.instance("web", "c", |service| {
                service.origin = Some(Origin {
                    canary,
                    share: canary.then_some(200_000),
                    ..Origin::default()
                });
            });
        };
        catalog.instance("web", "a", |_| {});
        catalog.instance("web", "b", |_| {});
        canary(&mut catalog, true);
        catalog.entry(
            "service-splitter",
            "web",
            r#"{"Splits": [{"Weight": 60, "ServiceSubset": "stable"}, {"Weight": 40, "ServiceSubset": "canary"}]}"#,
        );
        let shares = counted([("a", 300), ("b", 300), ("c", 400)]);
        assert_eq!(catalog.counts(None), (shares, vec![]));
        // After the promotion there is one version.
        canary(&mut catalog, false);
        let (counts, problems) = catalog.counts(None);
        assert_eq!((counts.len(), problems), (3, vec![]));
        catalog.entry(
            "service-splitter",
            "web",
            r#"{"Splits": [{"Weight": 0, "ServiceSubset": "stable"}, {"Weight": 100, "ServiceSubset": "canary"}]}"#,
        );
        assert_eq!(catalog.counts(None).0.len(), 3);
    }

    #[test]
    fn a_splitter_may_name_another_service() {
        let mut catalog = web();
        catalog.instance("next", "n", |_| {});
        catalog.entry(
            "service-splitter",
            "web",
            r#"{"Splits": [{"Weight": 99, "Service": "web"}, {"Weight": 1, "Service": "next"}]}"#,
        );
        let (counts, problems) = catalog.counts(None);
        assert_eq!((counts["n"], counts["a"], problems), (10, 330, vec![]));
    }

    #[test]
    fn a_router_sends_requests_with_a_header_to_a_subset() {
        let mut catalog = web();
        catalog.entry(
            "service-router",
            "web",
            r#"{"Routes": [{"Match": {"HTTP": {"Header": [{"Name": "X-Canary", "Exact": "yes"}]}},
                "Destination": {"ServiceSubset": "v2"}}]}"#,
        );
        assert_eq!(catalog.counts(Some("yes")).0, counted([("c", 1000)]));
        assert_eq!(catalog.counts(Some("no")).0.len(), 3);
        catalog.entry("service-splitter", "web", SPLITTER);
        assert_eq!(catalog.counts(Some("yes")).0, counted([("c", 1000)]));
        assert_eq!(catalog.counts(None).0["c"], 100);
    }

    #[test]
    fn what_cannot_be_obeyed_is_said() {
        let mut catalog = web();
        for (kind, body, expected) in [
            (
                "service-splitter",
                r#"{"Splits": [{"Weight": 100, "ServiceSubset": "v9"}]}"#,
                "does not have a subset named \"v9\"",
            ),
            (
                "service-router",
                r#"{"Routes": [{"Match": {"HTTP": {"PathRegex": "x("}}, "Destination": {"ServiceSubset": "v2"}}]}"#,
                "`x(` is no regular expression",
            ),
            (
                "service-router",
                r#"{"Routes": [{"Match": {"HTTP": {"PathRegex": "/.*"}},
                    "Destination": {"ServiceSubset": "v2", "PrefixRewrite": "/"}}]}"#,
                "needs PathPrefix or PathExact",
            ),
            (
                "service-router",
                r#"{"Routes": [{"Match": {"HTTP": {"PathPrefix": "/a"}},
                    "Destination": {"ServiceSubset": "v2", "PrefixRewrite": "b c"}}]}"#,
                "`b c` is no path",
            ),
        ] {
            catalog.entry(kind, "web", body);
            let (counts, problems) = catalog.counts(None);
            assert_eq!(counts.len(), 3);
            assert!(
                problems.iter().any(|text| text.contains(expected)),
                "{problems:?}"
            );
            catalog.take_entry(kind, "web");
        }
    }

    #[test]
    fn resolvers_and_routers_are_followed_to_their_ends() {
        let mut catalog = web();
        catalog.instance("next", "n", |_| {});
        let resolver = |more: &str| {
            format!(
                r#"{{"Subsets": {{"v1": {{"Filter": "Service.Meta.version == 1"}},
                    "v2": {{"Filter": "Service.Meta.version == 2", "OnlyPassing": true}},
                    "v3": {{"Filter": "Service.Meta.version == 3"}}}}, {more}}}"#
            )
        };
        for (more, expected) in [
            (r#""DefaultSubset": "v2""#, counted([("c", 1000)])),
            (r#""Redirect": {"Service": "next"}"#, counted([("n", 1000)])),
            (
                r#""DefaultSubset": "v3", "Failover": {"v3": {"ServiceSubset": "v2"}}"#,
                counted([("c", 1000)]),
            ),
            (
                r#""DefaultSubset": "v3", "Failover": {"*": {"Service": "next", "ServiceSubset": ""}}"#,
                counted([("n", 1000)]),
            ),
        ] {
            catalog.entry("service-resolver", "web", &resolver(more));
            assert_eq!(catalog.counts(None), (expected, vec![]), "{more}");
        }
        // A subset that wants only passing ones has none, so all of them are asked.
        catalog.entry(
            "service-resolver",
            "web",
            &resolver(r#""DefaultSubset": "v2""#),
        );
        catalog.check("c", Status::Warning);
        assert_eq!(catalog.counts(None).0.len(), 3);
        catalog.check("c", Status::Passing);
        // A router leads to a service that has a splitter of its own.
        catalog.entry(
            "service-resolver",
            "web",
            &resolver(r#""DefaultSubset": """#),
        );
        catalog.entry(
            "service-splitter",
            "next",
            r#"{"Splits": [{"Weight": 75, "Service": "next"}, {"Weight": 25, "Service": "web", "ServiceSubset": "v2"}]}"#,
        );
        catalog.entry(
            "service-router",
            "web",
            r#"{"Routes": [
                {"Match": {"HTTP": {"Header": [{"Name": "x-canary", "Regex": "stay|here"}]}}, "Destination": {"Service": "web"}},
                {"Match": {"HTTP": {"Header": [{"Name": "x-canary", "Exact": "NO", "IgnoreCase": true, "Invert": true}]}},
                 "Destination": {"Service": "next"}}]}"#,
        );
        let split = counted([("c", 250), ("n", 750)]);
        assert_eq!(catalog.counts(Some("yes")), (split, vec![]));
        for stays in ["no", "stay", "here"] {
            let (counts, _) = catalog.counts(Some(stays));
            assert!(counts.len() == 3 && !counts.contains_key("n"), "{counts:?}");
        }
    }

    #[test]
    fn another_service_stands_in_when_all_instances_are_critical() {
        let mut catalog = web();
        catalog.instance("next", "n", |_| {});
        catalog.entry(
            "service-resolver",
            "web",
            r#"{"Failover": {"*": {"Service": "next"}}}"#,
        );
        assert_eq!(catalog.counts(None).0.len(), 3);
        for id in ["a", "b", "c"] {
            catalog.check(id, Status::Critical);
        }
        assert_eq!(catalog.counts(None), (counted([("n", 1000)]), vec![]));
    }

    #[test]
    fn other_datacenters_of_the_region_are_meant_by_name() {
        let mut catalog = web();
        for (node, datacenter) in [("n1", "dc1"), ("n2", "dc2")] {
            catalog.put(Change::PutNode(Arc::new(Node {
                name: node.into(),
                address: "10.0.0.2".into(),
                datacenter: datacenter.into(),
                ..Node::default()
            })));
        }
        catalog.instance("web", "far", |service| service.node = "n2".into());
        let all = [("a", 250), ("b", 250), ("c", 250), ("far", 250)];
        assert_eq!(catalog.counts(None), (counted(all), vec![]));
        let redirect = r#"{"Redirect": {"Datacenter": "dc2"}}"#;
        catalog.entry("service-resolver", "web", redirect);
        assert_eq!(catalog.counts(None), (counted([("far", 1000)]), vec![]));
        // Who names a datacenter to fail over to wants those at hand first.
        let failover = r#"{"Failover": {"*": {"Datacenters": ["dc2"]}}}"#;
        catalog.entry("service-resolver", "web", failover);
        let (counts, problems) = catalog.counts(None);
        assert!(
            counts.len() == 3 && !counts.contains_key("far"),
            "{counts:?}"
        );
        assert!(problems.is_empty(), "{problems:?}");
        for id in ["a", "b", "c"] {
            catalog.check(id, Status::Critical);
        }
        assert_eq!(catalog.counts(None), (counted([("far", 1000)]), vec![]));
        let unknown = r#"{"Redirect": {"Datacenter": "dc9"}}"#;
        catalog.entry("service-resolver", "web", unknown);
        let (_, problems) = catalog.counts(None);
        let told = "the instances of `web.default.default.dc9` are out of reach";
        assert!(problems.concat().contains(told), "{problems:?}");
    }

    #[test]
    fn shares_of_entries_and_of_jobs_are_multiplied() {
        let mut catalog = web();
        catalog.entry("service-splitter", "web", SPLITTER);
        for (id, is_canary) in [("a", false), ("b", true), ("c", true)] {
            catalog.instance("web", id, |service| {
                let version = if id == "c" { "2" } else { "1" };
                service.meta.insert("version".into(), version.into());
                service.meta.insert(STEPS_META.into(), "20".into());
                service.origin = Some(Origin {
                    canary: is_canary,
                    ..Origin::default()
                });
            });
        }
        // 90 of 100 go to the first subset, and 20 of 100 of these to its canary; the second one
        // has canaries only.
        assert_eq!(
            catalog.counts(None),
            (counted([("a", 720), ("b", 180), ("c", 100)]), vec![])
        );
    }

    #[test]
    fn canaries_get_the_first_step_of_their_job() {
        let canary = |is_canary: bool, steps: &'static str| {
            move |service: &mut Service| {
                service.meta.insert(STEPS_META.into(), steps.into());
                service.origin = Some(Origin {
                    canary: is_canary,
                    job_version: u64::from(is_canary),
                    ..Origin::default()
                });
            }
        };
        for (steps, expected) in [
            ("5,25", 50),
            ("auto", 50),
            ("0", 0),
            ("100", 1000),
            ("x", 333),
        ] {
            let mut catalog = Catalog::new();
            catalog.instance("web", "a", canary(false, steps));
            catalog.instance("web", "b", canary(false, steps));
            catalog.instance("web", "c", canary(true, steps));
            let (counts, problems) = catalog.counts(None);
            let count = counts.get("c").copied().unwrap_or_default();
            assert!(count.abs_diff(expected) <= 1, "{steps}: {counts:?}");
            assert_eq!(problems.is_empty(), steps != "x", "{problems:?}");
        }
    }

    #[test]
    fn canaries_get_what_was_decided_for_each() {
        let mut catalog = Catalog::new();
        catalog.instance("web", "a", |_| {});
        for id in ["b", "c"] {
            catalog.instance("web", id, |service| {
                service.meta.insert(STEPS_META.into(), "50".into());
                service.weights.passing = 10;
                service.weights.warning = 1;
                service.origin = Some(Origin {
                    canary: true,
                    share: Some(100_000),
                    ..Origin::default()
                });
            });
        }
        let both = counted([("a", 800), ("b", 100), ("c", 100)]);
        assert_eq!(catalog.counts(None), (both, vec![]));
        // Its weight says what is left of it with a warning.
        catalog.check("c", Status::Warning);
        let warned = counted([("a", 890), ("b", 100), ("c", 10)]);
        assert_eq!(catalog.counts(None).0, warned);
        // What cannot be used leaves its part to the stable one, not to the other canary.
        catalog.check("c", Status::Critical);
        assert_eq!(catalog.counts(None).0, counted([("a", 900), ("b", 100)]));
        catalog.check("c", Status::Passing);
        catalog.instance("web", "b", |service| {
            service.origin = Some(Origin {
                canary: true,
                share: Some(0),
                ..Origin::default()
            });
        });
        // One of them is left out, then both.
        assert_eq!(catalog.counts(None).0, counted([("a", 900), ("c", 100)]));
        catalog.instance("web", "c", |service| {
            service.origin = Some(Origin {
                canary: true,
                share: Some(0),
                ..Origin::default()
            });
        });
        assert_eq!(catalog.counts(None).0, counted([("a", 1000)]));
    }

    #[test]
    fn names_of_targets_are_wanted_and_take_requests_when_they_are_known() {
        let mut catalog = Catalog::new();
        catalog.instance("web", "a", |service| service.address = "A.example".into());
        catalog.instance("web", "b", |service| {
            service.tags = vec!["urlprefix-/ register=shop".into()];
        });
        let instances: Vec<Instance> = catalog.view.all_instances().collect();
        let known = |names: &[(&str, [u8; 4])]| {
            let names = names
                .iter()
                .map(|(name, ip)| ((*name).to_owned(), (*ip).into()));
            let built = routes::build(
                &catalog.view,
                &instances,
                rules(&Arc::new(names.collect())),
                &Table::default(),
                (&mut routes::Holding::default(), std::time::Duration::ZERO),
            );
            let rows = built.table.rows().into_iter().map(|row| row.dst).collect();
            assert_eq!(
                routes::aliases(&built.table),
                BTreeSet::from(["shop".to_owned()])
            );
            (
                rows,
                built.names.into_iter().collect(),
                built.problems.len(),
            )
        };
        let wanted = vec!["a.example".to_owned()];
        let (a, b) = (
            "http://A.example:81/".to_owned(),
            "http://10.0.0.1:82/".to_owned(),
        );
        let found: (Vec<String>, Vec<String>, usize) = known(&[]);
        assert_eq!(found, (vec![b.clone()], wanted.clone(), 1));
        assert_eq!(
            known(&[("a.example", [10, 0, 0, 9])]),
            (vec![a, b], wanted, 0)
        );
    }

    #[test]
    fn health_feeds_weights() {
        let mut catalog = Catalog::new();
        for id in ["a", "b", "c"] {
            catalog.instance("web", id, |service| {
                service.weights.passing = 4;
                service.weights.warning = 1;
            });
        }
        catalog.check("b", Status::Warning);
        assert_eq!(
            catalog.counts(None).0,
            counted([("a", 445), ("b", 111), ("c", 444)])
        );
        catalog.check("b", Status::Critical);
        assert_eq!(catalog.counts(None).0, counted([("a", 500), ("c", 500)]));
    }

    /// Checks of the instance `a` of the node `n1`, each as `OF:STATUS`, and whether it gets
    /// requests: any critical one of its own or of its node, maintenance too, keeps them away. The
    /// original wants one passing check of its own (`in*` and `out*` where that differs).
    const HEALTH: &str = "
        own:passing                                -> in
        own:passing own2:critical                  -> out*
        own:passing own2:warning                   -> in
        own:warning                                -> in*
        own:critical                               -> out
        own:passing serfHealth:critical            -> out
        own:passing serfHealth:warning             -> in
        own:passing _node_maintenance:critical     -> out
        own:passing _service_maintenance:a:critical -> out
        own:passing _service_maintenance:a:passing -> in
        own:passing _service_maintenance:b:critical -> in
        own:passing disk:critical                  -> out*
                                                   -> in*
    ";

    #[test]
    fn who_is_healthy_gets_requests_row_by_row() {
        let rows = HEALTH.lines().map(str::trim).filter(|row| !row.is_empty());
        for row in rows {
            let (checks, expected) = row.split_once("->").unwrap();
            let mut catalog = Catalog::new();
            catalog.put(Change::PutNode(Arc::new(Node {
                name: "n2".into(),
                address: "10.0.0.2".into(),
                ..Node::default()
            })));
            catalog.instance("web", "a", |_| ());
            catalog.instance("web", "other", |service| service.node = "n2".into());
            for check in checks.split_whitespace() {
                let (of, status) = check.rsplit_once(':').unwrap();
                let service = match of.strip_prefix("_service_maintenance:") {
                    Some(id) => id,
                    None if of.starts_with("own") => "a",
                    None => "",
                };
                let status = match status {
                    "passing" => Status::Passing,
                    "warning" => Status::Warning,
                    _ => Status::Critical,
                };
                catalog.put(Change::PutCheck(Arc::new(Check {
                    id: of.into(),
                    node: "n1".into(),
                    service_id: Some(service.into()),
                    status,
                    ..Check::default()
                })));
            }
            let is_in = catalog.counts(None).0.contains_key("a");
            let expected = expected.trim().trim_end_matches('*');
            assert_eq!(if is_in { "in" } else { "out" }, expected, "{row}");
        }
    }
}
