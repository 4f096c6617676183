//! A view that was made step by step answers as one that was made at once.

use dns::answer::{Context, Question, Room, answer};
use dns::{Changes, Facts, Instance, InstanceChange, Kind, Node, Rules, View};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;

const NODES: [&str; 3] = ["n0", "n1", "N2"];
const SERVICES: [&str; 3] = ["web", "db", "api"];
/// That of the zone, as it is said and unsaid, and others.
const DATACENTERS: [&str; 4] = ["", "dc1", "dc2", "Dc3"];

/// One step: a node with or without an address and where it is, which tells of its instances one by
/// one or of whole services; the instances of a service; or one of them.
#[derive(Debug, Clone)]
enum Step {
    Node(usize, Option<(u8, usize)>, bool),
    Service(Kind, usize, Vec<(usize, u8, bool)>),
    Instance(Kind, usize, usize, (usize, u8, bool), bool),
    Virtual(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![
        Kind::Service,
        Kind::Service,
        Kind::Mesh,
        Kind::Ingress,
    ]);
    let instance = (0..NODES.len(), 0..4_u8, any::<bool>());
    prop_oneof![
        (
            0..NODES.len(),
            prop::option::of((0..4_u8, 0..DATACENTERS.len())),
            any::<bool>()
        )
            .prop_map(|(node, place, one_by_one)| Step::Node(node, place, one_by_one)),
        (
            kind.clone(),
            0..SERVICES.len(),
            0..4_usize,
            instance.clone(),
            any::<bool>()
        )
            .prop_map(|(kind, service, id, row, is_there)| {
                Step::Instance(kind, service, id, row, is_there)
            }),
        (
            kind,
            0..SERVICES.len(),
            prop::collection::vec(instance, 0..4)
        )
            .prop_map(|(kind, service, instances)| Step::Service(kind, service, instances)),
        (0..SERVICES.len(), 1..4_u8).prop_map(|(service, ip)| Step::Virtual(service, ip)),
    ]
}

fn instance(service: &str, id: usize, (node, own, passing): (usize, u8, bool)) -> Instance {
    Instance {
        service: service.to_owned(),
        node: NODES[node].to_owned(),
        id: id.to_string(),
        // Some at their node's address, some at one that nodes have too.
        address: if own == 0 {
            String::new()
        } else {
            format!("10.0.0.{own}")
        },
        port: 80,
        tags: vec![format!("t{own}")],
        weight: 1,
        passing,
    }
}

/// That the instance of this service, node and id is `now` so.
fn changed(kind: Kind, row: &Instance, now: Option<Instance>) -> InstanceChange {
    InstanceChange {
        kind,
        // The case does not matter.
        service: row.service.to_ascii_uppercase(),
        node: row.node.to_ascii_lowercase(),
        id: row.id.clone(),
        instance: now,
    }
}

