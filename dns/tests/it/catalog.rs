//! Facts and rules as text, one line each, for transcripts and tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dns::{Facts, Instance, Node, Prepared, PreparedQueries, Rules};

/// What the lines of a scenario have set up so far.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) facts: Facts,
    pub(crate) rules: Rules,
    queries: BTreeMap<String, Prepared>,
}

/// The prepared queries of a scenario by name.
#[derive(Debug)]
struct Queries(BTreeMap<String, Prepared>);

impl PreparedQueries for Queries {
    /// `NAME@DATACENTER` is what the query finds there.
    fn execute(&self, name: &str, datacenter: Option<&str>, _seed: u64) -> Option<Prepared> {
        let there = datacenter.and_then(|datacenter| self.0.get(&format!("{name}@{datacenter}")));
        there.or_else(|| self.0.get(name)).cloned()
    }
}

impl Scenario {
    pub(crate) fn new() -> Self {
        let facts = Facts {
            domain: "consul.".to_owned(),
            datacenter: "dc1".to_owned(),
            ..Facts::default()
        };
        Self {
            facts,
            rules: Rules::default(),
            queries: BTreeMap::new(),
        }
    }

    /// Reads `query NAME SERVICE [ttl=SECONDS] [ordered]`: it finds what instances of the service
    /// there are by then.
    fn query(&mut self, name: &str, service: &str, options: &[&str]) {
        let instances = self.facts.instances.iter();
        let of_service = instances.filter(|instance| instance.service == service);
        let ttl = options
            .iter()
            .find_map(|option| option.strip_prefix("ttl="));
        let found = Prepared {
            service: service.to_owned(),
            instances: of_service.cloned().collect(),
            ttl: ttl.map(|ttl| Duration::from_secs(ttl.parse().unwrap())),
            is_ordered: options.contains(&"ordered"),
        };
        self.queries.insert(name.to_owned(), found);
        self.facts.queries = Some(Arc::new(Queries(self.queries.clone())));
    }

    /// Reads one line; false if it sets nothing up.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["domain", domain] => self.facts.domain = (*domain).to_owned(),
            ["alt_domain", domain] => self.facts.alt_domain = (*domain).to_owned(),
            ["datacenter", datacenter] => self.facts.datacenter = (*datacenter).to_owned(),
            ["server", name] => self.facts.servers.push((*name).to_owned()),
            ["node", node @ ..] => self.facts.nodes.push(self::node("", node)),
            ["in", datacenter, "node", node @ ..] => {
                self.facts.nodes.push(self::node(datacenter, node));
            }
            ["instance", service, node, place, options @ ..] => {
                self.facts
                    .instances
                    .push(instance(service, node, place, options));
            }
            ["mesh", service, node, place, options @ ..] => {
                let instance = instance(service, node, place, options);
                self.facts.mesh.push(instance);
            }
            ["ingress", service, node, place, options @ ..] => {
                let instance = instance(service, node, place, options);
                self.facts.ingress.push(instance);
            }
            ["virtual", service, address] => {
                let virtuals = &mut self.facts.virtuals;
                virtuals.push(((*service).to_owned(), address.parse().unwrap()));
            }
            ["query", name, service, options @ ..] => self.query(name, service, options),
            ["rule", rule] => self.rule(&split(rule)),
            _ => return false,
        }
        true
    }

    fn rule(&mut self, (key, value): &(String, String)) {
        let number = || value.parse::<u64>().unwrap();
        let rules = &mut self.rules;
        match key.as_str() {
            "node_ttl" => rules.node_ttl = Duration::from_secs(number()),
            "min_ttl" => rules.soa.min_ttl = Duration::from_secs(number()),
            "udp_answer_limit" => rules.udp_answer_limit = usize::try_from(number()).unwrap(),
            "a_record_limit" => rules.a_record_limit = usize::try_from(number()).unwrap(),
            "enable_truncate" => rules.enable_truncate = value == "true",
            "node_meta_txt" => rules.node_meta_txt = value == "true",
            _ => {
                let service = key.strip_prefix("service_ttl.").expect("a known rule");
                rules
                    .service_ttl
                    .insert(service.to_owned(), Duration::from_secs(number()));
            }
        }
    }
}

/// Reads `NAME ADDRESS[,ADDRESS…] [KEY=VALUE…]`.
fn node(datacenter: &str, words: &[&str]) -> Node {
    let [name, addresses, meta @ ..] = words else {
        panic!("not a node: {words:?}");
    };
    Node {
        name: (*name).to_owned(),
        datacenter: datacenter.to_owned(),
        addresses: addresses.split(',').map(str::to_owned).collect(),
        meta: meta.iter().map(|pair| split(pair)).collect(),
    }
}

/// `place` is `ADDRESS:PORT`, with nothing before the colon for the node's address.
fn instance(service: &str, node: &str, place: &str, options: &[&str]) -> Instance {
    let (address, port) = place.rsplit_once(':').expect("ADDRESS:PORT");
    let mut instance = Instance {
        service: service.to_owned(),
        node: node.to_owned(),
        id: format!("{place} {options:?}"),
        address: address.to_owned(),
        port: port.parse().unwrap(),
        tags: Vec::new(),
        weight: 1,
        passing: true,
    };
    for option in options {
        match option.split_once('=') {
            Some(("tags", tags)) => instance.tags = tags.split(',').map(str::to_owned).collect(),
            Some(("weight", weight)) => instance.weight = weight.parse().unwrap(),
            _ if *option == "critical" => instance.passing = false,
            _ => panic!("unknown option: {option}"),
        }
    }
    instance
}

fn split(pair: &str) -> (String, String) {
    let (key, value) = pair.split_once('=').expect("KEY=VALUE");
    (key.to_owned(), value.to_owned())
}
