//! What holds for all tables: shares are exact over a period, and a rebuild does not disturb the
//! turns.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proxy::route::{
    Choice, Command, Condition, Definition, Facts, Instance, Origin, Part, RequestPath, Route,
    Rule, Split, Table, Target, Test, parse, tags,
};

fn table(text: &str, previous: Option<&Table>) -> Table {
    let (definitions, problems) = parse::parse(text);
    assert!(problems.is_empty(), "{problems:?}");
    Table::build(definitions, previous).0
}

fn route(table: &Table) -> &Route {
    table.lookup("any", &RequestPath::new("/")).unwrap()
}

fn counts(
    table: &Table,
    turns: usize,
    choice: impl Fn(usize) -> Choice,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for turn in 0..turns {
        let target = route(table).pick(choice(turn)).unwrap();
        *counts
            .entry(target.instance().to_owned() + &target.address().to_string())
            .or_default() += 1;
    }
    counts
}

fn lines(weights: &[Option<u32>]) -> String {
    let clause = |weight: &Option<u32>| {
        weight.map(|weight| format!(" weight {}.{:02}", weight / 100, weight % 100))
    };
    let line = |(at, weight)| {
        format!(
            "route add s / http://10.0.0.{at}:80/{}\n",
            clause(weight).unwrap_or_default()
        )
    };
    (1..).zip(weights).map(line).collect()
}

/// Weights in hundredths; `None` is dynamic.
fn weights() -> impl Strategy<Value = Vec<Option<u32>>> {
    prop::collection::vec(prop::option::of(1u32..120), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn shares_sum_to_one_and_are_what_the_weights_say(weights in weights()) {
        let table = table(&lines(&weights), None);
        let targets = route(&table).targets();
        let shares: Vec<f64> = targets.iter().map(|target| target.share()).collect();
        prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let fixed: f64 = weights.iter().flatten().map(|weight| f64::from(*weight) / 100.0).sum();
        let dynamic = weights.iter().filter(|weight| weight.is_none()).count() as f64;
        let scale = if fixed > 1.0 || dynamic == 0.0 { 1.0 / fixed } else { 1.0 };
        for (share, weight) in shares.iter().zip(&weights) {
            let expected = match weight {
                Some(weight) => f64::from(*weight) / 100.0 * scale,
                None => ((1.0 - fixed) / dynamic).max(0.0),
            };
            prop_assert!((share - expected).abs() < 2e-4, "{share} instead of {expected}");
        }
    }

    #[test]
    fn any_window_of_a_period_is_exact(weights in weights(), offset in 0usize..500) {
        let table = table(&lines(&weights), None);
        let shares: BTreeMap<String, f64> =
            route(&table).targets().iter().map(|target| (target.address().to_string(), target.share())).collect();
        let smallest = shares.values().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
        // The period divides this: slots are whole numbers and there are at most 10,000.
        let period = (1..=10_000).find(|period| {
            shares.values().all(|share| (share * f64::from(*period)).fract().min(1.0 - (share * f64::from(*period)).fract()) < 1e-6)
                && smallest * f64::from(*period) > 0.5
        }).unwrap();
        for _ in 0..offset {
            route(&table).pick(Choice::RoundRobin);
        }
        let counts = counts(&table, period as usize, |_| Choice::RoundRobin);
        for (address, share) in &shares {
            let expected = (share * f64::from(period)).round() as usize;
            prop_assert_eq!(counts.get(address).copied().unwrap_or_default(), expected, "{}", address);
        }
    }

    #[test]
    fn random_numbers_spread_by_share(weights in weights()) {
        let table = table(&lines(&weights), None);
        let turns = 10_000u64;
        let counts = counts(&table, turns as usize, |turn| Choice::Random(u64::MAX / turns * turn as u64));
        for target in route(&table).targets() {
            let count = counts.get(&target.address().to_string()).copied().unwrap_or_default() as f64;
            prop_assert!((count / turns as f64 - target.share()).abs() < 0.01);
        }
    }

    #[test]
    fn equal_targets_get_equal_counts_over_rebuilds(targets in 1usize..9, rounds in 1usize..6, cuts in prop::collection::vec(0usize..40, 0..4)) {
        let text = lines(&vec![None; targets]);
        let mut current = table(&text, None);
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut left = targets * rounds;
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let now = cut.min(left);
            left -= now;
            for (address, count) in counts(&current, now, |_| Choice::RoundRobin) {
                *seen.entry(address).or_default() += count;
            }
            current = table(&(text.clone() + "route add other other.io/ http://10.0.1.1:80/\n"), Some(&current));
        }
        prop_assert_eq!(seen.len(), targets);
        prop_assert!(seen.values().all(|count| *count == rounds), "{:?}", seen);
    }

    #[test]
    fn refused_targets_are_never_picked(targets in 2usize..9, refused in 0usize..8, choice in any::<u64>()) {
        let table = table(&lines(&vec![None; targets]), None);
        let refused = route(&table).targets()[refused % targets].upstream().serial();
        for choice in [Choice::RoundRobin, Choice::Random(choice)] {
            let picked = route(&table).pick_where(choice, |target| target.upstream().serial() != refused).unwrap();
            prop_assert_ne!(picked.upstream().serial(), refused);
        }
    }

    #[test]
    fn no_text_makes_the_parser_or_the_table_panic(text in "(route (add|del|weight)|[a-z*?{}\\[\\]/:., \"=%0-9-]{0,12}|\n){0,12}", host in "[a-z.*\\[\\]:0-9]{0,12}", path in "[/a.%2eE]{0,12}") {
        let (definitions, _) = parse::parse(&text);
        let (table, _) = Table::build(definitions, None);
        let _ = table.lookup(&host, &RequestPath::new(&path)).map(|route| route.pick(Choice::RoundRobin));
        let (again, problems) = parse::parse(&table.text());
        prop_assert!(problems.is_empty());
        let (again, _) = Table::build(again, None);
        prop_assert_eq!(again.routes().count(), table.routes().count());
    }
}