fn apply(facts: &mut Facts, step: &Step) -> Changes {
    match step {
        Step::Node(at, place, one_by_one) => {
            let name = NODES[*at];
            facts.nodes.retain(|node| node.name != name);
            let node = place.map(|(ip, datacenter)| Node {
                name: name.to_owned(),
                datacenter: DATACENTERS[datacenter].to_owned(),
                addresses: vec![format!("10.0.0.{ip}")],
                meta: Vec::new(),
            });
            facts.nodes.extend(node.clone());
            let of = |kind, list: &[Instance]| -> Vec<_> {
                let all = SERVICES.iter().map(|service| {
                    let own = list.iter().filter(|row| row.service == *service);
                    (kind, (*service).to_owned(), own.cloned().collect())
                });
                all.collect()
            };
            let mut services = of(Kind::Service, &facts.instances);
            services.extend(of(Kind::Mesh, &facts.mesh));
            services.extend(of(Kind::Ingress, &facts.ingress));
            let lists = [
                (Kind::Service, &facts.instances),
                (Kind::Mesh, &facts.mesh),
                (Kind::Ingress, &facts.ingress),
            ];
            let rows = lists
                .into_iter()
                .flat_map(|(kind, rows)| rows.iter().map(move |row| (kind, row)));
            let of_node = rows.filter(|(_, row)| row.node == name);
            let mut instances: Vec<_> = of_node
                .map(|(kind, row)| changed(kind, row, Some(row.clone())))
                .collect();
            if *one_by_one {
                services.clear();
            } else {
                instances.clear();
            }
            facts.servers = facts.nodes.iter().map(|node| node.name.clone()).collect();
            Changes {
                nodes: vec![(name.to_owned(), node)],
                services,
                instances,
                servers: Some(facts.servers.clone()),
                ..Changes::default()
            }
        }
        Step::Instance(kind, at, id, row, is_there) => {
            let row = instance(SERVICES[*at], *id, *row);
            let list = match kind {
                Kind::Service => &mut facts.instances,
                Kind::Mesh => &mut facts.mesh,
                Kind::Ingress => &mut facts.ingress,
            };
            let key = |row: &Instance| (row.service.clone(), row.node.clone(), row.id.clone());
            list.retain(|known| key(known) != key(&row));
            let now = is_there.then(|| row.clone());
            list.extend(now.clone());
            Changes {
                instances: vec![changed(*kind, &row, now)],
                ..Changes::default()
            }
        }
        Step::Service(kind, at, instances) => {
            let name = SERVICES[*at];
            let list = match kind {
                Kind::Service => &mut facts.instances,
                Kind::Mesh => &mut facts.mesh,
                Kind::Ingress => &mut facts.ingress,
            };
            list.retain(|row| row.service != name);
            let new = instances.iter().enumerate();
            let new: Vec<_> = new.map(|(id, row)| instance(name, id, *row)).collect();
            list.extend(new.iter().cloned());
            Changes {
                services: vec![(*kind, name.to_owned(), new)],
                ..Changes::default()
            }
        }
        Step::Virtual(at, ip) => {
            let name = SERVICES[*at];
            facts.virtuals.retain(|(known, _)| known != name);
            facts
                .virtuals
                .push((name.to_owned(), [240, 0, 0, *ip].into()));
            Changes {
                virtuals: Some(facts.virtuals.clone()),
                ..Changes::default()
            }
        }
    }
}

fn questions() -> Vec<(Name, RecordType)> {
    let mut questions = Vec::new();
    let mut ask = |name: String, record_type| {
        questions.push((Name::from_ascii(name).unwrap(), record_type));
    };
    for service in SERVICES {
        for kind in ["service", "connect", "ingress", "virtual"] {
            ask(format!("{service}.{kind}.consul."), RecordType::A);
            for of in ["", ".dc1", ".dc2", ".dc3"] {
                ask(format!("{service}.{kind}{of}.consul."), RecordType::SRV);
            }
        }
        ask(format!("t1.{service}.service.consul."), RecordType::SRV);
        ask(format!("t1.{service}.service.dc2.consul."), RecordType::SRV);
    }
    for node in NODES {
        ask(format!("{node}.node.consul."), RecordType::ANY);
        ask(format!("{node}.node.dc2.consul."), RecordType::ANY);
    }
    for ip in 0..4 {
        ask(format!("{ip}.0.0.10.in-addr.arpa."), RecordType::PTR);
    }
    ask("consul.".to_owned(), RecordType::NS);
    questions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn steps_lead_where_a_whole_build_leads(steps in prop::collection::vec(step(), 1..24)) {
        let mut facts = Facts {
            domain: "consul".to_owned(),
            datacenter: "dc1".to_owned(),
            ..Facts::default()
        };
        let mut stepwise = View::new(&facts).unwrap();
        for step in &steps {
            let changes = apply(&mut facts, step);
            stepwise = stepwise.with(&changes);
        }
        let whole = View::new(&facts).unwrap();
        let rules = Rules::default();
        for (name, record_type) in questions() {
            let ask = |view: &View| {
                let cx = Context { rules: &rules, room: Room::tcp(), seed: 1, now: 1 };
                let mut found = answer(view, Question { name: &name, record_type }, &cx);
                // In which order instances are told depends on where they are kept.
                found.answers.sort_by_key(ToString::to_string);
                found.additionals.sort_by_key(ToString::to_string);
                found
            };
            prop_assert_eq!(ask(&stepwise), ask(&whole), "{} {}", name, record_type);
        }
    }
}
