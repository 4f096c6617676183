//! Runs `tests/chains/*.txt`: lines that write or remove configuration entries, `chain` lines, and
//! below them what the chain is, indented. Set `REWRITE_EXPECTED` to rewrite the expectations.

use crate::transcripts;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use mesh::chain::{Chain, Entries, Overrides, Request, Step, compile};
use mesh::wire::ChainAnswer;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Entries by kind and name.
#[derive(Debug, Default)]
struct Store(BTreeMap<(String, String), Value>);

impl Entries for Store {
    fn entry(&self, kind: &str, name: &str) -> Option<Value> {
        self.0.get(&(kind.to_owned(), name.to_owned())).cloned()
    }
}

#[test]
fn entries_give_the_expected_chains() {
    transcripts::check("chains", run);
}

fn run(text: &str) -> String {
    let mut store = Store::default();
    let mut transcript = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(transcript, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(3, ' ');
        let first = words.next().unwrap_or_default().to_owned();
        match verb {
            "put" => {
                let name = words.next().unwrap().to_owned();
                let body = serde_json::from_str(words.next().unwrap()).unwrap();
                store.0.insert((first, name), body);
            }
            "remove" => {
                let name = words.next().unwrap().to_owned();
                store.0.remove(&(first, name)).expect("it was there");
            }
            "clear" => store = Store::default(),
            "chain" => transcript.push_str(&show(&store, &first, words)),
            _ => panic!("unknown line: {line}"),
        }
    }
    transcript
}

fn show<'a>(store: &Store, service: &str, options: impl Iterator<Item = &'a str>) -> String {
    let mut overrides = Overrides::default();
    let mut datacenter = "dc1";
    for option in options.flat_map(|option| option.split(' ')) {
        let (key, value) = option.split_once('=').unwrap();
        match key {
            "protocol" => overrides.protocol = value.to_owned(),
            "gateway" => overrides.gateway_mode = value.to_owned(),
            "timeout" => {
                overrides.connect_timeout = Duration::from_secs(value.parse().unwrap());
            }
            "dc" => datacenter = value,
            _ => panic!("unknown option: {option}"),
        }
    }
    let request = Request {
        service,
        datacenter,
        trust_domain: "td",
        overrides,
    };
    match compile(store, &request) {
        Ok(chain) => render(&chain),
        Err(error) => format!("  refused: {error}\n"),
    }
}

fn render(chain: &Chain) -> String {
    let mut text = format!("  {} {}", chain.protocol, chain.start);
    for (is, word) in [
        (chain.is_default, " default"),
        (chain.is_customized, " customized"),
    ] {
        text.push_str(if is { word } else { "" });
    }
    text.push('\n');
    for (name, step) in &chain.steps {
        writeln!(text, "  {name}").unwrap();
        match step {
            Step::Router { routes } => {
                for route in routes {
                    writeln!(text, "    {} -> {}", route.definition["Match"], route.next).unwrap();
                }
            }
            Step::Splitter {
                splits,
                load_balancer,
            } => {
                for split in splits {
                    let share = f64::from(split.share) / 100.0;
                    writeln!(text, "    {share}% -> {}", split.next).unwrap();
                }
                if let Some(balancer) = load_balancer {
                    writeln!(text, "    balanced {balancer}").unwrap();
                }
            }
            Step::Resolver {
                resolver,
                load_balancer,
            } => {
                write!(text, "    connect {:?}", resolver.connect_timeout).unwrap();
                if !resolver.request_timeout.is_zero() {
                    write!(text, ", request {:?}", resolver.request_timeout).unwrap();
                }
                for target in &resolver.failover {
                    write!(text, ", else {target}").unwrap();
                }
                if let Some(balancer) = load_balancer {
                    write!(text, ", balanced {balancer}").unwrap();
                }
                text.push('\n');
            }
        }
    }
    for target in chain.targets.values() {
        write!(text, "  target {}", target.id).unwrap();
        let texts = [
            ("filter", &target.filter),
            ("gateway", &target.gateway_mode),
            ("sni", &target.sni),
        ];
        for (name, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
            write!(text, " {name}={value:?}").unwrap();
        }
        let flags = [
            (target.only_passing, " only-passing"),
            (target.is_external, " external"),
        ];
        for (is, word) in flags {
            text.push_str(if is { word } else { "" });
        }
        text.push('\n');
    }
    text
}