#[test]
fn an_upstream_keeps_its_count_over_rebuilds_and_absence() {
    let first = table(
        "route add a / http://10.0.0.1:80/\nroute add b / http://10.0.0.2:80/",
        None,
    );
    let upstream = |table: &Table, at: usize| {
        table.routes().next().unwrap().targets()[at]
            .upstream()
            .clone()
    };
    let busy = upstream(&first, 0);
    busy.enter();
    let second = table("route add b / http://10.0.0.2:80/", Some(&first));
    assert!(!second.has_upstream(&busy));
    assert_eq!(upstream(&second, 0).serial(), upstream(&first, 1).serial());
    let third = table("route add c c.io/ http://10.0.0.3:80/", Some(&second));
    let fourth = table("route add a /other http://10.0.0.1:80/", Some(&third));
    assert_eq!(upstream(&fourth, 0).in_flight(), 1);
    busy.leave();
    assert_eq!(upstream(&fourth, 0).in_flight(), 0);
}

/// Requests that stay in flight spread by share, and go where fewest are.
#[test]
fn least_connections_go_where_fewest_requests_are() {
    let text = "route add s / http://10.0.0.1:80/\nroute add s / http://10.0.0.2:80/\n\
                route add s / http://10.0.0.3:80/ weight 0.5";
    let table = table(text, None);
    let enter = || {
        let target = route(&table).pick(Choice::LeastConnections).unwrap();
        target.upstream().enter();
        target.clone()
    };
    let entered: Vec<_> = (0..40).map(|_| enter()).collect();
    let busy: Vec<u64> = route(&table)
        .targets()
        .iter()
        .map(|target| target.upstream().in_flight())
        .collect();
    assert_eq!(busy, [10, 10, 20]);
    // One that finishes its requests gets the next ones of its version, until it is as busy as the
    // others.
    let first = entered
        .iter()
        .filter(|target| target.address().ip().to_string() == "10.0.0.1");
    let finished: Vec<_> = first.take(4).collect();
    for target in &finished {
        target.upstream().leave();
    }
    // What has a share of its own keeps it: every second request is not for the first two.
    let mut next = BTreeMap::new();
    for _ in 0..2 * finished.len() {
        let address = enter().address().ip().to_string();
        *next.entry(address).or_insert(0) += 1;
    }
    let expected = [("10.0.0.1".to_owned(), 4), ("10.0.0.3".to_owned(), 4)];
    assert_eq!(next, expected.into());
    // With nothing in flight they take turns.
    for target in &entered {
        target.upstream().leave();
    }
    let two = "route add s / http://10.0.0.8:80/\nroute add s / http://10.0.0.9:80/";
    let idle = self::table(two, None);
    let seen = counts(&idle, 10, |_| Choice::LeastConnections);
    assert_eq!(seen.values().copied().collect::<Vec<_>>(), [5, 5]);
}

