//! Catalog to the view that DNS answers are drawn from, changed by what changed in the catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dns::{InstanceChange, Kind};
use jobs::model::Span;
use mesh::{
    gateway,
    model::{INGRESS_GATEWAY, SERVERS, Service, ServiceKey, ServiceName, Status},
    prepared::{self, Asker},
    view::{Instance, Table, View},
};

/// What names are made of besides the catalog.
#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct Zone {
    /// Name of the zone.
    pub domain: String,
    /// Another name of it; empty for none.
    pub alt_domain: String,
    /// Datacenter of this agent.
    pub datacenter: String,
    /// Name of this agent's node.
    pub node: String,
    /// Whether instances in warning are left out.
    pub only_passing: bool,
}

/// The last view, and what it was made of.
#[derive(Clone, Debug)]
pub(super) struct Names {
    zone: Zone,
    last: Option<Last>,
}

#[derive(Clone, Debug)]
struct Last {
    catalog: View,
    view: dns::View,
}

impl Names {
    pub(super) fn new(zone: Zone) -> Self {
        Self { zone, last: None }
    }

    /// The view of a catalog. The first one is made of all of it, the next ones of what changed.
    pub(super) fn next(&mut self, catalog: &View) -> Result<dns::View, dns::Error> {
        let last = match self.last.take() {
            None => Last {
                catalog: catalog.clone(),
                view: dns::View::new(&facts(&self.zone, catalog))?,
            },
            Some(last) => last.next(&self.zone, catalog),
        };
        let view = last.view.clone();
        self.last = Some(last);
        Ok(view)
    }
}

impl Last {
    fn next(self, zone: &Zone, catalog: &View) -> Self {
        let Self {
            catalog: older,
            view,
        } = self;
        let differences = catalog.differences(&older);
        let nodes = &differences.nodes;
        let mut changes = dns::Changes {
            nodes: nodes.iter().map(|name| node_of(catalog, name)).collect(),
            queries: Some(queries(zone, catalog)),
            ..dns::Changes::default()
        };
        let entries = |view: &View| view.table_index(Table::ConfigEntries);
        let mut are_gateways_new = entries(catalog) != entries(&older);
        if are_gateways_new {
            changes.virtuals = Some(virtuals(catalog));
        }
        let mut are_servers_new = !nodes.is_empty();
        for key in &differences.instances {
            let rows = [older.service(key), catalog.service(key)];
            are_gateways_new |= rows
                .into_iter()
                .flatten()
                .any(|row| row.kind() == INGRESS_GATEWAY);
            are_servers_new |= rows.into_iter().flatten().any(|row| row.name == SERVERS);
            changed(zone, key, &older, catalog, &mut changes.instances);
        }
        if are_servers_new {
            changes.servers = Some(servers(catalog));
        }
        if are_gateways_new {
            changes.services.extend(gateways(zone, &older, catalog));
        }
        Self {
            catalog: catalog.clone(),
            view: view.with(&changes),
        }
    }
}

/// What of the names changes with an instance: it leaves the services that it is no longer of, and
/// is told anew of those that it is of.
fn changed(
    zone: &Zone,
    key: &ServiceKey,
    older: &View,
    catalog: &View,
    changes: &mut Vec<InstanceChange>,
) {
    let now = catalog.instance_of(key);
    let services = |row: &Service| {
        let of_mesh = row.takes_mesh_for().map(|name| (Kind::Mesh, lower(name)));
        std::iter::once((Kind::Service, lower(&row.name))).chain(of_mesh)
    };
    let of_now: BTreeSet<_> = now.iter().flat_map(|row| services(&row.service)).collect();
    let of_older = older.service(key);
    let of_older: BTreeSet<_> = of_older.iter().flat_map(|row| services(row)).collect();
    for (kind, service) in of_older.union(&of_now) {
        let is_of = of_now.contains(&(*kind, service.clone()));
        let now = now.as_ref().filter(|_| is_of);
        changes.push(InstanceChange {
            kind: *kind,
            instance: now.and_then(|row| instance(zone, service, row)),
            service: service.clone(),
            node: key.node.to_string(),
            id: key.id.to_string(),
        });
    }
}

