//! What the judge goes by: every attempt at an instance, on whatever kind of port, whether or not
//! the client was spared.

use crate::{
    harness::{Agent, DEADLINE, agent::Mode, eventually, load},
    rollout::{in_force, reasons, rollout, start, with_canary},
};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::{interval, timeout},
};

/// Judged at one share, without warm-up.
const STEPS: &str = "rollout_steps = \"25\"\nrollout_hold = \"1h\"\nrollout_warmup = \"0s\"";
/// A port at which nobody listens.
pub(crate) const NOBODY: &str = "1";

/// Another service of the group, with a route of its own, at a port.
pub(crate) fn beside(id: &str, port: &str, route: &str) -> String {
    format!(
        "service {{\n name = \"{id}-beside\"\n port = \"{port}\"\n tags = [\"urlprefix-{route}\"]\n }}"
    )
}

/// The last transition of a rollout that was given up.
fn end(deployment: &Value) -> Value {
    let rollout = &deployment["TaskGroups"]["web"]["Rollout"];
    assert_eq!(rollout["Phase"], "aborted", "{rollout}");
    assert_eq!(rollout["Share"], 0);
    let transitions = rollout["Transitions"].as_array();
    transitions
        .and_then(|all| all.last())
        .cloned()
        .expect("one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_spare_clients_do_not_spare_the_canary() {
    let agent = Agent::start().await;
    // One refuses connections on a route of its own, the other resets them.
    let mut refusing = with_canary(&agent, "shop", 3, STEPS, "canary = 1", |job| {
        job.group = beside("shop", "http", "/refused");
    })
    .await;
    let mut resetting = with_canary(&agent, "cart", 3, STEPS, "canary = 1", |_| ()).await;
    refusing.group = beside("shop", NOBODY, "/refused");
    resetting.args = vec!["-reset-rate".into(), "1".into()];
    let loads = [start(&agent, "refused", 60), start(&agent, "cart", 60)];
    for load in &loads {
        load.more(30).await;
    }
    refusing.register(&agent).await;
    resetting.register(&agent).await;
    for job in [&refusing, &resetting] {
        let failed = job.deployment(&agent, 1, "failed").await;
        let last = end(&failed);
        let evidence = &last["Evidence"][0];
        assert_eq!(evidence["Metric"], "failed", "{evidence}");
        assert!(evidence["CanaryBad"].as_u64() >= Some(3), "{evidence}");
        assert_eq!(evidence["StableBad"], 0, "{evidence}");
    }
    for load in loads {
        load.more(30).await;
        let requests = load.stop().await;
        let failures = load::failures(&requests);
        assert!(failures.is_empty(), "{:?}", failures.first());
        let old = |own: &load::Request| own.outcome.as_deref() == Ok("old");
        assert!(requests.iter().all(old), "the canary answered nobody");
    }
}

/// An agent whose ingress passes on what comes to two further ports as it is.
async fn with_bytes() -> (Agent, [u16; 2]) {
    let block = "ingress {\n  no_route_status = 404\n  listener \"127.0.0.1:0\" {\n    proto = \"http\"\n  }\n}";
    let agent = Agent::start_with(Mode::Durable, block).await;
    let ports = [agent.own_port(0), agent.own_port(1)];
    let [one, two] = ports.map(|port| format!("127.0.0.1:{port};proto=tcp"));
    let listeners = format!("proxy_addr = \"{one}, {two}\"\n  no_route_status");
    let file = agent.dir().join("agent.hcl");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, text.replace("no_route_status", &listeners)).expect("a configuration");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    for port in ports {
        eventually("the listener", async || {
            let opened = TcpStream::connect(("127.0.0.1", port)).await;
            opened.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    (agent, ports)
}

/// What a connection to a port brings.
async fn ask(port: u16) -> std::io::Result<String> {
    let asked = async {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let body = answer.rsplit("\r\n").next().unwrap_or_default();
        Ok(body.to_owned())
    };
    timeout(DEADLINE, asked).await?
}

/// Connections to a port, 60 a second, until it is dropped.
fn connections(port: u16) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = interval(Duration::from_secs(1) / 60);
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                _ = tick.tick(), if open.len() < 256 => drop(open.spawn(ask(port))),
                Some(_) = open.join_next() => {}
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_both_kinds_share_one_split_and_bytes_are_judged_too() {
    let (agent, [one, two]) = with_bytes().await;
    let bytes = |id: &str, at: &str, port: u16| beside(id, at, &format!(":{port} proto=tcp"));
    let mut job = with_canary(&agent, "shop", 3, STEPS, "canary = 1", |job| {
        job.group = bytes("shop", "http", one);
    })
    .await;
    let mut resetting = with_canary(&agent, "cart", 3, STEPS, "canary = 1", |job| {
        job.group = bytes("cart", "http", two);
    })
    .await;
    job.register(&agent).await;
    rollout(&agent, "shop", |rollout| {
        (rollout["Phase"] == "judging").then_some(())
    })
    .await;
    in_force(&agent, 0.25).await;
    let by_http = load::spread(&agent.url("ingress", "/shop"), 80).await;
    let mut by_bytes = 0;
    for _ in 0..80 {
        by_bytes += usize::from(ask(one).await.expect("an answer") == "new");
    }
    assert!((19..=21).contains(&by_http["new"]), "{by_http:?}");
    assert!((19..=21).contains(&by_bytes), "{by_bytes}");

    // A newer version in the middle of it, which nobody is sent to before the share is 0, and whose
    // port for bytes refuses; and another job whose canary resets what comes.
    let load = start(&agent, "shop", 40);
    let bytes_load = [connections(one), connections(two)];
    job.group = bytes("shop", NOBODY, one);
    job.text = "newer".into();
    resetting.args = vec!["-reset-rate".into(), "1".into()];
    job.register(&agent).await;
    resetting.register(&agent).await;
    for (job, version) in [(&job, 2), (&resetting, 1)] {
        let failed = job.deployment(&agent, version, "failed").await;
        let last = end(&failed);
        let evidence = &last["Evidence"][0];
        assert!(evidence["CanaryBad"].as_u64() >= Some(3), "{evidence}");
        let reason = last["Reason"].as_str().expect("a sentence");
        assert!(reason.starts_with("canary failed "), "{reason}");
        let said = reasons(&failed["TaskGroups"]["web"]["Rollout"]).len();
        assert!(said >= 2, "{said}");
    }
    for load in bytes_load {
        load.abort();
    }
    let requests = load.stop().await;
    let failures = load::failures(&requests);
    assert!(failures.is_empty(), "{:?}", failures.first());
}
