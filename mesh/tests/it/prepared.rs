//! Prepared queries: what may be stored, which one a name means, and which instances answer it.

use std::collections::BTreeMap;

use mesh::model::{
    Check, FailoverTarget, NAME_PREFIX_MATCH, Node, PreparedQuery, QueryFailover, QueryTemplate,
    Service, ServiceQuery, Status,
};
use mesh::prepared::{Asker, check, execute, resolve};
use mesh::state::{Command, PutPreparedQuery, Register, Stamp, State};

fn query(name: &str, service: &str) -> PreparedQuery {
    PreparedQuery {
        id: format!("id-of-{name}").into(),
        name: name.to_owned(),
        service: ServiceQuery {
            service: service.to_owned(),
            ..ServiceQuery::default()
        },
        ..PreparedQuery::default()
    }
}

fn template(name: &str, service: &str, regexp: &str) -> PreparedQuery {
    PreparedQuery {
        template: QueryTemplate {
            kind: NAME_PREFIX_MATCH.to_owned(),
            regexp: regexp.to_owned(),
            remove_empty_tags: false,
        },
        ..query(name, service)
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

/// Puts queries and instances into a state, one entry each.
fn state(queries: Vec<PreparedQuery>, registered: Vec<Register>) -> State {
    let mut state = State::default();
    let queries = queries.into_iter().map(|query| {
        Command::PutPreparedQuery(Box::new(PutPreparedQuery {
            query,
            ..PutPreparedQuery::default()
        }))
    });
    let registered = registered
        .into_iter()
        .map(|register| Command::Register(Box::new(register)));
    for (index, command) in (1..).zip(queries.chain(registered)) {
        let at = Stamp {
            index,
            now: mesh::model::Timestamp::default(),
        };
        state.apply(at, command).unwrap();
    }
    state
}

#[test]
fn what_cannot_be_asked_is_refused_in_the_words_of_the_api() {
    let of = |change: fn(&mut PreparedQuery)| {
        let mut query = query("a", "web");
        change(&mut query);
        let refused = check(&query, false).err();
        refused.map_or_else(|| "fine".to_owned(), |error| error.to_string())
    };
    let refusals = [
        of(|_| {}),
        of(|query| query.name.clear()),
        of(|query| query.service.service.clear()),
        of(|query| query.service.failover.nearest_n = -1),
        of(|query| {
            query.service.failover = QueryFailover {
                nearest_n: 1,
                datacenters: None,
                targets: Some(vec![FailoverTarget::default()]),
            };
        }),
        of(|query| query.service.node_meta = Some(pairs("a b", "c"))),
        of(|query| query.template.kind = "bogus".to_owned()),
        of(|query| {
            query.template.kind = NAME_PREFIX_MATCH.to_owned();
            query.name.clear();
            query.service.service = "x-${bogus}".to_owned();
        }),
        of(|query| {
            query.template.kind = NAME_PREFIX_MATCH.to_owned();
            query.service.tags = Some(vec!["${match(".to_owned()]);
        }),
    ];
    assert_eq!(
        refusals,
        [
            "fine",
            "Invalid prepared query: Must be bound to a session",
            "Invalid prepared query: Must provide a Service name to query",
            "Invalid prepared query: Bad NearestN '-1', must be >= 0",
            "Invalid prepared query: Targets cannot be populated with NearestN or Datacenters",
            "Invalid prepared query: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
            "failed compiling template: Bad Template.Type 'bogus'",
            "failed compiling template: Bad evaluation for 'x-${bogus}' in Service.Service: 1:5: unknown variable accessed: bogus",
            "failed compiling template: Bad format '${match(' in Service.Tags[0]: expected expression or `}`, but the text ends",
        ]
    );
    let bad = template("a", "web", "(");
    let refused = check(&bad, false).unwrap_err().to_string();
    assert!(
        refused.starts_with("failed compiling template: Bad Regexp: "),
        "{refused}"
    );
}

#[test]
fn the_longest_template_answers_to_a_name_and_is_filled_in() {
    let mut tagged = template("geo-db-", "${match(1)}", "^geo-db-(.*?)-([^-]+?)$");
    tagged.service.tags = Some(texts(&["${match(2)}", "${match(7)}", "$${x}"]));
    tagged.service.node_meta = Some(pairs("of", "${name.suffix}"));
    tagged.template.remove_empty_tags = true;
    let state = state(
        vec![
            query("exact", "one"),
            template("", "${name.full}|${name.prefix}|${ name.suffix }", ""),
            template("Geo-", "geo|${name.suffix}|${agent.segment}", ""),
            tagged,
        ],
        Vec::new(),
    );
    let snapshot = state.snapshot();
    let service = |name: &str| {
        let found = resolve(&snapshot, name, "seg").unwrap().unwrap();
        found.service.clone()
    };
    assert_eq!(service("EXACT").service, "one");
    assert_eq!(service("id-of-exact").service, "one");
    assert_eq!(service("other").service, "other||other");
    assert_eq!(service("gEO-x").service, "geo|x|seg");
    let filled = service("geo-db-main-v2");
    assert_eq!(filled.service, "main");
    assert_eq!(filled.tags, Some(texts(&["v2", "${x}"])));
    assert_eq!(filled.node_meta, Some(pairs("of", "main-v2")));
    let by_id = resolve(&snapshot, "id-of-Geo-", "").unwrap_err();
    assert_eq!(
        by_id.to_string(),
        "prepared query templates can only be resolved up by name, not by ID"
    );
    let none = State::default();
    assert_eq!(resolve(&none.snapshot(), "", "").unwrap(), None);
}

/// An instance of `web` on a node of its own.
fn instance(node: &str, status: Status, tags: &[&str]) -> Register {
    Register {
        node: Node {
            name: node.into(),
            address: "192.0.2.1".to_owned(),
            meta: pairs("rack", node.get(..1).unwrap()),
            ..Node::default()
        },
        service: Some(Service {
            id: "web".into(),
            name: "web".into(),
            tags: texts(tags),
            meta: pairs("node", node),
            ..Service::default()
        }),
        checks: vec![
            Check {
                id: "c".into(),
                service_id: Some("web".into()),
                status,
                ..Check::default()
            },
            Check::serf_health(node, true),
        ],
        ..Register::default()
    }
}

#[test]
fn a_query_picks_instances_by_health_tags_and_metadata() {
    let state = state(
        Vec::new(),
        vec![
            instance("a1", Status::Passing, &["v1", "Blue"]),
            instance("a2", Status::Warning, &["v1"]),
            instance("b1", Status::Critical, &["v2"]),
            instance("b2", Status::Passing, &["v2"]),
        ],
    );
    let snapshot = state.snapshot();
    let check = |expected: &str, change: fn(&mut ServiceQuery)| {
        let mut query = query("q", "web");
        change(&mut query.service);
        let found = execute(&snapshot, &query, Asker::default()).instances;
        let mut names: Vec<&str> = found.iter().map(|row| row.node.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), expected, "{query:?}");
    };
    check("a1 a2 b2", |_| {});
    check("a1 b2", |of| of.only_passing = true);
    check("a1 a2 b1 b2", |of| {
        of.ignore_check_ids = Some(texts(&["c"]));
    });
    check("a1", |of| of.tags = Some(texts(&["V1", "blue"])));
    check("a2 b2", |of| of.tags = Some(texts(&["!blue"])));
    check("b2", |of| of.node_meta = Some(pairs("rack", "b")));
    check("a2", |of| of.service_meta = Some(pairs("node", "a2")));
    check("", |of| of.service = "none".to_owned());
}

#[test]
fn the_order_is_one_of_the_seed_and_the_asked_node_comes_first() {
    let names = ["a", "b", "c", "d", "e"];
    let nodes = names.map(|name| instance(name, Status::Passing, &[]));
    let state = state(Vec::new(), nodes.into());
    let snapshot = state.snapshot();
    let query = query("q", "web");
    let order = |seed, near| -> String {
        let asker = Asker {
            near,
            seed,
            datacenter: None,
        };
        let found = execute(&snapshot, &query, asker).instances;
        found.iter().map(|row| row.node.name.as_str()).collect()
    };
    let orders: std::collections::BTreeSet<String> =
        (0..200).map(|seed| order(seed, None)).collect();
    assert!(orders.len() > 60, "{orders:?}");
    assert_eq!(order(7, None), order(7, None));
    for seed in 0..20 {
        assert!(order(seed, Some("d")).starts_with('d'));
        assert_eq!(order(seed, Some("unknown")), order(seed, None));
    }
}

#[test]
fn a_query_that_finds_nothing_in_its_datacenter_is_asked_in_others() {
    let placed = |node: &str, datacenter: &str, status| {
        let mut register = instance(node, status, &[]);
        register.node.datacenter = datacenter.to_owned();
        register
    };
    let state = state(
        Vec::new(),
        vec![
            placed("a", "dc1", Status::Critical),
            placed("b", "dc2", Status::Critical),
            placed("c", "Dc3", Status::Passing),
            placed("d", "dc4", Status::Passing),
        ],
    );
    let snapshot = state.snapshot();
    let check = |asked: Option<&str>, expected: (&str, &str, u32), change: fn(&mut _)| {
        let mut query = query("q", "web");
        change(&mut query.service.failover);
        let asker = Asker {
            datacenter: asked,
            ..Asker::default()
        };
        let found = execute(&snapshot, &query, asker);
        let rows = found.instances.iter();
        let mut names: Vec<&str> = rows.map(|row| row.node.name.as_str()).collect();
        names.sort_unstable();
        let place = found.failed_over_to.as_deref().unwrap_or("-");
        assert_eq!((&*names.join(" "), place, found.failovers), expected);
    };
    let none: fn(&mut QueryFailover) = |_| {};
    check(None, ("c d", "-", 0), none);
    check(Some("dc3"), ("c", "-", 0), none);
    check(Some("dc1"), ("", "-", 0), none);
    check(None, ("c d", "-", 0), |of| of.nearest_n = 2);
    check(Some("dc4"), ("d", "-", 0), |of| of.nearest_n = 9);
    // By name: `Dc3` is before `dc2`.
    check(Some("dc1"), ("c", "Dc3", 1), |of| of.nearest_n = 1);
    check(Some("dc1"), ("d", "dc4", 2), |of| {
        of.datacenters = Some(texts(&["dc1", "dc9", "dc2", "dc2", "dc4", "Dc3"]));
    });
    check(Some("dc1"), ("", "dc2", 1), |of| {
        of.datacenters = Some(texts(&["dc2"]));
    });
    check(Some("dc2"), ("d", "dc4", 1), |of| {
        let target = |peer: &str, datacenter: &str| FailoverTarget {
            peer: peer.to_owned(),
            datacenter: datacenter.to_owned(),
        };
        of.targets = Some(vec![target("far", ""), target("", "dc4")]);
    });
}
