//! Versions of services: the shares that configuration entries and jobs give them, and the requests
//! that go to one whatever its share is.
//!
//! A splitter names subsets of a service, or other services, with their shares; a resolver says
//! which instances are in a subset; a router names requests that go to one. Without a splitter, the
//! first of the steps that a job names in the meta of a service is the share of its canaries.

use mesh::{
    filter::Filter,
    model::{ConfigKey, Status},
    view::{Instance, View},
    wire::HealthServiceEntry,
};
use proxy::route::{
    Command, Condition, Definition, Destination, Origin, Part, Rule, Split, Test, Traits,
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// The key of a service's meta that holds the steps of a canary's share.
const STEPS_META: &str = "rollout_steps";

/// A percent, in millionths.
const PERCENT: f64 = 10_000.0;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Splitter {
    splits: Vec<SplitEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SplitEntry {
    weight: f64,
    service: String,
    service_subset: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Resolver {
    default_subset: String,
    subsets: BTreeMap<String, Subset>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Subset {
    filter: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Router {
    routes: Vec<RouterRoute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RouterRoute {
    #[serde(rename = "Match")]
    matching: Option<Match>,
    destination: Option<SplitEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Match {
    #[serde(rename = "HTTP")]
    http: Option<HttpMatch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HttpMatch {
    path_exact: String,
    path_prefix: String,
    path_regex: String,
    header: Vec<NameMatch>,
    query_param: Vec<NameMatch>,
    methods: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NameMatch {
    name: String,
    present: bool,
    exact: String,
    prefix: String,
    suffix: String,
    contains: String,
    regex: String,
    invert: bool,
}

/// What the catalog says of versions.
pub(super) struct Versions<'a> {
    catalog: &'a View,
    by_service: BTreeMap<&'a str, Vec<&'a Instance>>,
    /// What cannot be used, in sentences.
    pub(super) problems: Vec<String>,
}

impl<'a> Versions<'a> {
    /// Of a catalog, with its instances that may get requests.
    pub(super) fn new(catalog: &'a View, instances: &'a [Instance]) -> Self {
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
            by_service,
            problems: Vec::new(),
        }
    }

    /// The definitions to carry out after `adds`, the routes of instances.
    pub(super) fn definitions(&mut self, adds: &[Definition]) -> Vec<Definition> {
        let services: BTreeSet<&str> = adds
            .iter()
            .filter_map(|definition| match &definition.command {
                Command::Add(add) => Some(add.service.as_str()),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        for service in services {
            let Some(split) = self.split(service) else {
                continue;
            };
            let others = split.parts.iter().flat_map(|part| &part.instances);
            let others: BTreeSet<&str> = others.map(String::as_str).collect();
            found.extend(self.stand_ins(service, &others, adds));
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

    fn entry<T: DeserializeOwned>(&mut self, kind: &str, service: &str) -> Option<T> {
        let key = ConfigKey {
            kind: kind.to_owned(),
            name: service.to_owned(),
        };
        let row = self.catalog.config_entry(&key)?;
        match serde_json::from_str(&row.body) {
            Ok(entry) => Some(entry),
            Err(error) => {
                self.problem(kind, service, &error.to_string());
                None
            }
        }
    }

    fn problem(&mut self, kind: &str, service: &str, what: &str) {
        self.problems.push(format!(
            "the {kind} of service `{service}` is not obeyed: {what}"
        ));
    }

    fn split(&mut self, service: &str) -> Option<Split> {
        let splitter: Option<Splitter> = self.entry("service-splitter", service);
        let mut parts = Vec::new();
        for split in splitter.iter().flat_map(|splitter| &splitter.splits) {
            let mut part = self.part(service, split)?;
            part.millionths = Some((split.weight * PERCENT).round() as u64);
            parts.push(part);
        }
        if splitter.is_none() {
            parts = self.rollout(service);
        }
        let router: Option<Router> = self.entry("service-router", service);
        let mut rules = Vec::new();
        for route in router.into_iter().flat_map(|router| router.routes) {
            let destination = route.destination.unwrap_or_default();
            let http = route.matching.and_then(|matching| matching.http);
            let Some(conditions) = http.map(|http| conditions(&http)) else {
                continue;
            };
            let conditions = match conditions {
                Ok(conditions) => conditions,
                Err(what) => {
                    self.problem("service-router", service, what);
                    continue;
                }
            };
            let wanted = self.part(service, &destination)?;
            let known = parts.iter().position(|part| part.name == wanted.name);
            let part = known.unwrap_or(parts.len());
            if known.is_none() {
                parts.push(wanted);
            }
            rules.push(Rule { conditions, part });
        }
        (!parts.is_empty()).then(|| Split {
            service: service.to_owned(),
            parts,
            rules,
        })
    }

    /// The instances that a split or a route of a router means, without a share.
    fn part(&mut self, own: &str, split: &SplitEntry) -> Option<Part> {
        let service = match split.service.as_str() {
            "" => own,
            other => other,
        };
        let resolver: Option<Resolver> = self.entry("service-resolver", service);
        let resolver = resolver.unwrap_or_default();
        let subset = match split.service_subset.as_str() {
            "" => &resolver.default_subset,
            subset => subset,
        };
        let filter = if subset.is_empty() {
            None
        } else {
            let Some(known) = resolver.subsets.get(subset) else {
                let what = format!("there is no subset `{subset}`");
                self.problem("service-resolver", service, &what);
                return None;
            };
            match known.filter.as_str() {
                "" => None,
                text => match Filter::of::<HealthServiceEntry>(text) {
                    Ok(filter) => Some(filter),
                    Err(error) => {
                        self.problem("service-resolver", service, &error.to_string());
                        return None;
                    }
                },
            }
        };
        let instances = self.by_service.get(service).into_iter().flatten();
        let instances = instances.filter(|instance| {
            let holds = |filter: &Filter| filter.holds(&HealthServiceEntry::from(**instance));
            filter.as_ref().is_none_or(holds)
        });
        let name = match (service == own, subset.is_empty()) {
            (true, true) => "default".to_owned(),
            (true, false) => subset.to_owned(),
            (false, true) => service.to_owned(),
            (false, false) => format!("{subset}.{service}"),
        };
        Some(Part {
            name,
            millionths: None,
            instances: instances
                .map(|instance| instance.service.id.to_string())
                .collect(),
        })
    }

    /// The shares of a service's canaries and of its other instances, by the first step that the
    /// job names; none if there are no canaries or no steps.
    fn rollout(&mut self, service: &str) -> Vec<Part> {
        let instances = self.by_service.get(service).cloned().unwrap_or_default();
        let is_canary = |instance: &&&Instance| {
            let origin = instance.service.origin.as_ref();
            origin.is_some_and(|origin| origin.canary)
        };
        let steps = instances
            .iter()
            .filter(is_canary)
            .find_map(|instance| instance.service.meta.get(STEPS_META));
        let Some(steps) = steps else {
            return Vec::new();
        };
        let first = steps.split(',').next().unwrap_or_default().trim();
        let share = if first == "auto" {
            Some(5.0)
        } else {
            first
                .parse()
                .ok()
                .filter(|share| (0.0..=100.0).contains(share))
        };
        let Some(share): Option<f64> = share else {
            self.problems.push(format!(
                "meta `{STEPS_META}` of service `{service}` is `{steps}`; it must be percents such as `5,25,50`, or `auto`"
            ));
            return Vec::new();
        };
        let canary = (share * PERCENT).round() as u64;
        let part = |name: &str, millionths, of_canary| Part {
            name: name.to_owned(),
            millionths: Some(millionths),
            instances: instances
                .iter()
                .filter(|instance| is_canary(instance) == of_canary)
                .map(|instance| instance.service.id.to_string())
                .collect(),
        };
        vec![
            part("canary", canary, true),
            part("stable", 1_000_000 - canary, false),
        ]
    }

    /// Instances of other services, on the routes of a service.
    fn stand_ins(
        &self,
        service: &str,
        wanted: &BTreeSet<&str>,
        adds: &[Definition],
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
                let Ok(address) = other.address().parse() else {
                    continue;
                };
                let mut add = add.clone();
                add.service = other.service.name.to_string();
                add.instance = other.service.id.to_string();
                add.destination = Destination::http(SocketAddr::new(address, other.service.port));
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

/// Version and turns of an instance.
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
    }
}

fn conditions(http: &HttpMatch) -> Result<Vec<Condition>, &'static str> {
    let mut found = Vec::new();
    if !http.path_regex.is_empty() {
        return Err("regular expressions for paths are not built yet");
    }
    if !http.path_exact.is_empty() {
        found.push(Condition::Path(Test::Exact(http.path_exact.clone())));
    }
    if !http.path_prefix.is_empty() {
        found.push(Condition::Path(Test::Prefix(http.path_prefix.clone())));
    }
    for header in &http.header {
        let name = header.name.to_ascii_lowercase();
        let condition = Condition::Header(name, test(header)?);
        found.push(if header.invert {
            Condition::Not(Box::new(condition))
        } else {
            condition
        });
    }
    for parameter in &http.query_param {
        found.push(Condition::Query(parameter.name.clone(), test(parameter)?));
    }
    if !http.methods.is_empty() {
        found.push(Condition::Method(http.methods.clone()));
    }
    Ok(found)
}

fn test(matching: &NameMatch) -> Result<Test, &'static str> {
    if !matching.regex.is_empty() {
        return Err("regular expressions for headers and parameters are not built yet");
    }
    Ok(if matching.present {
        Test::Present
    } else if !matching.prefix.is_empty() {
        Test::Prefix(matching.prefix.clone())
    } else if !matching.suffix.is_empty() {
        Test::Suffix(matching.suffix.clone())
    } else if !matching.contains.is_empty() {
        Test::Contains(matching.contains.clone())
    } else {
        Test::Exact(matching.exact.clone())
    })
}

#[cfg(test)]
mod tests {
    use mesh::{
        model::{Check, ConfigEntry, Node, Origin, Service},
        view::Change,
    };
    use proxy::route::{Choice, Facts, RequestPath, Table};
    use std::sync::Arc;

    use super::*;
    use crate::agent::data_plane::routes;

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
                service_id: id.into(),
                service_name: "web".into(),
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

        /// How often each instance gets one of 1000 requests with a header, and the problems.
        fn counts(&self, header: Option<&'static str>) -> (BTreeMap<String, usize>, Vec<String>) {
            let instances: Vec<Instance> = self.view.all_instances().collect();
            let built = routes::build(
                &self.view,
                &instances,
                ("dc1", proxy::route::Matching::default()),
                &Table::default(),
                (&mut routes::Holding::default(), std::time::Duration::ZERO),
            );
            let path = RequestPath::new("/");
            let route = built.0.lookup("any", &path).expect("a route");
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
            (counts, built.1.into_iter().collect())
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
                "there is no subset `v9`",
            ),
            (
                "service-router",
                r#"{"Routes": [{"Match": {"HTTP": {"PathRegex": "x+"}}, "Destination": {"ServiceSubset": "v2"}}]}"#,
                "regular expressions",
            ),
        ] {
            catalog.entry(kind, "web", body);
            let (counts, problems) = catalog.counts(None);
            assert_eq!(counts.len(), 3);
            assert!(
                problems.iter().any(|text| text.contains(expected)),
                "{problems:?}"
            );
            catalog.entry(kind, "web", "{}");
        }
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
}
