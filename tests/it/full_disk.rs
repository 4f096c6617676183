//! A start on a full disk.

use crate::harness::{DEADLINE, agent::TRIVET, dns, http};
use hickory_proto::rr::RecordType;
use reqwest::{Method, StatusCode};
use std::{io::Write as _, net::SocketAddr, path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// A small file system of its own; gone when dropped.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=20m", "none"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(at))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0)
            .status()
            .ok();
    }
}

async fn line_with(lines: &mut (impl AsyncBufRead + Unpin), text: &str) -> String {
    let reading = async {
        let mut line = String::new();
        while lines.read_line(&mut line).await.expect("text") > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("the output ended without `{text}`");
    };
    timeout(DEADLINE, reading).await.expect(text)
}

/// The address behind the name of a listener in a line of the log.
fn address(line: &str, name: &str) -> SocketAddr {
    let listening = line.split_once("listening=\"").map_or("", |(_, rest)| rest);
    let listeners = listening.split([',', '"']).map(str::trim);
    let mut named = listeners.filter_map(|one| one.strip_prefix(name)?.strip_prefix(' '));
    let address = named.next().and_then(|address| address.parse().ok());
    address.unwrap_or_else(|| panic!("the address of {name} in {line}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_mount_an_agent_on_a_full_disk_waits_for_room_and_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let Some(_tmpfs) = Tmpfs::mount(&data) else {
        // Straight to the terminal's stream: captured output of a passing test is never shown.
        let text = "\nSKIPPED: needs the right to mount a tmpfs\n";
        std::io::stderr().write_all(text.as_bytes()).ok();
        return;
    };
    let filler = data.join("filler");
    // As much as there is.
    std::fs::write(&filler, vec![1; 32 << 20]).expect_err("the disk is full");
    let config = dir.path().join("agent.hcl");
    let text = format!(
        "data_dir = \"{}\"\nports {{\n  http = 0\n  rpc = 0\n  catalog = 0\n  dns = 0\n  ingress = 0\n  ingress_admin = 0\n}}\n",
        data.display()
    );
    std::fs::write(&config, text).expect("a configuration");
    let mut agent = Command::new(TRIVET)
        .args(["agent", "-dev", "-config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut log = BufReader::new(agent.stderr.take().expect("a pipe"));
    let mut output = BufReader::new(agent.stdout.take().expect("a pipe"));
    let full = line_with(&mut log, "the disk of the data directory is full").await;
    assert!(full.contains(&data.display().to_string()), "{full}");
    // What needs no disk answers, and the rest says why it does not.
    let name = "web.service.consul.";
    let answer = dns::ask(address(&full, "dns"), name, RecordType::A).await;
    assert!(answer.answers.is_empty(), "{answer:?}");
    let url = |listener| format!("http://{}/", address(&full, listener));
    let (status, _) = http::send(Method::GET, &url("ingress"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for listener in ["http", "catalog", "ingress_admin"] {
        let (status, body) = http::send(Method::GET, &url(listener), None).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{listener}");
        assert!(body.contains("is full"), "{listener}: {body}");
    }
    std::fs::remove_file(&filler).expect("room");
    line_with(&mut output, "agent started").await;
    let url = format!("http://{}/v1/status/leader", address(&full, "http"));
    assert!(http::get(&url).await.is_string());
    let pid = agent.id().and_then(|id| i32::try_from(id).ok());
    let pid = nix::unistd::Pid::from_raw(pid.expect("it runs"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let ended = timeout(DEADLINE, agent.wait()).await.expect("it stops");
    assert!(ended.expect("a status").success());
}
