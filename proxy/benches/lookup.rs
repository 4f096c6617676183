//! Route lookup and choice among 5,000 host patterns, and building that table.

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

criterion_group!(benches, lookup);
criterion_main!(benches);
