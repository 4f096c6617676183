//! Disks that are full and files that are damaged.

use crate::{
    harness::{
        Agent, Echo,
        agent::{Mode, Room, TRIVET},
        dns, eventually, http,
    },
    walkthrough::targets,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// Writes a job of about a megabyte that runs nothing.
async fn write_big(agent: &Agent, number: usize) -> (StatusCode, String) {
    let task = json!({
        "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
        "Env": {"PADDING": "x".repeat(1 << 20)},
    });
    let group = json!({"Name": "g", "Count": 0, "Tasks": [task]});
    let id = format!("big-{number}");
    let job = json!({"Job": {
        "ID": id, "Name": id, "Type": "batch", "Datacenters": ["*"], "TaskGroups": [group]
    }});
    http::send(Method::PUT, &agent.url("http", "/v1/jobs"), Some(&job)).await
}

/// Writes until the log says no; answers with how many writes were acknowledged.
async fn fill(agent: &Agent) -> usize {
    for acknowledged in 0..64 {
        let (status, body) = write_big(agent, acknowledged).await;
        if !status.is_success() {
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
            assert!(body.contains("the log cannot be written"), "{body}");
            return acknowledged;
        }
    }
    panic!("the limit is not in force");
}

/// Traffic, names and reads go on, and writes are refused with the reason.
async fn serves_without_a_log(agent: &Agent) {
    for _ in 0..20 {
        let (status, body) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
        assert!(status.is_success(), "{status} {body}");
        let ports = dns::srv_ports(agent.address("dns"), "web.service.consul.").await;
        assert_eq!(ports.len(), 1);
    }
    let path = "/v1/health/service/web?passing";
    let listed = http::get(&agent.url("catalog", path)).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let jobs = http::get(&agent.url("http", "/v1/jobs?stale")).await;
    assert!(jobs.as_array().is_some_and(|jobs| !jobs.is_empty()));
    let (status, body) = write_big(agent, 999).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.contains("the log cannot be written"), "{body}");
}

async fn big_jobs(agent: &Agent) -> usize {
    let jobs = http::get(&agent.url("http", "/v1/jobs?prefix=big-")).await;
    jobs.as_array().expect("jobs").len()
}

/// Waits until a write is acknowledged again.
async fn writes_again(agent: &Agent) {
    eventually("a write", || async {
        let (status, body) = write_big(agent, 500).await;
        if status.is_success() {
            Ok(())
        } else {
            Err(body)
        }
    })
    .await;
}

/// Changes how large the files of a running process may become.
pub(crate) async fn limit_files(pid: Pid, bytes: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--fsize={bytes}:")])
        .status()
        .await
        .expect("prlimit starts");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_grow_ends_the_writes_only_and_comes_back_by_itself() {
    let mut agent = Agent::start_in(Mode::Durable, "", Room::Files { blocks: 1 << 20 }).await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    targets(&agent, "web", 1).await;
    // No new segment of the log fits any more.
    limit_files(agent.pid(), "2097152").await;
    let acknowledged = fill(&agent).await;
    serves_without_a_log(&agent).await;
    let tasks = agent.task_processes();
    assert!(!tasks.is_empty());

    limit_files(agent.pid(), "536870912").await;
    writes_again(&agent).await;
    assert!(big_jobs(&agent).await > acknowledged);
    assert_eq!(agent.task_processes(), tasks, "tasks saw nothing of it");
    let log = std::fs::read_to_string(agent.dir().join("agent.log")).expect("a log");
    assert!(log.contains("the server stops leading"), "{log}");

    // And it is on disk.
    agent.kill().await;
    agent.start_again().await;
    assert!(big_jobs(&agent).await > acknowledged);
    agent.stop().await;
}

/// True for root; says so loudly for everybody else.
pub(crate) fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        let text = format!("\nSKIPPED: {test} needs root, to mount a small disk\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
    }
    root
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_disk_filled_to_the_last_byte_leaves_traffic_and_tasks_alone() {
    if !is_root("a disk filled to the last byte") {
        return;
    }
    let mut agent = Agent::start_in(Mode::Durable, "", Room::Disk { mib: 20 }).await;
    let mut job = Echo::new("web", 1);
    job.group = "ephemeral_disk {\n size = 10\n }".into();
    job.task
        .push_str("\nlogs {\n max_files = 1\n max_file_size = 1\n }");
    job.run(&agent).await;
    targets(&agent, "web", 1).await;
    let tasks = agent.task_processes();
    // The mount is the agent's own: it is reached through the process.
    let data = PathBuf::from(format!("/proc/{}/root", agent.pid()))
        .join(agent.dir().join("data").strip_prefix("/").expect("a path"));
    let filler = data.join("filler");
    fill_disk(&filler);
    let acknowledged = fill(&agent).await;
    serves_without_a_log(&agent).await;
    assert_eq!(agent.task_processes(), tasks);

    std::fs::remove_file(&filler).expect("the filler");
    writes_again(&agent).await;
    assert!(big_jobs(&agent).await > acknowledged);
    agent.stop().await;
}

pub(crate) fn fill_disk(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    for size in [1 << 16, 1 << 8, 1] {
        let part = vec![b'x'; size];
        while std::io::Write::write_all(&mut file, &part).is_ok() {}
    }
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Remove,
    Empty,
    Halve,
    Flip,
}

impl Damage {
    const ALL: [Self; 4] = [Self::Remove, Self::Empty, Self::Halve, Self::Flip];

    fn carry_out(self, path: &Path) {
        let mut bytes = std::fs::read(path).expect("a file");
        match self {
            Self::Remove => return std::fs::remove_file(path).expect("a file"),
            Self::Empty => bytes.clear(),
            Self::Halve => bytes.truncate(bytes.len() / 2),
            Self::Flip => {
                // In the middle of what is not zero, so that something is hit.
                let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
                if let Some(at) = used.get(used.len() / 2) {
                    bytes[*at] ^= 0x04;
                }
            }
        }
        std::fs::write(path, bytes).expect("a file");
    }
}

/// Every file below `dir`, relative to it.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("a directory").flatten() {
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(dir).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy_tree(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(&file);
        std::fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        std::fs::copy(from.join(&file), target).expect("a copy");
    }
}