/// Instances by id, with the turns of each.
fn instances(instances: &[(&str, u16)]) -> Vec<Definition> {
    let tags = ["urlprefix-/".to_owned()];
    let define = |(at, (id, turns)): (usize, &(&str, u16))| {
        let (definitions, problems) = tags::definitions(&Instance {
            id,
            service: "web",
            address: &format!("10.0.0.{at}"),
            port: 80,
            tags: &tags,
            datacenter: "dc1",
            version: "",
            turns: *turns,
            is_judged: false,
        });
        assert!(problems.is_empty());
        definitions
    };
    instances.iter().enumerate().flat_map(define).collect()
}

fn split(parts: &[(&str, u64, &[&str])], rules: Vec<Rule>) -> Definition {
    let part = |(name, millionths, instances): &(&str, u64, &[&str])| Part {
        name: (*name).to_owned(),
        millionths: Some(*millionths),
        instances: instances.iter().map(|id| (*id).to_owned()).collect(),
    };
    Definition {
        origin: Origin::Line(0),
        command: Command::Split(Split {
            service: "web".to_owned(),
            parts: parts.iter().map(part).collect(),
            rules,
        }),
    }
}

fn build(instances: Vec<Definition>, split: Definition, previous: Option<&Table>) -> Table {
    Table::build(instances.into_iter().chain([split]), previous).0
}

fn ids(table: &Table, turns: usize, choice: impl Fn(usize) -> Choice) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for turn in 0..turns {
        let target = route(table).pick(choice(turn)).unwrap();
        *ids.entry(target.instance().to_owned()).or_default() += 1;
    }
    ids
}

const STABLE: &[(&str, u16)] = &[("s1", 1), ("s2", 1), ("s3", 1), ("c1", 1)];

#[test]
fn a_share_does_not_depend_on_what_befalls_single_instances() {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 50_000, &["c1"]),
        ("stable", 950_000, &["s1", "s2", "s3"]),
    ];
    let table = build(instances(STABLE), split(&parts, Vec::new()), None);
    let counts = ids(&table, 6000, |_| Choice::RoundRobin);
    assert_eq!((counts["c1"], counts["s1"]), (300, 1900));
    let mut canary = 0;
    for _ in 0..6000 {
        // Two of the stable ones are not well.
        let sound = |target: &Target| !["s1", "s2"].contains(&target.instance());
        let target = route(&table).pick_where(Choice::RoundRobin, sound).unwrap();
        canary += usize::from(target.instance() == "c1");
    }
    assert_eq!(canary, 300);
    let random = ids(&table, 20_000, |turn| {
        Choice::Random(u64::MAX / 20_000 * turn as u64)
    });
    assert!((800..1200).contains(&random["c1"]), "{random:?}");
}

#[test]
fn a_share_of_one_in_a_hundred_is_exact() {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 10_000, &["c1"]),
        ("stable", 990_000, &["s1", "s2", "s3"]),
    ];
    let mut table = build(instances(STABLE), split(&parts, Vec::new()), None);
    let mut canary = 0;
    for _ in 0..100 {
        // The table changes all the time.
        table = build(instances(STABLE), split(&parts, Vec::new()), Some(&table));
        canary += ids(&table, 100, |_| Choice::RoundRobin)
            .get("c1")
            .copied()
            .unwrap_or(0);
    }
    assert!((99..=101).contains(&canary), "{canary}");
}

/// The table of each of several proxies, with canaries at a share in millionths.
fn proxies(count: usize, share: u64) -> Vec<Table> {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", share, &["c1"]),
        ("stable", 1_000_000 - share, &["s1", "s2", "s3"]),
    ];
    let build = |_| build(instances(STABLE), split(&parts, Vec::new()), None);
    (0..count).map(build).collect()
}

#[test]
fn several_proxies_keep_the_share_together_and_the_smallest_is_exact() {
    for (count, share, requests, expected, most) in [
        (3, 50_000, 100_000, 5000, 3),
        (1, 10_000, 10_000, 100, 1),
        (1, 100, 10_000, 1, 0),
        (3, 100, 30_000, 3, 0),
    ] {
        let proxies = proxies(count, share);
        // Who comes first is sent here and there.
        let canary: usize = (0..requests)
            .map(|at| {
                let table = &proxies[at * 7 / 3 % count];
                let target = route(table).pick(Choice::RoundRobin).unwrap();
                usize::from(target.instance() == "c1")
            })
            .sum();
        assert!(
            canary.abs_diff(expected) <= most,
            "{count} {share}: {canary}"
        );
    }
}

