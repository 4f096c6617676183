//! The catalog: DNS, one large service, keys, and waking watchers, with Consul beside where it is
//! on `PATH`.
//!
//! Both get the same requests from the same program, one after the other. It runs in parts, each
//! within about three minutes with the peer beside: `dns`, `large`, `kv` and `watchers`; all of
//! them when none is named. Options: `seconds=6` for each load, `rounds=3`, `watchers=1000`.

mod load;

use crate::{
    harness::{Agent, agent::Mode, consul::Consul, eventually, programs},
    process,
};
use load::{Client, Keys, Waking};
use nix::unistd::Pid;
use serde_json::json;
use std::{fmt::Write as _, net::SocketAddr, path::Path, time::Duration};
use tokio::{process::Command, time::Instant};

/// Services of the DNS load, with one instance each.
const SERVICES: usize = 1000;
/// Nodes of the large catalog; each has an instance of five services.
const NODES: usize = 2000;
/// Services with an instance on each node, the one that is asked for among them.
const PER_NODE: usize = 5;
/// Requests that write the catalog at the same time.
const WRITERS: usize = 16;
/// Connections of the key-value load.
const CLIENTS: [usize; 2] = [1, 64];

/// What can be asked for by name.
pub(crate) const PARTS: [&str; 4] = ["dns", "large", "kv", "watchers"];

/// One program that is measured.
struct Target {
    name: &'static str,
    http: String,
    dns: SocketAddr,
    pid: Pid,
}

/// How long and how often.
#[derive(Clone, Copy)]
struct Options {
    seconds: u64,
    rounds: usize,
    watchers: usize,
}

impl Options {
    fn read(options: &[String]) -> Self {
        let number = |name: &str, default: usize| {
            let found = options.iter().filter_map(|option| option.split_once('='));
            let mut found = found.filter(|(key, _)| *key == name);
            found
                .next()
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(default)
        };
        Self {
            seconds: u64::try_from(number("seconds", 6)).expect("few"),
            rounds: number("rounds", 3),
            watchers: number("watchers", 1000),
        }
    }
}

pub(crate) async fn run(parts: &[String], options: &[String]) {
    let options = Options::read(options);
    let agent = Agent::start_with(Mode::Durable, "").await;
    let ours = Target {
        name: "trivet",
        http: agent.url("catalog", ""),
        dns: agent.address("dns"),
        pid: agent.pid(),
    };
    let consul = match programs::find("consul") {
        Some(program) => Some(Consul::start(&program).await),
        None => {
            println!("SKIPPED: no `consul` on PATH, so nothing is measured beside\n");
            None
        }
    };
    let theirs = consul.as_ref().map(|consul| Target {
        name: "consul",
        http: consul.url(""),
        dns: consul.dns(),
        pid: consul.pid(),
    });
    let targets: Vec<&Target> = std::iter::once(&ours).chain(theirs.as_ref()).collect();
    let is_wanted = |part: &str| parts.iter().any(|wanted| wanted == part);
    if ["dns", "large", "watchers"].into_iter().any(is_wanted) {
        for target in &targets {
            let began = Instant::now();
            fill(target).await;
            println!(
                "{}: filled in {:.1} s",
                target.name,
                began.elapsed().as_secs_f64()
            );
        }
        println!();
    }
    if is_wanted("dns") {
        dns(&targets, agent.dir(), options).await;
    }
    if is_wanted("large") {
        large(&targets, options).await;
    }
    if is_wanted("kv") {
        keys(&targets, options).await;
    }
    if is_wanted("watchers") {
        for watchers in [100, options.watchers] {
            waking(&targets, watchers, options.rounds).await;
        }
    }
}