/// Starts an agent on `data`: the ids of its jobs and a secret, or what it said when it refused.
async fn start_on(data: &Path, dir: &Path) -> Result<(Vec<String>, Value), String> {
    let config = format!(
        "data_dir = \"{}\"\nbind_addr = \"127.0.0.1\"\nserver {{ enabled = true }}\n\
         client {{\n  enabled = true\n}}\n\
         ports {{\n  http = 0\n  rpc = 0\n  catalog = 0\n  dns = 0\n  ingress = 0\n  ingress_admin = 0\n}}\n",
        data.display()
    );
    std::fs::write(dir.join("damaged.hcl"), config).expect("a configuration");
    let mut child = Command::new(TRIVET)
        .args(["agent", "-config"])
        .arg(dir.join("damaged.hcl"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let said = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.ok();
        text
    });
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut http_address = None;
    let started = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if let Some(address) = line.trim().strip_prefix("http: ") {
                http_address = Some(address.to_owned());
            }
            if line.contains("agent started") {
                return true;
            }
        }
        false
    };
    let started = timeout(Duration::from_secs(60), started).await;
    if started != Ok(true) {
        child.start_kill().ok();
        child.wait().await.expect("a status");
        return Err(said.await.expect("text"));
    }
    let address = http_address.expect("an address");
    let jobs: Value = http::get(&format!("http://{address}/v1/jobs")).await;
    let variable: Value = http::get(&format!("http://{address}/v1/var/app/db")).await;
    let pid = Pid::from_raw(i32::try_from(child.id().expect("it runs")).expect("an id"));
    kill(pid, Signal::SIGINT).expect("it runs");
    child.wait().await.expect("a status");
    let ids = jobs.as_array().expect("jobs").iter();
    let ids = ids.filter_map(|job| job["ID"].as_str().map(str::to_owned));
    Ok((ids.collect(), variable["Items"]["password"].clone()))
}

/// Each start either has everything that was acknowledged, or refuses with the file's name and the
/// way out.
///
/// `TRIVET_TEST_SWEEP=all` does everything to every file; otherwise each file gets one damage in
/// turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_file_of_the_data_directory_may_be_damaged() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    for number in 0..3 {
        let (status, body) = write_big(&agent, number).await;
        assert!(status.is_success(), "{body}");
    }
    let variable = json!({"Items": {"password": "secret"}});
    http::put(&agent.url("http", "/v1/var/app/db"), &variable).await;
    agent.stop().await;
    let data = agent.dir().join("data");
    let everything = std::env::var("TRIVET_TEST_SWEEP").is_ok_and(|what| what == "all");
    let mut refused = 0;
    for (at, file) in files_below(&data).into_iter().enumerate() {
        let damages = if everything {
            Damage::ALL.to_vec()
        } else {
            vec![Damage::ALL[at % Damage::ALL.len()]]
        };
        for damage in damages {
            let copy = tempfile::tempdir().expect("a directory");
            let damaged = copy.path().join("data");
            copy_tree(&data, &damaged);
            damage.carry_out(&damaged.join(&file));
            match start_on(&damaged, copy.path()).await {
                Ok((ids, secret)) => {
                    assert_eq!(ids, ["big-0", "big-1", "big-2"], "{file:?} {damage:?}");
                    assert_eq!(secret, "secret", "{file:?} {damage:?}");
                }
                Err(said) => {
                    refused += 1;
                    let name = file.file_name().expect("a name").to_string_lossy();
                    // A changed secret of a node reads well; it is the server that refuses it.
                    let named = said.contains(&format!("{name}`"))
                        || (name == "node" && said.contains("node secret ID does not match"));
                    assert!(named, "{file:?} {damage:?}: {said}");
                }
            }
        }
    }
    assert!(refused > 0, "no damage was noticed");
}
