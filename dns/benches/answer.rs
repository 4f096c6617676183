//! Cost of one answer, without sockets, from a catalog of 1,000 services and one service with 2,000
//! instances.

use criterion::{Criterion, criterion_group, criterion_main};
use dns::answer::{Context, Question, Room, answer};
use dns::{Changes, Facts, Instance, InstanceChange, Kind, Node, Rules, View};
use hickory_proto::rr::{Name, RecordType};

const SERVICES: usize = 1_000;
const INSTANCES_OF_A_SERVICE: usize = 3;
const INSTANCES_OF_THE_BIG_SERVICE: usize = 2_000;

fn facts() -> Facts {
    let nodes = (0..INSTANCES_OF_THE_BIG_SERVICE).map(|at| Node {
        name: format!("node-{at}"),
        addresses: vec![format!("10.0.{}.{}", at / 256, at % 256)],
        ..Node::default()
    });
    let instance = |service: String, at: usize| Instance {
        service,
        node: format!("node-{at}"),
        id: "1".to_owned(),
        address: String::new(),
        port: 8_080,
        tags: vec!["v1".to_owned()],
        weight: 1,
        passing: true,
    };
    let small = (0..SERVICES * INSTANCES_OF_A_SERVICE).map(|at| {
        instance(
            format!("service-{}", at / INSTANCES_OF_A_SERVICE),
            at % INSTANCES_OF_THE_BIG_SERVICE,
        )
    });
    let big = (0..INSTANCES_OF_THE_BIG_SERVICE).map(|at| instance("big".to_owned(), at));
    Facts {
        alt_domain: String::new(),
        domain: "consul.".to_owned(),
        datacenter: "dc1".to_owned(),
        nodes: nodes.collect(),
        instances: small.chain(big).collect(),
        servers: vec!["node-0".to_owned()],
        ..Facts::default()
    }
}

fn answers(criterion: &mut Criterion) {
    let facts = facts();
    let view = View::new(&facts).expect("the facts are valid");
    let rules = Rules::default();
    let plain = Room::udp(None, &rules);
    let edns = Room::udp(Some(1_232), &rules);
    let cases = [
        (
            "a_of_3",
            "service-500.service.consul.",
            RecordType::A,
            plain,
        ),
        (
            "srv_of_3",
            "service-500.service.consul.",
            RecordType::SRV,
            plain,
        ),
        (
            "tag_srv_of_3",
            "v1.service-500.service.consul.",
            RecordType::SRV,
            plain,
        ),
        ("a_of_2000", "big.service.consul.", RecordType::A, plain),
        ("srv_of_2000", "big.service.consul.", RecordType::SRV, plain),
        ("a_of_2000_edns", "big.service.consul.", RecordType::A, edns),
        (
            "srv_of_2000_edns",
            "big.service.consul.",
            RecordType::SRV,
            edns,
        ),
        ("node", "node-7.node.consul.", RecordType::A, plain),
        ("nxdomain", "none.service.consul.", RecordType::A, plain),
    ];
    for (case, name, record_type, room) in cases {
        let name = Name::from_ascii(name).expect("the name is valid");
        let mut seed = 0;
        criterion.bench_function(case, |bencher| {
            bencher.iter(|| {
                seed += 1;
                let cx = Context {
                    rules: &rules,
                    room,
                    seed,
                    now: 1,
                };
                answer(
                    &view,
                    Question {
                        name: &name,
                        record_type,
                    },
                    &cx,
                )
            });
        });
    }
    criterion.bench_function("build_view_of_5000_instances", |bencher| {
        bencher.iter(|| View::new(&facts))
    });
}

/// One instance of 10,000 becomes another: what the next view costs.
fn changes(criterion: &mut Criterion) {
    for (case, per_service, has_own_tag) in [
        ("one_of_10000_instances_of_1000_services", 10, false),
        ("one_of_10000_instances_of_one_service", 10_000, false),
        (
            "one_of_10000_instances_with_tags_of_their_own",
            10_000,
            true,
        ),
    ] {
        let instance = |at: usize, weight: u16| Instance {
            service: format!("service-{}", at / per_service),
            node: format!("node-{}", at % INSTANCES_OF_THE_BIG_SERVICE),
            id: at.to_string(),
            address: format!("10.1.{}.{}", at / 256, at % 256),
            port: 8_080,
            tags: std::iter::once("v1".to_owned())
                .chain(has_own_tag.then(|| format!("own-{at}")))
                .collect(),
            weight,
            passing: true,
        };
        let facts = Facts {
            instances: (0..10_000).map(|at| instance(at, 1)).collect(),
            ..facts()
        };
        let mut view = View::new(&facts).expect("the facts are valid");
        let mut count = 0;
        criterion.bench_function(case, |bencher| {
            bencher.iter(|| {
                // It goes and comes, so that the lists change too.
                count += 1;
                let now = instance(5_003, u16::try_from(count % 100).expect("small"));
                view = view.with(&Changes {
                    instances: vec![InstanceChange {
                        kind: Kind::Service,
                        service: now.service.clone(),
                        node: now.node.clone(),
                        id: now.id.clone(),
                        instance: (count % 2 == 0).then_some(now),
                    }],
                    ..Changes::default()
                });
            });
        });
    }
}

criterion_group!(benches, answers, changes);
criterion_main!(benches);
