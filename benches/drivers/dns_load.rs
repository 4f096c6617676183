//! DNS: A and SRV queries a second and CPU per query, with services of real jobs in the catalog.

use crate::{
    harness::{Agent, Echo, agent::Mode, dns, eventually},
    process,
};
use std::fmt::Write;
use tokio::process::Command;

const SECONDS: u32 = 6;
const ROUNDS: usize = 3;
const INSTANCES: usize = 3;

pub(crate) async fn run() {
    let Some([dnsperf]) = process::need([("dnsperf", "dnsperf")]) else {
        return;
    };
    let agent = Agent::start_with(Mode::Dev, "").await;
    let job = Echo::new("web", u32::try_from(INSTANCES).expect("few"));
    job.run(&agent).await;
    eventually("the answers", || async {
        let ports = dns::srv_ports(agent.address("dns"), "web.service.consul.").await;
        if ports.len() == INSTANCES {
            Ok(())
        } else {
            Err(format!("{ports:?}"))
        }
    })
    .await;
    println!(
        "one service of {INSTANCES} instances, dnsperf -T1 -c8 -q100, {SECONDS} s a run, EDNS off\n"
    );
    println!("| query | queries/s | CPU µs/query |\n|---|---|---|");
    for kind in ["A", "SRV"] {
        let mut questions = String::new();
        writeln!(questions, "web.service.consul {kind}").expect("a string takes text");
        let file = agent.dir().join("questions");
        std::fs::write(&file, questions).expect("a file");
        for _ in 0..ROUNDS {
            let before = process::cpu_time(agent.pid());
            let output = Command::new(&dnsperf)
                .args([
                    "-s",
                    "127.0.0.1",
                    "-p",
                    &agent.address("dns").port().to_string(),
                ])
                .args(["-T1", "-c8", "-q100", "-l", &SECONDS.to_string(), "-d"])
                .arg(&file)
                .output()
                .await
                .expect("dnsperf runs");
            let used = process::cpu_time(agent.pid()) - before;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let number = |label: &str| -> f64 {
                text.lines()
                    .find_map(|line| line.trim().strip_prefix(label))
                    .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                    .unwrap_or(f64::NAN)
            };
            let completed = number("Queries completed:");
            println!(
                "| {kind} | {:.0} | {:.1} |",
                number("Queries per second:"),
                used.as_secs_f64() * 1e6 / completed
            );
        }
    }
}