/// A thousand small services, and a large one.
async fn fill(target: &Target) {
    let bodies = (0..SERVICES).map(|at| {
        json!({
            "Node": "small", "Address": "192.0.2.1",
            "Service": {"Service": format!("service-{at}"), "Port": 8000},
        })
    });
    let large = (0..NODES * PER_NODE).map(|at| {
        let (node, service) = (at / PER_NODE, at % PER_NODE);
        json!({
            "Node": format!("node-{node}"), "Address": format!("10.1.{}.{}", node / 250, node % 250 + 1),
            "Service": {"ID": format!("big-{service}"), "Service": format!("big-{service}"), "Port": 9000, "Tags": ["v1"]},
            "Check": {"CheckID": format!("big-{service}"), "ServiceID": format!("big-{service}"), "Name": "up", "Status": "passing"},
        })
    });
    let client = Client::new(&target.http);
    client
        .put_all(
            "/v1/catalog/register",
            bodies.chain(large).collect(),
            WRITERS,
        )
        .await;
    let name = format!("big-{}.service.consul.", PER_NODE - 1);
    eventually("the names", || async {
        let ports = crate::harness::dns::srv_ports(target.dns, &name).await;
        if ports.is_empty() {
            Err("no answer".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
}

async fn dns(targets: &[&Target], dir: &Path, options: Options) {
    let Some([dnsperf]) = process::need([("dnsperf", "dnsperf")]) else {
        return;
    };
    println!(
        "DNS with {SERVICES} services and one of {NODES} instances, dnsperf -T1 -c8 -q100, {} s a run, EDNS off\n",
        options.seconds
    );
    println!(
        "| names | query | program | queries/s | CPU µs/query | queries/s as a multiple of consul |"
    );
    println!("|---|---|---|---|---|---|");
    let many = |kind: &str| {
        let mut text = String::new();
        for at in 0..SERVICES {
            writeln!(text, "service-{at}.service.consul {kind}").expect("a string takes text");
        }
        text
    };
    for kind in ["A", "SRV"] {
        for (what, text) in [
            ("1,000 services", many(kind)),
            ("one service", format!("service-0.service.consul {kind}\n")),
            (
                "one of 2,000 instances",
                format!("big-0.service.consul {kind}\n"),
            ),
        ] {
            let file = dir.join("questions");
            std::fs::write(&file, text).expect("a file");
            let mut rates = Vec::new();
            for target in targets {
                let mut best = (0.0_f64, f64::NAN);
                for _ in 0..options.rounds {
                    let run = dnsperf_run(&dnsperf, target, &file, options.seconds).await;
                    if run.0 > best.0 {
                        best = run;
                    }
                }
                rates.push((target.name, best));
            }
            for (name, (rate, cost)) in &rates {
                let ratio = ratio(
                    &rates
                        .iter()
                        .map(|(name, (rate, _))| (*name, *rate))
                        .collect::<Vec<_>>(),
                    *rate,
                );
                println!("| {what} | {kind} | {name} | {rate:.0} | {cost:.1} | {ratio} |");
            }
        }
    }
    println!();
}

/// `rate` as a multiple of the peer's.
fn ratio(rates: &[(&str, f64)], rate: f64) -> String {
    let peer = rates.iter().find(|(name, _)| *name == "consul");
    peer.map_or_else(|| "-".to_owned(), |(_, peer)| format!("{:.2}", rate / peer))
}

async fn dnsperf_run(dnsperf: &Path, target: &Target, file: &Path, seconds: u64) -> (f64, f64) {
    let before = process::cpu_time(target.pid);
    let output = Command::new(dnsperf)
        .args(["-s", "127.0.0.1", "-p", &target.dns.port().to_string()])
        .args(["-T1", "-c8", "-q100", "-l", &seconds.to_string(), "-d"])
        .arg(file)
        .output()
        .await
        .expect("dnsperf runs");
    let used = process::cpu_time(target.pid) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |label: &str| -> f64 {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(f64::NAN)
    };
    let completed = number("Queries completed:");
    (
        number("Queries per second:"),
        used.as_secs_f64() * 1e6 / completed,
    )
}

async fn large(targets: &[&Target], options: Options) {
    println!(
        "HTTP on one service with {NODES} of {} instances, 8 connections, {} s\n",
        NODES * PER_NODE,
        options.seconds
    );
    println!("| request | program | requests/s | CPU ms/request | as a multiple of consul |");
    println!("|---|---|---|---|---|");
    for (path, is_compressed) in [
        ("/v1/health/service/big-0", false),
        ("/v1/health/service/big-0", true),
        ("/v1/health/service/big-0?passing", false),
        ("/v1/catalog/service/big-0", false),
        ("/v1/catalog/services", false),
        ("/v1/health/state/any", false),
        ("/v1/health/state/any", true),
    ] {
        let mut rates = Vec::new();
        for target in targets {
            let client = Client::new(&target.http);
            let client = if is_compressed {
                client.compressed()
            } else {
                client
            };
            let before = process::cpu_time(target.pid);
            let done = client
                .get_for(path, 8, Duration::from_secs(options.seconds))
                .await;
            let used = process::cpu_time(target.pid) - before;
            let rate = done as f64 / options.seconds as f64;
            rates.push((
                target.name,
                rate,
                used.as_secs_f64() * 1e3 / done.max(1) as f64,
            ));
        }
        let what = if is_compressed { ", gzip" } else { "" };
        let all: Vec<(&str, f64)> = rates.iter().map(|(name, rate, _)| (*name, *rate)).collect();
        for (name, rate, cost) in &rates {
            println!(
                "| {path}{what} | {name} | {rate:.0} | {cost:.2} | {} |",
                ratio(&all, *rate)
            );
        }
    }
    println!();
}

async fn keys(targets: &[&Target], options: Options) {
    println!(
        "keys of 64 bytes of value, durable, {} s a run, best of {}\n",
        options.seconds, options.rounds
    );
    println!(
        "| request | connections | program | requests/s | CPU µs/request | as a multiple of consul |"
    );
    println!("|---|---|---|---|---|---|");
    let time = Duration::from_secs(options.seconds);
    for clients in CLIENTS {
        for (what, kind) in [("put", Keys::Put), ("get", Keys::Get)] {
            let mut rates = Vec::new();
            let mut costs = Vec::new();
            for target in targets {
                let mut best = (0.0_f64, f64::NAN);
                for _ in 0..options.rounds {
                    let before = process::cpu_time(target.pid);
                    let done = load::keys_for(&target.http, kind, clients, time).await;
                    let used = process::cpu_time(target.pid) - before;
                    let rate = done as f64 / time.as_secs_f64();
                    if rate > best.0 {
                        best = (rate, used.as_secs_f64() * 1e6 / done.max(1) as f64);
                    }
                }
                rates.push((target.name, best.0));
                costs.push(best.1);
            }
            for ((name, rate), cost) in rates.iter().zip(costs) {
                println!(
                    "| {what} | {clients} | {name} | {rate:.0} | {cost:.1} | {} |",
                    ratio(&rates, *rate)
                );
            }
        }
    }
    println!();
}

async fn waking(targets: &[&Target], watchers: usize, rounds: usize) {
    println!(
        "one check of a service with {NODES} instances changes, {watchers} watchers of the service wait\n"
    );
    println!("| program | first ms | median ms | last ms | CPU s |");
    println!("|---|---|---|---|---|");
    for target in targets {
        let client = Client::new(&target.http);
        for round in 0..rounds {
            let status = if round % 2 == 0 { "warning" } else { "passing" };
            let change = json!({
                "Node": "node-7", "SkipNodeUpdate": true,
                "Check": {"Node": "node-7", "CheckID": "big-0", "ServiceID": "big-0", "Name": "up", "Status": status,
                          // Each is a change, whatever the one before was.
                          "Output": format!("{watchers} {round}")},
            });
            let before = process::cpu_time(target.pid);
            let Waking {
                first,
                median,
                last,
            } = client
                .wake(
                    "/v1/health/service/big-0",
                    watchers,
                    "/v1/catalog/register",
                    change,
                )
                .await;
            println!(
                "| {} | {:.1} | {:.1} | {:.1} | {:.2} |",
                target.name,
                first.as_secs_f64() * 1e3,
                median.as_secs_f64() * 1e3,
                last.as_secs_f64() * 1e3,
                (process::cpu_time(target.pid) - before).as_secs_f64()
            );
        }
    }
    println!();
}