#[test]
fn an_empty_share_falls_back() {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 500_000, &["c1"]),
        ("stable", 500_000, &["s1", "s2", "s3"]),
    ];
    let without: Vec<_> = STABLE
        .iter()
        .copied()
        .filter(|(id, _)| *id != "c1")
        .collect();
    let table = build(instances(&without), split(&parts, Vec::new()), None);
    assert_eq!(
        ids(&table, 300, |_| Choice::RoundRobin)
            .values()
            .sum::<usize>(),
        300
    );
    // One that is there, but takes nothing.
    let mut with = without;
    with.push(("c1", 0));
    let table = build(instances(&with), split(&parts, Vec::new()), None);
    let counts = ids(&table, 300, |_| Choice::RoundRobin);
    assert_eq!(
        counts.values().copied().collect::<Vec<_>>(),
        [100, 100, 100]
    );
    let table = build(instances(STABLE), split(&parts, Vec::new()), None);
    let sound = |target: &Target| target.instance() != "c1";
    assert!((0..10).all(|_| {
        route(&table)
            .pick_where(Choice::RoundRobin, sound)
            .is_some()
    }));
}

#[test]
fn health_is_a_weight_within_the_version() {
    let sick: Vec<(&str, u16)> = vec![("s1", 4), ("s2", 1), ("s3", 0), ("c1", 1)];
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 500_000, &["c1"]),
        ("stable", 500_000, &["s1", "s2", "s3"]),
    ];
    let table = build(instances(&sick), split(&parts, Vec::new()), None);
    let counts = ids(&table, 1000, |_| Choice::RoundRobin);
    assert_eq!((counts["c1"], counts["s1"], counts["s2"]), (500, 400, 100));
    assert_eq!(counts.get("s3"), None);
    let shares: Vec<f64> = route(&table)
        .targets()
        .iter()
        .map(|target| target.share())
        .collect();
    assert_eq!(shares, [0.4, 0.1, 0.0, 0.5]);
    assert_eq!(route(&table).targets()[3].part(), Some("canary"));
}

#[test]
fn rules_send_requests_to_a_version_without_a_share() {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 0, &["c1"]),
        ("stable", 1_000_000, &["s1", "s2", "s3"]),
    ];
    let insider = Rule {
        conditions: vec![Condition::Header("x-canary".into(), Test::Present)],
        parts: vec![(0, 1_000_000)],
        rewrite: None,
    };
    let table = build(instances(STABLE), split(&parts, vec![insider]), None);
    assert_eq!(ids(&table, 300, |_| Choice::RoundRobin).get("c1"), None);
    for (value, expected) in [(b"yes".as_slice(), true), (b"", false)] {
        let header = |name: &str| (name == "x-canary" && !value.is_empty()).then_some(value);
        let rule = route(&table).rule(&Facts {
            method: "GET",
            path: b"/",
            query: "",
            header: &header,
        });
        assert_eq!(rule.is_some(), expected);
        let ruled = rule.map(|(ruled, _)| ruled);
        let picked = route(&table).pick_of(ruled, Choice::RoundRobin, |_| true);
        assert_eq!(picked.unwrap().instance() == "c1", expected);
    }
}

#[test]
fn a_rule_splits_its_requests_among_versions() {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 0, &["c1"]),
        ("stable", 1_000_000, &["s1", "s2", "s3"]),
    ];
    let header = |_: &str| None;
    let facts = Facts {
        method: "GET",
        path: b"/",
        query: "",
        header: &header,
    };
    let rule = |parts: &[(usize, u64)]| Rule {
        conditions: Vec::new(),
        parts: parts.to_vec(),
        rewrite: None,
    };
    let count = |table: &Table, turns: usize| {
        let ruled = route(table).rule(&facts).map(|(ruled, _)| ruled);
        let picks = (0..turns).map(|_| route(table).pick_of(ruled, Choice::RoundRobin, |_| true));
        picks
            .filter(|target| target.unwrap().instance() == "c1")
            .count()
    };
    let uneven = rule(&[(0, 250_000), (1, 750_000)]);
    let table = build(instances(STABLE), split(&parts, vec![uneven.clone()]), None);
    assert_eq!(count(&table, 2), 1);
    // The turns go on in the next table.
    let table = build(instances(STABLE), split(&parts, vec![uneven]), Some(&table));
    assert_eq!(count(&table, 398), 99);
    // Without versions of its own, a rule leaves requests to the shares.
    let table = build(instances(STABLE), split(&parts, vec![rule(&[])]), None);
    assert_eq!(count(&table, 400), 0);
    let acceptable = |id: &'static str| move |target: &Target| target.instance() == id;
    let table = build(
        instances(STABLE),
        split(&parts, vec![rule(&[(0, 1)])]),
        None,
    );
    let ruled = route(&table).rule(&facts).map(|(ruled, _)| ruled);
    let other = route(&table).pick_of(ruled, Choice::RoundRobin, acceptable("s2"));
    assert_eq!(other.unwrap().instance(), "s2");
}