#[test]
fn shares_of_a_chain_are_those_of_its_last_route() {
    let mut store = Store::default();
    for (kind, name, body) in [
        (
            "proxy-defaults",
            "global",
            json!({"Config": {"protocol": "http"}}),
        ),
        (
            "service-router",
            "a",
            json!({"Routes": [
                {"Match": {"HTTP": {"PathPrefix": "/b"}}, "Destination": {"Service": "b"}}
            ]}),
        ),
        (
            "service-splitter",
            "a",
            json!({"Splits": [
                {"Weight": 33.33, "Service": "b"}, {"Weight": 66.67}
            ]}),
        ),
        (
            "service-resolver",
            "b",
            json!({"Failover": {"*": {"Service": "c"}}}),
        ),
    ] {
        store.0.insert((kind.to_owned(), name.to_owned()), body);
    }
    let request = Request {
        service: "a",
        datacenter: "dc1",
        ..Request::default()
    };
    let chain = compile(&store, &request).unwrap();
    let shares: Vec<_> = chain
        .shares(&chain.start)
        .into_iter()
        .map(|share| {
            (
                share.share,
                share.target.service.as_str(),
                share.failover.len(),
            )
        })
        .collect();
    assert_eq!(shares, [(3333, "b", 1), (6667, "a", 0)]);
    let of_route = chain.shares(&chain.routes()[0].next);
    assert_eq!(of_route[0].target.service, "b");
    let shown = serde_json::to_value(ChainAnswer::new(&chain, None)).unwrap();
    let splits = &shown["Chain"]["Nodes"]["splitter:a.default.default"]["Splits"];
    assert_eq!(splits[0]["Weight"], 33.33);
    assert_eq!(shown["Chain"]["AutoVirtualIPs"], Value::Null);
}

/// Splitters that double at every level would make a chain without end.
#[test]
fn chains_have_a_bound() {
    let mut store = Store::default();
    let protocol = json!({"Config": {"protocol": "http"}});
    store
        .0
        .insert(("proxy-defaults".into(), "global".into()), protocol);
    for level in 0..40 {
        let next = [format!("l{}", level + 1), format!("r{}", level + 1)];
        let splits = next.map(|next| json!({"Weight": 50, "Service": next}));
        for side in ["l", "r"] {
            let key = ("service-splitter".to_owned(), format!("{side}{level}"));
            store.0.insert(key, json!({"Splits": splits}));
        }
    }
    let request = Request {
        service: "l0",
        datacenter: "dc1",
        ..Request::default()
    };
    let refused = compile(&store, &request).unwrap_err();
    assert!(refused.to_string().contains("more than"), "{refused}");
    for at in 0..1000 {
        let redirect = json!({"Redirect": {"Service": format!("x{}", at + 1)}});
        store
            .0
            .insert(("service-resolver".into(), format!("x{at}")), redirect);
    }
    let request = Request {
        service: "x0",
        ..request
    };
    compile(&store, &request).unwrap_err();
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn subset() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "", "v1", "v2"]).prop_map(str::to_owned)
}

fn entry() -> impl Strategy<Value = ((String, String), Value)> {
    let splitter = (
        name(),
        prop::collection::vec((name(), subset(), 0..=100_u8), 1..4),
    )
        .prop_map(|(own, legs)| {
            let legs: Vec<_> = legs
                .into_iter()
                .map(|(to, subset, weight)| {
                    json!({"Service": to, "ServiceSubset": subset, "Weight": weight})
                })
                .collect();
            (
                ("service-splitter".to_owned(), own),
                json!({"Splits": legs}),
            )
        });
    let resolver = (
        name(),
        subset(),
        prop::option::of(name()),
        prop::option::of(name()),
    )
        .prop_map(|(own, default, redirect, failover)| {
            let mut body = json!({"Subsets": {"v1": {}, "v2": {}}, "DefaultSubset": default});
            if let Some(to) = redirect {
                body["Redirect"] = json!({"Service": to});
            }
            if let Some(to) = failover {
                body["Failover"] = json!({"*": {"Service": to}});
            }
            (("service-resolver".to_owned(), own), body)
        });
    let router =
        (name(), prop::collection::vec((name(), subset()), 0..3)).prop_map(|(own, routes)| {
            let routes: Vec<_> = routes
                .into_iter()
                .map(
                    |(to, subset)| json!({"Destination": {"Service": to, "ServiceSubset": subset}}),
                )
                .collect();
            (
                ("service-router".to_owned(), own),
                json!({"Routes": routes}),
            )
        });
    prop_oneof![splitter, resolver, router]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Every step and target of a chain is there, is reached, and no walk comes back.
    #[test]
    fn chains_are_whole(entries in prop::collection::vec(entry(), 0..8), service in name()) {
        let mut store = Store(entries.into_iter().collect());
        let protocol = json!({"Config": {"protocol": "http"}});
        store.0.insert(("proxy-defaults".into(), "global".into()), protocol);
        let request = Request { service: &service, datacenter: "dc1", ..Request::default() };
        if let Ok(chain) = compile(&store, &request) {
            let mut seen = std::collections::BTreeSet::new();
            walk(&chain, &chain.start, 0, &mut seen);
            prop_assert_eq!(seen.len(), chain.steps.len() + chain.targets.len());
        }
    }
}

fn walk(chain: &Chain, name: &str, depth: usize, seen: &mut std::collections::BTreeSet<String>) {
    assert!(depth < 8, "a chain comes back");
    seen.insert(name.to_owned());
    match &chain.steps[name] {
        Step::Router { routes } => {
            for route in routes {
                walk(chain, &route.next, depth + 1, seen);
            }
        }
        Step::Splitter { splits, .. } => {
            for split in splits {
                assert!(!split.next.starts_with("splitter:"));
                walk(chain, &split.next, depth + 1, seen);
            }
        }
        Step::Resolver { resolver, .. } => {
            for id in resolver.failover.iter().chain([&resolver.target]) {
                assert_eq!(&chain.targets[id].id, id);
                seen.insert(id.clone());
            }
        }
    }
}