fn lower(name: &ServiceName) -> String {
    name.to_ascii_lowercase()
}

/// The facts of a whole catalog.
fn facts(zone: &Zone, catalog: &View) -> dns::Facts {
    let instances = catalog.all_instances();
    let meshed = catalog.mesh_names().flat_map(|name| {
        let rows = catalog.mesh_instances(name).into_iter();
        rows.filter_map(|row| instance(zone, name, &row))
            .collect::<Vec<_>>()
    });
    dns::Facts {
        domain: zone.domain.clone(),
        alt_domain: zone.alt_domain.clone(),
        datacenter: zone.datacenter.clone(),
        nodes: catalog.nodes().map(|row| node(row)).collect(),
        instances: instances
            .filter_map(|row| instance(zone, &row.service.name, &row))
            .collect(),
        mesh: meshed.collect(),
        ingress: ingress(zone, catalog),
        virtuals: virtuals(catalog),
        servers: servers(catalog),
        queries: Some(queries(zone, catalog)),
    }
}

fn virtuals(catalog: &View) -> Vec<(String, std::net::Ipv4Addr)> {
    let all = catalog.virtual_addresses();
    all.map(|(service, address)| (service.to_string(), address))
        .collect()
}

/// The nodes of the servers.
fn servers(catalog: &View) -> Vec<String> {
    let rows = catalog.instances(SERVERS).into_iter();
    rows.map(|row| row.node.name.to_string()).collect()
}

