//! Arbitrary questions: none panics, none is answered with an instance that does not pass.

use dns::answer::{Context, Question, Room, answer};
use dns::{Facts, Instance, Node, Rules, View};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;

/// Every address of a failing instance and of its node is in this network.
const FAILING_OCTET: u8 = 203;

fn view(passing: &[bool], name_service: &str) -> View {
    let mut facts = Facts {
        domain: "consul".to_owned(),
        datacenter: "dc1".to_owned(),
        servers: vec!["n0".to_owned()],
        ..Facts::default()
    };
    for (at, passing) in passing.iter().enumerate() {
        let octet = if *passing { 10 } else { FAILING_OCTET };
        facts.nodes.push(Node {
            name: format!("n{at}"),
            addresses: vec![format!("{octet}.0.{}.{}", at / 256, at % 256)],
            meta: vec![("at".to_owned(), at.to_string())],
            ..Node::default()
        });
        facts.instances.push(Instance {
            service: name_service.to_owned(),
            node: format!("n{at}"),
            id: String::new(),
            address: if at % 3 == 0 {
                format!("{octet}.1.0.{}", at % 256)
            } else {
                String::new()
            },
            port: u16::from(octet),
            tags: vec!["a".to_owned(), format!("t{}", at % 4)],
            weight: 1,
            passing: *passing,
        });
    }
    View::new(&facts).unwrap()
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "consul", "service", "node", "addr", "dc1", "dc", "web", "_web", "_tcp", "_t1", "a", "t2",
        "n0", "n1", "query", "arpa", "in-addr", "ip6", "0", "10", "0a000001", "Web", "SERVICE",
    ]);
    prop_oneof![
        8 => word.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..=63),
    ]
}

fn room() -> impl Strategy<Value = Option<Option<u16>>> {
    prop::option::of(prop::option::of(any::<u16>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_question_panics(
        labels in prop::collection::vec(label(), 0..40),
        record_type in any::<u16>(),
        room in room(),
        seed: u64,
    ) {
        let mut name = Name::root();
        for label in labels.iter().rev() {
            name = name.prepend_label(label.as_slice()).unwrap_or(name);
        }
        let rules = Rules::default();
        let room = room.map_or_else(Room::tcp, |payload| Room::udp(payload, &rules));
        let cx = Context { rules: &rules, room, seed, now: 1 };
        let view = view(&[true, false, true], "web");
        for record_type in [RecordType::from(record_type), RecordType::A, RecordType::SRV, RecordType::ANY] {
            answer(&view, Question { name: &name, record_type }, &cx);
        }
    }

    #[test]
    fn failing_instances_are_never_answered(
        passing in prop::collection::vec(any::<bool>(), 0..60),
        form in prop::sample::select(vec![
            "web.service.consul", "a.web.service.consul", "t1.web.service.dc1.consul", "_web._tcp.service.consul",
            "_web._t2.service.consul",
        ]),
        record_type in prop::sample::select(vec![RecordType::A, RecordType::SRV, RecordType::ANY]),
        room in room(),
        seed: u64,
    ) {
        let rules = Rules::default();
        let limits = room.map_or_else(Room::tcp, |payload| Room::udp(payload, &rules));
        let cx = Context { rules: &rules, room: limits, seed, now: 1 };
        let name = Name::from_ascii(format!("{form}.")).unwrap();
        let reply = answer(&view(&passing, "web"), Question { name: &name, record_type }, &cx);
        for record in reply.answers.iter().chain(&reply.additionals) {
            match &record.data {
                RData::A(ip) => prop_assert_ne!(ip.octets()[0], FAILING_OCTET),
                RData::SRV(target) => prop_assert_ne!(target.port, u16::from(FAILING_OCTET)),
                _ => {}
            }
        }
        prop_assert!(passing.iter().any(|passing| *passing) || reply.answers.is_empty());
    }
}
