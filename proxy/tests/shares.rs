//! What holds for all tables: shares are exact over a period, and a rebuild does not disturb the
//! turns.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proxy::route::{Choice, RequestPath, Route, Table, parse};

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
    // One that finishes its requests gets the next ones, until it is as busy as the others.
    let first = entered
        .iter()
        .filter(|target| target.address().ip().to_string() == "10.0.0.1");
    let finished: Vec<_> = first.take(4).collect();
    for target in &finished {
        target.upstream().leave();
    }
    for _ in finished {
        assert_eq!(enter().address().ip().to_string(), "10.0.0.1");
    }
    // With nothing in flight they take turns.
    for target in &entered {
        target.upstream().leave();
    }
    let two = "route add s / http://10.0.0.8:80/\nroute add s / http://10.0.0.9:80/";
    let idle = self::table(two, None);
    let seen = counts(&idle, 10, |_| Choice::LeastConnections);
    assert_eq!(seen.values().copied().collect::<Vec<_>>(), [5, 5]);
}
