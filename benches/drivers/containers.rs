//! Start and stop of a container task, beside the daemon's own client with the same image on the
//! same daemon, which is started here. Needs root and Docker.

use crate::{
    harness::{
        Agent,
        agent::Mode,
        daemon::{Daemon, SHELL_IMAGE},
        http,
        programs::find,
    },
    task_start,
};
use reqwest::Method;
use serde_json::json;
use std::{path::PathBuf, process::Command};
use tokio::time::Instant;

/// Containers of each side, in turn.
const ROUNDS: usize = 20;
/// The image where there is a shell without libraries.
const SMALL_IMAGE: &str = "local/busybox:1";
/// Ends at once when it is told to.
const SCRIPT: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";

/// What one container took, milliseconds.
#[derive(Default)]
struct Times {
    /// Asked for to known to run.
    start: Vec<f64>,
    /// Asked for to known to be over.
    stop: Vec<f64>,
    /// Placed to started, by the agent's times; none of the client.
    inside: Vec<f64>,
}

pub(crate) async fn run() {
    // Each container is a copy of its image with the second one, which runs everywhere.
    let mut found = None;
    for storage in ["overlay2", "vfs"] {
        if let Some(daemon) = Daemon::start_on(storage).await {
            found = Some((storage, daemon));
            break;
        }
    }
    let Some((storage, daemon)) = found else {
        println!("SKIPPED: needs root and a daemon that starts (Debian package docker.io)");
        return;
    };
    let (image, words) = image(&daemon);
    let settings = format!(
        "plugin \"docker\" {{\n  config {{\n    endpoint = \"{}\"\n  }}\n}}\n",
        daemon.socket()
    );
    let agent = Agent::start_with(Mode::Durable, &settings).await;
    agent
        .wait("/v1/nodes", |nodes| {
            (nodes[0]["Drivers"]["docker"]["Healthy"] == true).then_some(())
        })
        .await;
    println!(
        "{ROUNDS} containers of `{image}` each in turn, without a network, storage driver {storage}, durable log;\n         a start of trivet is from the submitted job to `running` in a blocking query, a stop from the request to `complete`\n"
    );
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        client(&daemon, image, &words, round, &mut theirs);
        task(&agent, image, &words, round, &mut ours).await;
    }
    println!("| | start ms | stop ms |\n|---|---|---|");
    let row = |name: &str, times: &mut Times| {
        let start = task_start::median(&mut times.start);
        let stop = task_start::median(&mut times.stop);
        println!("| {name} | {start:.1} | {stop:.1} |");
        (start, stop)
    };
    let (start, stop) = row("trivet, docker driver", &mut ours);
    let (their_start, their_stop) = row("docker run, docker stop", &mut theirs);
    println!(
        "| ratio | {:.2} | {:.2} |",
        start / their_start,
        stop / their_stop
    );
    println!(
        "\nplaced to started inside trivet: {:.1} ms at the median",
        task_start::median(&mut ours.inside)
    );
}

/// The image, and the words that run [`SCRIPT`] in it.
fn image(daemon: &Daemon) -> (&'static str, Vec<&'static str>) {
    let busybox = find("busybox").filter(|file| {
        let listed = Command::new("ldd").arg(file).output();
        // It says so with a failure when there is nothing to list.
        listed.is_ok_and(|listed| !listed.status.success())
    });
    let Some(busybox) = busybox else {
        println!(
            "without a busybox that needs no libraries (Debian package busybox-static) the image has a shell with its own"
        );
        return (SHELL_IMAGE, vec!["sh", "-c", SCRIPT]);
    };
    let places = ["bin/busybox", "bin/sh", "bin/sleep"];
    let files = places.map(|place| (busybox.clone(), PathBuf::from(place)));
    daemon.import_files(files, SMALL_IMAGE);
    (SMALL_IMAGE, vec!["sh", "-c", SCRIPT])
}

/// One container of the daemon's own client.
fn client(daemon: &Daemon, image: &str, words: &[&str], round: usize, times: &mut Times) {
    let name = format!("bench-{round}");
    let run = ["run", "-d", "--network", "none", "--name", &name, image];
    let asked = Instant::now();
    let is_started = daemon.docker(&[&run[..], words].concat()).is_some();
    times.start.push(asked.elapsed().as_secs_f64() * 1e3);
    assert!(is_started, "docker run");
    let asked = Instant::now();
    let is_stopped = daemon.docker(&["stop", "-t", "10", &name]).is_some();
    times.stop.push(asked.elapsed().as_secs_f64() * 1e3);
    assert!(is_stopped, "docker stop");
    daemon.docker(&["rm", &name]);
}

/// One container of a task.
async fn task(agent: &Agent, image: &str, words: &[&str], round: usize, times: &mut Times) {
    let id = format!("box-{round}");
    let (command, args) = words.split_first().expect("a command");
    let task = json!({
        "Driver": "docker",
        "Config": {"image": image, "network_mode": "none", "command": command, "args": args},
        "KillTimeout": 10_000_000_000_u64,
        "Resources": {"CPU": 50, "MemoryMB": 40},
    });
    let job = task_start::job(&id, "service", &task);
    let asked = Instant::now();
    let alloc = task_start::reaches(agent, &id, &job, "running").await;
    times.start.push(asked.elapsed().as_secs_f64() * 1e3);
    times.inside.push(task_start::placed_to_started(&alloc));
    let asked = Instant::now();
    let url = agent.url("http", &format!("/v1/job/{id}"));
    let (status, said) = http::send(Method::DELETE, &url, None).await;
    assert!(status.is_success(), "{said}");
    task_start::until(agent, &id, "complete").await;
    times.stop.push(asked.elapsed().as_secs_f64() * 1e3);
}
