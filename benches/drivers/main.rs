//! Driver programs that measure the whole binary and print tables.
//!
//! `cargo bench --bench drivers -- [ingress] [hung] [dns] [catalog] [jobs] [start] [storm]
//! [rollouts] [records] [shares] [cluster] [containers] [exec_start] [templates]` runs the named
//! ones, or all; words behind `catalog` name its parts (`dns`, `large`, `kv`, `watchers`), and it
//! takes `seconds=6`, `rounds=3` and `watchers=1000`; `storm` takes `rounds=3`, `jobs` takes
//! `rounds=10`, `jobs=1000`, `connections=16` and `dirs=PATH,PATH` for where the data directory is
//! made, `rollouts` takes `runs=30` and `rollouts=100`, `shares` takes `times=10`; words behind
//! `cluster` name its parts (`writes`, `failover`, `agents`), and it takes `seconds=5`, `rounds=3`,
//! `runs=20`, `agents=1000` and `allocs=100000`. The peer runs in the same run where Debian has it;
//! what a driver needs and does not find, it says and skips. All traffic stays on loopback, and
//! every load is bounded in time.

#![expect(
    clippy::print_stdout,
    reason = "the tables are the purpose of these programs"
)]
#![expect(
    clippy::panic,
    reason = "a measurement that cannot be made ends the program"
)]

mod catalog;
mod cluster;
mod containers;
mod dns_load;
mod exec_start;
#[path = "../../tests/it/harness/mod.rs"]
#[expect(
    dead_code,
    reason = "the benchmarks use a part of what the tests share"
)]
mod harness;
mod hung;
mod ingress;
mod process;
mod records;
mod rollouts;
mod shares;
mod small_jobs;
mod start;
mod storm;
mod task_start;
mod templates;

use std::future::Future;

#[tokio::main]
async fn main() {
    let (options, mut wanted): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .partition(|argument| argument.contains('='));
    let of_catalog = parts(&mut wanted, "catalog", &catalog::PARTS);
    let of_cluster = parts(&mut wanted, "cluster", &cluster::PARTS);
    run("ingress", &wanted, ingress::run()).await;
    run("hung", &wanted, hung::run()).await;
    run("dns", &wanted, dns_load::run()).await;
    run("catalog", &wanted, catalog::run(&of_catalog, &options)).await;
    run("jobs", &wanted, small_jobs::run(&options)).await;
    run("start", &wanted, start::run()).await;
    run("storm", &wanted, storm::run(&options)).await;
    run("rollouts", &wanted, rollouts::run(&options)).await;
    run("records", &wanted, async { records::run() }).await;
    run("shares", &wanted, shares::run(&options)).await;
    run("cluster", &wanted, cluster::run(&of_cluster, &options)).await;
    run("containers", &wanted, containers::run()).await;
    run("exec_start", &wanted, exec_start::run()).await;
    run("templates", &wanted, templates::run()).await;
}

async fn run(name: &str, wanted: &[String], driver: impl Future<Output = ()>) {
    if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
        println!("\n## {name}\n");
        driver.await;
    }
}

/// Takes the words behind a driver's name out that name its parts; all of them when none does.
fn parts(wanted: &mut Vec<String>, driver: &str, all: &[&str]) -> Vec<String> {
    let behind = wanted.iter().position(|word| word == driver);
    let behind = behind.map_or(wanted.len(), |at| at + 1);
    let named = wanted[behind..].iter();
    let named = named.take_while(|word| all.contains(&word.as_str()));
    let end = behind + named.count();
    let parts: Vec<String> = wanted.drain(behind..end).collect();
    if parts.is_empty() {
        all.iter().map(|part| (*part).to_owned()).collect()
    } else {
        parts
    }
}
