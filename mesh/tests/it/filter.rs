//! Filter expressions over the rows of the API.

use std::collections::BTreeMap;

use mesh::filter::{EXPRESSION_BYTES_MAX, Error, Filter, NESTING_MAX};
use mesh::model::{Check, Node, Role, Service, ServiceAddress, Status, Weights};
use mesh::view::Instance;
use mesh::wire::{
    AgentIdentity, AgentMember, AgentService, CatalogNode, CatalogService, CatalogServiceEntry,
    HealthCheck, HealthServiceEntry, Member, MemberStatus,
};
use proptest::prelude::*;

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn instance() -> Instance {
    let address = ServiceAddress {
        address: "198.51.100.7".to_owned(),
        port: 80,
    };
    Instance {
        node: Node {
            id: "id-1".into(),
            name: "n1".into(),
            address: "192.0.2.11".to_owned(),
            datacenter: "dc1".to_owned(),
            meta: pairs(&[("rack", "r1"), ("a.b", "c")]),
            ..Node::default()
        }
        .into(),
        service: Service {
            id: "web1".into(),
            name: "web".into(),
            port: 8080,
            tags: vec!["v1".to_owned(), "primary".to_owned()],
            meta: pairs(&[("ver", "1.2"), ("not", "x")]),
            tagged_addresses: [("wan".to_owned(), address)].into(),
            weights: Weights {
                passing: 10,
                warning: 1,
            },
            ..Service::default()
        }
        .into(),
        checks: [("serfHealth", Status::Passing), ("c1", Status::Warning)]
            .map(|(id, status)| Check {
                id: id.into(),
                node: "n1".into(),
                status,
                ..Check::default()
            })
            .map(Into::into)
            .into(),
        status: Status::Warning,
    }
}

#[test]
fn expressions_may_ask_for_the_settings_of_a_proxy() {
    let mut plain = instance();
    let proxy = r#"{"DestinationServiceName": "web", "LocalServicePort": 8080, "Expose": {"Checks": true},
        "Upstreams": [{"DestinationName": "db", "LocalBindPort": 9191}, {"DestinationName": "cache"}]}"#;
    let mut service = Service::clone(&plain.service);
    service.role = Some(Box::new(Role {
        kind: "connect-proxy".to_owned(),
        destination: "web".into(),
        proxy: proxy.to_owned(),
        is_native: true,
    }));
    plain.service = service.into();
    let entry = HealthServiceEntry::from(&plain);
    let row = CatalogService::from(&plain);
    let own = AgentService::new(&plain.service, "dc1");
    for (text, expected) in [
        ("Proxy.DestinationServiceName == web", true),
        ("Proxy.DestinationServiceName == api", false),
        ("Proxy.LocalServicePort == 8080", true),
        ("Proxy.Expose.Checks == true", true),
        ("Proxy.Upstreams is not empty", true),
        ("Proxy.Upstreams.DestinationName == cache", true),
        ("Proxy.Upstreams.LocalBindPort == 9192", false),
        ("Proxy.MeshGateway.Mode == ``", true),
        ("Connect.Native == true", true),
    ] {
        let of_entry = Filter::of::<HealthServiceEntry>(&format!("Service.{text}"));
        assert_eq!(of_entry.unwrap().holds(&entry), expected, "{text}");
        let of_row = Filter::of::<CatalogService>(&format!("Service{text}"));
        assert_eq!(of_row.unwrap().holds(&row), expected, "{text}");
        let of_own = Filter::of::<AgentService>(text).unwrap();
        assert_eq!(of_own.holds(&own), expected, "{text}");
    }
}