#[test]
fn a_version_for_rules_only_leaves_the_shares_as_they_are() {
    let mut split = split(&[("beta", 0, &["c1"])], Vec::new());
    let Command::Split(inner) = &mut split.command else {
        unreachable!("it is one");
    };
    inner.parts[0].millionths = None;
    inner.rules.push(Rule {
        conditions: vec![Condition::Method(vec!["PUT".into()])],
        parts: vec![(0, 1_000_000)],
        rewrite: None,
    });
    let table = build(instances(STABLE), split, None);
    let counts = ids(&table, 400, |_| Choice::RoundRobin);
    assert!(counts.values().all(|count| *count == 100), "{counts:?}");
    let header = |_: &str| None;
    let rule = route(&table).rule(&Facts {
        method: "PUT",
        path: b"/",
        query: "",
        header: &header,
    });
    let ruled = rule.map(|(ruled, _)| ruled);
    for _ in 0..8 {
        let picked = route(&table).pick_of(ruled, Choice::RoundRobin, |_| true);
        assert_eq!(picked.unwrap().instance(), "c1");
    }
}

#[test]
fn who_has_the_canary_keeps_it_at_every_proxy_when_its_share_grows() {
    let at = |share: u64| {
        let proxies = proxies(2, share);
        let picked = |key: u64| {
            let picked = |table| route(table).pick(Choice::Hash(key)).unwrap().instance();
            assert_eq!(picked(&proxies[0]), picked(&proxies[1]));
            picked(&proxies[0]) == "c1"
        };
        (0..10_000).filter(|key| picked(*key)).collect::<Vec<u64>>()
    };
    let (few, some, many) = (at(10_000), at(50_000), at(250_000));
    assert!((60..140).contains(&few.len()), "{}", few.len());
    assert!((2300..2700).contains(&many.len()), "{}", many.len());
    assert!(few.iter().all(|key| some.contains(key)));
    assert!(some.iter().all(|key| many.contains(key)));
}

#[test]
fn who_has_the_canary_keeps_it_whichever_target_is_the_first() {
    let parts: [(&str, u64, &[&str]); 2] = [
        ("canary", 250_000, &["c1"]),
        ("stable", 750_000, &["a1", "z1"]),
    ];
    let users = |targets: &[(&str, u16)]| {
        let table = build(instances(targets), split(&parts, Vec::new()), None);
        let is_new = |key: &u64| {
            let target = route(&table).pick(Choice::Hash(*key));
            target.unwrap().instance() == "c1"
        };
        (0..10_000).filter(is_new).collect::<Vec<u64>>()
    };
    // A stable instance is replaced by one that comes before the canary.
    let before = users(&[("c1", 1), ("z1", 1)]);
    assert_eq!(users(&[("a1", 1), ("c1", 1)]), before);
    assert_eq!(users(&[("a1", 1), ("c1", 1), ("z1", 1)]), before);
}

#[test]
fn a_target_that_leaves_moves_its_own_keys_only() {
    let all = build(instances(STABLE), split(&[], Vec::new()), None);
    let fewer = build(instances(&STABLE[..3]), split(&[], Vec::new()), None);
    let picked = |table: &Table, key: u64| {
        let target = route(table).pick(Choice::Hash(key)).unwrap();
        target.instance().to_owned()
    };
    let mut moved = 0;
    for key in 0..4000 {
        let (before, after) = (picked(&all, key), picked(&fewer, key));
        assert!(before == after || before == "c1");
        moved += usize::from(before != after);
    }
    assert!((800..1200).contains(&moved), "{moved}");
}