fn node(row: &mesh::model::Node) -> dns::Node {
    let meta = row.meta.iter();
    dns::Node {
        name: row.name.to_string(),
        datacenter: row.datacenter.clone(),
        addresses: vec![row.address.clone()],
        meta: meta
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

/// The node of a name in any case; of several the first.
fn node_of(catalog: &View, name: &str) -> (String, Option<dns::Node>) {
    let mut rows = catalog.nodes();
    let found = rows.find(|row| row.name.eq_ignore_ascii_case(name));
    (name.to_owned(), found.map(|row| node(row)))
}

/// The gateways by the service that they lead to, where they were or are.
fn gateways(zone: &Zone, older: &View, catalog: &View) -> Vec<(Kind, String, Vec<dns::Instance>)> {
    let mut found: BTreeMap<String, Vec<dns::Instance>> = BTreeMap::new();
    for row in ingress(zone, older) {
        found.entry(row.service.to_ascii_lowercase()).or_default();
    }
    for row in ingress(zone, catalog) {
        let of_service = found.entry(row.service.to_ascii_lowercase()).or_default();
        of_service.push(row);
    }
    found
        .into_iter()
        .map(|(name, rows)| (Kind::Ingress, name, rows))
        .collect()
}

fn ingress(zone: &Zone, catalog: &View) -> Vec<dns::Instance> {
    let mut by_service: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for bound in gateway::bindings(catalog, INGRESS_GATEWAY) {
        let services = if bound.service == mesh::intention::ANY {
            let names = catalog.service_tags().into_keys();
            names.map(String::from).collect()
        } else {
            vec![bound.service]
        };
        for service in services {
            let gateways = by_service.entry(service).or_default();
            gateways.insert(bound.gateway.clone());
        }
    }
    let mut found = Vec::new();
    for (service, gateways) in by_service {
        let gateways: Vec<String> = gateways.into_iter().collect();
        let rows = gateway::instances_of(catalog, &gateways);
        found.extend(rows.iter().filter_map(|row| instance(zone, &service, row)));
    }
    found
}

/// An instance that answers for `service`; none for one that DNS may not name. As its users
/// expect, the catalog's DNS answers with instances in warning too.
fn instance(zone: &Zone, service: &str, row: &Instance) -> Option<dns::Instance> {
    let weights = row.service.weights;
    let weight = match row.status {
        Status::Passing => weights.passing,
        Status::Warning if !zone.only_passing => weights.warning,
        Status::Warning | Status::Critical => return None,
    };
    Some(dns::Instance {
        service: service.to_owned(),
        node: row.node.name.to_string(),
        id: row.service.id.to_string(),
        address: row.service.address.clone(),
        port: row.service.port,
        tags: row.service.tags.clone(),
        weight,
        passing: true,
    })
}

/// The prepared queries of a catalog.
#[derive(Debug)]
struct Queries {
    catalog: View,
    /// Name of this agent's node.
    node: String,
}

impl dns::PreparedQueries for Queries {
    fn execute(&self, name: &str, datacenter: Option<&str>, seed: u64) -> Option<dns::Prepared> {
        // What cannot be rendered has no answer.
        let query = prepared::resolve(&self.catalog, name, "").ok()??;
        let near = match query.service.near.as_str() {
            // Whoever asked a resolver is not known.
            "" | "_ip" => None,
            "_agent" => Some(self.node.as_str()),
            node => Some(node),
        };
        // Whether instances in warning answer is what the query says.
        let shown = |row: &Instance| instance(&Zone::default(), &row.service.name, row);
        let asker = Asker {
            near,
            datacenter,
            seed,
        };
        let found = prepared::execute(&self.catalog, &query, asker).instances;
        let ttl = Span::parse(&query.dns.ttl).ok();
        Some(dns::Prepared {
            service: query.service.service.clone(),
            instances: found.iter().filter_map(shown).collect(),
            ttl: ttl.map(Span::to_std),
            is_ordered: near.is_some(),
        })
    }
}

fn queries(zone: &Zone, catalog: &View) -> Arc<dyn dns::PreparedQueries> {
    Arc::new(Queries {
        catalog: catalog.clone(),
        node: zone.node.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::{Name, RecordType};
    use mesh::model::{Check, ConfigKey, Node, Role, Service, Timestamp, Weights};
    use mesh::state::{Command, Deregister, PutConfigEntry, Register, Stamp, State};

    fn service(id: &str, name: &str, role: Option<Role>) -> Service {
        Service {
            id: id.into(),
            name: name.into(),
            port: 80,
            role: role.map(Box::new),
            ..Service::default()
        }
    }

    fn register(service: Service, status: Status) -> Command {
        Command::Register(Box::new(registration(service, status)))
    }

    fn registration(service: Service, status: Status) -> Register {
        let check = Check {
            id: format!("check-{}", service.id).into(),
            service_id: Some(service.id.clone()),
            status,
            ..Check::default()
        };
        Register {
            node: Node {
                name: "One".into(),
                address: "192.0.2.1".to_owned(),
                ..Node::default()
            },
            service: Some(service),
            checks: vec![check],
            ..Register::default()
        }
    }

    fn entry(kind: &str, name: &str, body: &str) -> Command {
        Command::PutConfigEntry(PutConfigEntry {
            key: ConfigKey {
                kind: kind.to_owned(),
                name: name.to_owned(),
            },
            body: body.to_owned(),
            ..PutConfigEntry::default()
        })
    }

    fn ask(view: &dns::View, name: &str) -> Vec<String> {
        ask_for(view, name, RecordType::SRV)
    }

    fn ask_for(view: &dns::View, name: &str, record_type: RecordType) -> Vec<String> {
        let rules = dns::Rules::default();
        let cx = dns::answer::Context {
            rules: &rules,
            room: dns::answer::Room::tcp(),
            seed: 1,
            now: 1,
        };
        let name = Name::from_ascii(name).unwrap();
        let question = dns::answer::Question {
            name: &name,
            record_type,
        };
        let found = dns::answer::answer(view, question, &cx).answers;
        let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.sort();
        found
    }

    /// The status of an instance is the worst of its own checks and those of its node.
    #[test]
    fn what_checks_say_decides_who_answers_and_with_which_weight() {
        use Status::{Critical, Passing, Warning};
        for (own, of_node, only_passing, weight) in [
            (Passing, Passing, false, Some(10)),
            (Warning, Passing, false, Some(2)),
            (Passing, Warning, false, Some(2)),
            (Passing, Critical, false, None),
            (Critical, Passing, false, None),
            (Passing, Passing, true, Some(10)),
            (Warning, Passing, true, None),
            (Passing, Warning, true, None),
        ] {
            let mut state = State::default();
            let mut web = service("web1", "web", None);
            web.weights = Weights {
                passing: 10,
                warning: 2,
            };
            let mut command = registration(web, own);
            command.checks.push(Check {
                id: "of-node".into(),
                status: of_node,
                ..Check::default()
            });
            let at = Stamp {
                index: 1,
                now: Timestamp::default(),
            };
            let command = Command::Register(Box::new(command));
            state.apply(at, command).unwrap();
            let zone = Zone {
                domain: "consul".to_owned(),
                datacenter: "dc1".to_owned(),
                only_passing,
                ..Zone::default()
            };
            let view = Names::new(zone).next(state.current().view()).unwrap();
            let found = ask(&view, "web.service.consul.");
            let expected: Vec<String> = weight
                .iter()
                .map(|weight| {
                    format!("web.service.consul. 0 IN SRV 1 {weight} 80 One.node.dc1.consul.")
                })
                .collect();
            assert_eq!(found, expected, "{own:?} {of_node:?} {only_passing}");
            // The node answers in any case.
            assert_eq!(ask_for(&view, "one.node.consul.", RecordType::A).len(), 1);
        }
    }

    /// After every command the view that follows changes answers as a new one does.
    #[test]
    fn changes_of_the_catalog_lead_where_a_new_view_leads() {
        let proxy = Role {
            kind: "connect-proxy".to_owned(),
            destination: "web".into(),
            ..Role::default()
        };
        let native = Role {
            is_native: true,
            ..Role::default()
        };
        let gateway = Role {
            kind: INGRESS_GATEWAY.to_owned(),
            ..Role::default()
        };
        let gone = |id: &str| {
            Command::Deregister(Deregister {
                node: "One".into(),
                service_id: Some(id.into()),
                ..Deregister::default()
            })
        };
        let bound = r#"{"Listeners":[{"Port":8080,"Services":[{"Name":"web"}]}]}"#;
        let commands = [
            register(service("web1", "web", None), Status::Passing),
            register(service("web2", "Web", None), Status::Warning),
            register(service("web1", "web", None), Status::Critical),
            register(
                service("proxy", "web-proxy", Some(proxy.clone())),
                Status::Passing,
            ),
            register(service("native", "nat", Some(native)), Status::Passing),
            entry(INGRESS_GATEWAY, "gw", bound),
            register(service("gw", "gw", Some(gateway)), Status::Passing),
            entry(INGRESS_GATEWAY, "gw", r#"{"Listeners":[]}"#),
            register(service("proxy", "web-proxy", None), Status::Passing),
            register(service("proxy", "other", Some(proxy)), Status::Critical),
            gone("web2"),
            gone("native"),
            gone("web1"),
        ];
        let zone = Zone {
            domain: "consul".to_owned(),
            datacenter: "dc1".to_owned(),
            ..Zone::default()
        };
        let mut state = State::default();
        let mut names = Names::new(zone.clone());
        let mut answers = BTreeSet::new();
        names.next(state.current().view()).unwrap();
        for (index, command) in (1..).zip(commands) {
            let at = Stamp {
                index,
                now: Timestamp::default(),
            };
            state.apply(at, command).unwrap();
            let catalog = state.current().view();
            let next = names.next(catalog).unwrap();
            let new = Names::new(zone.clone()).next(catalog).unwrap();
            for kind in ["service", "connect", "ingress", "virtual"] {
                for service in ["web", "nat", "web-proxy", "other", "gw"] {
                    let name = format!("{service}.{kind}.consul.");
                    let found = ask(&next, &name);
                    assert_eq!(found, ask(&new, &name), "{index}: {name}");
                    answers.extend(found);
                }
            }
        }
        assert!(answers.len() >= 6, "{answers:?}");
    }
}