#[test]
fn expressions_hold_or_not() {
    let entry = HealthServiceEntry::from(&instance());
    for (text, expected) in [
        (r#"Service.Service == "web""#, true),
        ("Service.Service==web", true),
        ("Service.Service != web", false),
        ("  Service.Service == web\n", true),
        ("Service.Service == `web`", true),
        (r#"Service.Service == "\x77e\142""#, true),
        ("Service.Port == 8080", true),
        (r#"Service.Port == "0x1F90""#, true),
        (r#"Service.Port == "017620""#, true),
        (
            "Service.Weights.Passing == 10 and Service.Weights.Warning != 2",
            true,
        ),
        ("Service.EnableTagOverride == false", true),
        ("Service.EnableTagOverride == t", false),
        ("Service.Connect.Native == false", true),
        ("Service.Connect.Native != false", false),
        (r#"Service.Kind == """#, true),
        (r#"Service.Proxy.DestinationServiceName == """#, true),
        ("Service.Proxy.Upstreams is empty", true),
        ("Service.Proxy.Upstreams.DestinationName == x", false),
        ("Service.Proxy.Upstreams.DestinationName != x", false),
        ("v1 in Service.Tags", true),
        (r#""v2" not in Service.Tags"#, true),
        ("Service.Tags contains primary", true),
        ("Service.Tags not contains primary", false),
        ("Service.Tags is empty", false),
        ("Service.Tags is not empty", true),
        ("(Service.Tags is not empty)", true),
        ("( Service.Tags is empty ) or Service.Port == 1", false),
        ("eb in Service.Service", true),
        ("Service.Service contains x", false),
        ("Service.Service matches `^w.b$`", true),
        ("Service.Service matches e", true),
        ("Service.Service not matches e", false),
        ("rack in Node.Meta", true),
        ("Node.Meta contains rack", true),
        ("Node.Meta.rack == r1", true),
        (r#"Node.Meta["a.b"] == c"#, true),
        ("Node.Meta[ `a.b` ] == c", true),
        (r#""/Node/Meta/a.b" == c"#, true),
        (r#""/Service/Meta/ver" == "1.2""#, true),
        ("Service.Meta.not == x", true),
        ("Node.Meta.none == r1", false),
        ("Node.Meta.none != r1", true),
        ("Node.Meta.none contains r1", false),
        ("Node.Meta.none not contains r1", true),
        ("Node.Meta.none matches `.*`", false),
        ("Node.Meta.none not matches `.*`", true),
        ("Node.TaggedAddresses is empty", true),
        ("Node.TaggedAddresses.lan == x", false),
        ("wan in Service.TaggedAddresses", true),
        ("Service.TaggedAddresses.wan.Port == 80", true),
        (
            r#"Service.TaggedAddresses["wan"].Address == "198.51.100.7""#,
            true,
        ),
        ("Service.TaggedAddresses.lan.Port == 0", false),
        ("Service.TaggedAddresses.lan.Port != 0", true),
        ("Checks.Status == warning", true),
        ("Checks.Status == critical", false),
        ("Checks.Status != warning", true),
        ("Checks is empty", false),
        ("not Checks.Status == critical", true),
        ("not not Service.Port == 8080", true),
        ("not (Service.Port == 1 or Service.Port == 8080)", false),
        (
            "Service.Port == 1 or Service.Port == 8080 and Service.ID == web1",
            true,
        ),
        (
            "(Service.Port == 1 or Service.Port == 8080) and Service.ID == x",
            false,
        ),
        ("not Service.Port == 1 and Service.ID == web1", true),
        ("not in Service.Meta", true),
    ] {
        let filter = Filter::of::<HealthServiceEntry>(text);
        let filter = filter.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.holds(&entry), expected, "{text}");
    }
}

#[test]
fn each_kind_of_row_has_its_fields() {
    let instance = instance();
    let service = instance.service.as_ref();
    let holds = |filter: Result<Filter, Error>, row: &dyn mesh::filter::Row| {
        assert!(filter.unwrap().holds(row));
    };
    let node = CatalogNode::from(instance.node.as_ref());
    holds(
        Filter::of::<CatalogNode>("Node == n1 and ID == `id-1` and Meta.rack == r1"),
        &node,
    );
    let row = CatalogService::from(&instance);
    holds(
        Filter::of::<CatalogService>(
            "ServiceMeta.ver == `1.2` and ServicePort == 8080 and v1 in ServiceTags \
             and NodeMeta.rack == r1 and ServiceTaggedAddresses.wan.Port == 80 \
             and ServiceWeights.Passing == 10 and ServiceKind == ``",
        ),
        &row,
    );
    let entry = CatalogServiceEntry::from(service);
    holds(
        Filter::of::<CatalogServiceEntry>("Service == web and Port == 8080"),
        &entry,
    );
    let own = AgentService::new(service, "dc1");
    holds(
        Filter::of::<AgentService>("Service == web and Meta.ver == `1.2` and Weights.Warning == 1"),
        &own,
    );
    let check = HealthCheck::new(&instance.checks[1], &service.tags);
    holds(
        Filter::of::<HealthCheck>(
            "CheckID == c1 and Status == warning and ServiceTags is not empty",
        ),
        &check,
    );
    let identity = AgentIdentity {
        node_name: "n1".to_owned(),
        is_server: true,
        ..AgentIdentity::default()
    };
    let status = MemberStatus::Alive;
    let identity = &identity;
    let member = AgentMember::from(Member { identity, status });
    holds(
        Filter::of::<AgentMember>("Name == n1 and Tags.role == consul and Status == 1"),
        &member,
    );
}

#[test]
fn what_is_wrong_is_said_in_the_known_words() {
    for (text, expected) in [
        ("Nope == 1", r#"Selector "Nope" is not valid"#),
        (
            "Service.Nope == 1",
            r#"Selector "Service.Nope" is not valid"#,
        ),
        (
            "Service.Port.x == 1",
            r#"Selector "Service.Port.x" is not valid"#,
        ),
        (
            "Service.Tags == v1",
            r#"Invalid match operator "Equal" for selector "Service.Tags""#,
        ),
        (
            "Service is empty",
            r#"Invalid match operator "Is Empty" for selector "Service""#,
        ),
        (
            "Service.ID is not empty",
            r#"Invalid match operator "Is Not Empty" for selector "Service.ID""#,
        ),
        (
            "Service.Port matches `1`",
            r#"Invalid match operator "Matches" for selector "Service.Port""#,
        ),
        (
            "Service.Port == abc",
            r#"Failed to coerce value "abc" for selector "Service.Port": strconv.ParseInt: parsing "abc": invalid syntax"#,
        ),
        (
            "Service.Port == 99999999999999999999",
            r#"Failed to coerce value "99999999999999999999" for selector "Service.Port": strconv.ParseInt: parsing "99999999999999999999": value out of range"#,
        ),
        (
            "Service.EnableTagOverride == yes",
            r#"Failed to coerce value "yes" for selector "Service.EnableTagOverride": strconv.ParseBool: parsing "yes": invalid syntax"#,
        ),
        (
            r#"Service.ID == "web"#,
            r#"1:19 (18): rule "string": Unterminated string literal"#,
        ),
        (
            "Service.ID == 10.0.0.1",
            r#"1:15 (14): rule "number": Invalid number literal"#,
        ),
        (
            "(Service.ID == web",
            r#"1:19 (18): rule "grouping": Unmatched parentheses"#,
        ),
        (
            "Service.ID == web)",
            "1:18 (17): `and`, `or` or the end of the expression is expected",
        ),
        (
            "Service.Tags[1] == web",
            r#"1:14 (13): rule "index": Invalid index"#,
        ),
        (
            r#"Node.Meta["a" == web"#,
            r#"1:15 (14): rule "index": Unclosed index expression"#,
        ),
        (
            "Service.ID\n = web",
            r#"1:11 (10): rule "match": an operator is expected"#,
        ),
        (
            "Service.ID ==",
            "1:14 (13): a selector or a value is expected",
        ),
        (
            "_x in Service.Tags",
            "1:1 (0): a selector or a value is expected",
        ),
    ] {
        let error = Filter::of::<HealthServiceEntry>(text).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
    let error = Filter::of::<HealthServiceEntry>("Service.ID matches `(`").unwrap_err();
    let expected = "Failed to compile regular expression \"(\": ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn length_depth_and_patterns_are_bounded() {
    let refused = |text: &str| Filter::of::<HealthServiceEntry>(text).unwrap_err();
    let long = format!("Service.ID == `{}`", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(matches!(refused(&long), Error::TooLong { .. }));
    for nested in ["(", "not ", "not ("] {
        let text = format!("{}Port == 1", nested.repeat(NESTING_MAX + 1));
        let error = refused(&text).to_string();
        assert!(error.contains("nested too deeply"), "{error}");
    }
    let error = refused("Service.ID matches `(a{1000}){1000}`");
    assert!(matches!(error, Error::Pattern { .. }), "{error}");
    let chain = vec!["Service.ID==a"; 400].join(" or ");
    let entry = HealthServiceEntry::from(&instance());
    assert!(
        !Filter::of::<HealthServiceEntry>(&chain)
            .unwrap()
            .holds(&entry)
    );
}

/// Pieces that expressions are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "Service.ID",
        "Service.Tags",
        "Node.Meta",
        "Checks",
        ".Status",
        "[",
        "]",
        "\"a.b\"",
        "`x`",
        "==",
        "!=",
        "in",
        "not",
        "contains",
        "matches",
        "is",
        "empty",
        "and",
        "or",
        "(",
        ")",
        "1",
        "-2.5",
        "\"/Node/Meta/x\"",
        "\"",
        "`",
        "\\",
        "é",
        " ",
        " ",
        " ",
        "\n",
    ]);
    prop::collection::vec(known, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,80}") {
        let entry = HealthServiceEntry::from(&instance());
        let filter = Filter::of::<HealthServiceEntry>(&text);
        let _holds = filter.is_ok_and(|filter| filter.holds(&entry));
    }

    #[test]
    fn any_pieces_are_read_or_refused_without_panic(text in pieces()) {
        let entry = HealthServiceEntry::from(&instance());
        match Filter::of::<HealthServiceEntry>(&text) {
            Ok(filter) => {
                let negated = format!("not ({text})");
                let negated = Filter::of::<HealthServiceEntry>(&negated).unwrap();
                prop_assert_ne!(filter.holds(&entry), negated.holds(&entry));
            }
            Err(Error::Syntax { offset, .. }) => prop_assert!(offset <= text.len()),
            Err(_) => {}
        }
    }
}
