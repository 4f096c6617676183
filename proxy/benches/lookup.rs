//! Route lookup and choice among 5,000 host patterns, and building that table; and what it costs by
//! the size of the table and by the number of patterns in it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use proxy::route::{Choice, RequestPath, Table, parse};

const HOSTS: usize = 5_000;

/// Exact hosts, patterns with a fixed end, and patterns in the middle; two paths each.
fn definitions() -> String {
    let mut text = String::new();
    for number in 0..HOSTS {
        let host = match number % 3 {
            0 => format!("shop{number}.example.com"),
            1 => format!("*.shop{number}.example.com"),
            _ => format!("api-*.team{number}.example.com"),
        };
        for path in ["/", "/cart"] {
            text += &format!("route add s{number} {host}{path} http://10.0.0.1:80/\n");
            text += &format!("route add s{number} {host}{path} http://10.0.0.2:80/\n");
        }
    }
    text + "route add wild *.example.com/ http://10.0.0.3:80/\nroute add any / http://10.0.0.4:80/\n"
}

fn lookup(criterion: &mut Criterion) {
    let (definitions, problems) = parse::parse(&definitions());
    assert!(problems.is_empty());
    let (table, _) = Table::build(definitions.clone(), None);
    let cases = [
        ("exact", "shop2499.example.com"),
        ("pattern with fixed end", "a.b.shop2500.example.com"),
        ("pattern in the middle", "api-7.team2501.example.com"),
        ("catch-all pattern", "nowhere.example.com"),
        ("no host", "nowhere.example.org"),
    ];
    for (name, host) in cases {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let path = RequestPath::new(black_box("/cart/items/17"));
                let route = table
                    .lookup(black_box(host), &path)
                    .expect("every host has a route");
                black_box(route.pick(Choice::RoundRobin));
            });
        });
    }
    criterion.bench_function("build the table", |bencher| {
        bencher.iter(|| Table::build(definitions.clone(), Some(&table)));
    });
}

/// A table of exact hosts, of which `globs` are patterns, with two routes each.
fn table(hosts: usize, globs: usize) -> Table {
    let mut text = String::new();
    for number in 0..hosts {
        let star = if number < globs { "*." } else { "" };
        for path in ["/", "/cart"] {
            text += &format!(
                "route add s{number} {star}shop{number}.example.com{path} http://10.0.0.1:80/\n"
            );
        }
    }
    let (definitions, _) = parse::parse(&text);
    Table::build(definitions, None).0
}

/// The aim: at most 5 µs with 5,000 patterns.
fn by_size(criterion: &mut Criterion) {
    for (hosts, globs) in [
        (10, 0),
        (1_000, 0),
        (10_000, 0),
        (50_000, 0),
        (10, 10),
        (1_000, 1_000),
        (5_000, 5_000),
        (10_000, 5_000),
    ] {
        let table = table(hosts, globs);
        let star = if globs > 0 { "a." } else { "" };
        let host = format!("{star}shop{}.example.com", globs.max(hosts.min(2)) / 2);
        criterion.bench_function(&format!("{hosts} hosts, {globs} patterns"), |bencher| {
            bencher.iter(|| {
                let path = RequestPath::new(black_box("/cart/items/17"));
                let route = table.lookup(black_box(&host), &path);
                black_box(
                    route
                        .expect("the host has a route")
                        .pick(Choice::RoundRobin),
                );
            });
        });
    }
}

criterion_group!(benches, lookup, by_size);
criterion_main!(benches);
