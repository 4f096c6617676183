//! Servers whose disks fail them, and five servers of which two die.

use crate::{
    cluster::{
        Addresses, alive, has_key, leads, led, led_by_another, take_leader, transfer, written,
    },
    disk::{fill_disk, is_root, limit_files},
    harness::{
        Agent,
        agent::{Mode, Room},
        command::trivet,
        eventually,
    },
};
use nix::sys::signal::{Signal, kill};
use std::{
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// Bytes of the values that fill a log.
const LARGE: usize = 500_000;

/// Hands the leadership to `server`.
async fn hand_to(server: &Agent, asked: &Agent) {
    let address = server.address("rpc").to_string();
    if led(asked).await != address {
        trivet(asked, &transfer(&address)).await.ok();
    }
    leads(asked, &address).await;
    leads(server, &address).await;
}

/// What a server says when it cannot write its log.
const STOPS: &str = "the server stops leading; it tries again until the log is back";

/// Overwrites one key until a server cannot write its log. Each write is acknowledged, whichever
/// other server is asked.
async fn written_until_broken(broken: &Agent, others: &[Agent]) {
    let value = "x".repeat(LARGE);
    for count in 0..64 {
        if broken.said().contains(STOPS) {
            return;
        }
        written(&others[count % others.len()], "large", &value).await;
    }
    panic!("its log is written still: {}", broken.said());
}

/// The cluster goes on without one that cannot write its log: it takes writes, and the broken one
/// answers with what it has and says why it writes nothing.
async fn goes_on_without(broken: &Agent, others: &[Agent], reason: &str) {
    for (number, server) in others.iter().enumerate() {
        written(server, &format!("without-{number}"), "1").await;
    }
    let was = broken.address("rpc").to_string();
    led_by_another(&others[0], &was).await;
    has_key(broken, "before").await;
    let said = broken.said();
    let why = said.lines().find(|line| line.contains(STOPS));
    let why = why.expect("it says so");
    assert!(why.contains(reason), "{reason} in {why}");
}

/// It is one of the cluster again and has everything.
async fn is_back(server: &Agent, others: &[Agent], keys: &[&str]) {
    eventually("the log is back", async || {
        let said = server.said();
        let is_back = said.contains("the log is back");
        is_back.then_some(()).ok_or(said)
    })
    .await;
    // Through the one that was away.
    written(server, "again", "1").await;
    for key in keys.iter().chain(&["again"]) {
        has_key(server, key).await;
    }
    alive(&others[0], others.len() + 1).await;
}

/// Three servers of which the first has bounds on what it may use, and leads.
async fn three(room: Room) -> (Agent, Vec<Agent>) {
    let addresses = Addresses::new();
    let text = addresses.server(1, 3);
    let (bounded, second, third) = tokio::join!(
        Agent::start_in(Mode::Server, &text, room),
        addresses.start_server(2, 3),
        addresses.start_server(3, 3)
    );
    let others = vec![second, third];
    written(&bounded, "before", "1").await;
    has_key(&bounded, "before").await;
    hand_to(&bounded, &others[0]).await;
    (bounded, others)
}

const WITHOUT: [&str; 3] = ["before", "without-0", "without-1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_leader_whose_disk_is_full_leaves_the_cluster_writing() {
    if !is_root("a server on a full disk") {
        return;
    }
    let (mut full, others) = three(Room::Disk { mib: 64 }).await;
    // The mount is the agent's own: it is reached through the process.
    let filler = PathBuf::from(format!("/proc/{}/root", full.pid()))
        .join(full.dir().strip_prefix("/").expect("a path"))
        .join("data/filler");
    fill_disk(&filler);
    written_until_broken(&full, &others).await;
    goes_on_without(&full, &others, "No space left on device").await;
    std::fs::remove_file(&filler).expect("the filler");
    is_back(&full, &others, &WITHOUT).await;
    assert!(full.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_may_not_write_its_log_leaves_the_cluster_writing() {
    let (mut bounded, others) = three(Room::Files { blocks: 1 << 20 }).await;
    // No new segment of the log fits any more.
    limit_files(bounded.pid(), "2097152").await;
    written_until_broken(&bounded, &others).await;
    goes_on_without(&bounded, &others, "File too large").await;
    limit_files(bounded.pid(), "536870912").await;
    is_back(&bounded, &others, &WITHOUT).await;
    // And it is on its disk.
    bounded.kill().await;
    bounded.start_again().await;
    for key in WITHOUT {
        has_key(&bounded, key).await;
    }
}

/// The newest file of a log.
fn last_segment(raft: &Path) -> PathBuf {
    let entries = std::fs::read_dir(raft).expect("a log").flatten();
    let mut segments: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}

/// Changes a bit in the last record of a log, which is as long as it was.
fn damage_tail(raft: &Path) -> PathBuf {
    let path = last_segment(raft);
    let bytes = std::fs::read(&path).expect("a segment");
    let last = bytes.iter().rposition(|byte| *byte != 0);
    // Before the mark at the end of the record.
    let at = last.expect("a record") - 3;
    let file = std::fs::File::options().write(true).open(&path);
    let changed = [bytes[at] ^ 0x04];
    file.expect("a segment")
        .write_all_at(&changed, at as u64)
        .expect("a byte");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_damaged_log_says_what_to_do_and_joins_again_with_nothing() {
    let addresses = Addresses::new();
    let mut servers = addresses.start().await;
    for key in ["first", "second", "third"] {
        written(&servers[0], key, "1").await;
    }
    let mut damaged = take_leader(&mut servers).await;
    has_key(&damaged, "third").await;
    damaged.kill().await;
    let raft = damaged.dir().join("data/raft");
    let segment = damage_tail(&raft);

    let said = damaged.refuses_to_start().await;
    let name = segment.display().to_string();
    let told = [
        &format!("`{name}` is damaged at byte"),
        "a checksum does not match",
        &format!("move `{}` away", raft.display()),
        "it joins them again and is sent everything",
    ];
    for part in told {
        assert!(said.contains(part), "{part} in {said}");
    }
    written(&servers[0], "without", "1").await;
    written(&servers[1], "without too", "1").await;

    // As it was told.
    std::fs::rename(&raft, damaged.dir().join("moved away")).expect("a log");
    damaged.start_again().await;
    for key in ["first", "second", "third", "without", "without too"] {
        has_key(&damaged, key).await;
    }
    alive(&servers[0], 3).await;
    // It counts: the cluster goes on without another one.
    eventually("three voters", async || {
        let peers = trivet(&damaged, &["operator", "raft", "list-peers"]).await;
        let votes = peers.stdout.matches("true").count();
        (votes == 3).then_some(()).ok_or_else(|| peers.text())
    })
    .await;
    servers[0].kill().await;
    written(&damaged, "with two", "1").await;
    has_key(&damaged, "with two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_servers_go_on_without_two_which_come_back() {
    let addresses = Addresses::for_servers(5);
    let mut servers = addresses.start().await;
    alive(&servers[4], 5).await;
    written(&servers[0], "with five", "1").await;
    for server in &servers {
        has_key(server, "with five").await;
    }
    let mut gone = [take_leader(&mut servers).await, servers.remove(0)];
    for server in &gone {
        kill(server.pid(), Signal::SIGKILL).expect("it runs");
    }
    for server in &mut gone {
        server.ended().await;
    }
    let was = gone[0].address("rpc").to_string();
    for server in &servers {
        led_by_another(server, &was).await;
    }
    for (number, server) in servers.iter().enumerate() {
        written(server, &format!("with-three-{number}"), "1").await;
    }
    let [first, second] = &mut gone;
    tokio::join!(first.start_again(), second.start_again());
    for server in gone.iter().chain(&servers) {
        has_key(server, "with five").await;
        for number in 0..servers.len() {
            has_key(server, &format!("with-three-{number}")).await;
        }
    }
    alive(&gone[0], 5).await;
    // They count again: two others may go.
    servers.truncate(1);
    written(&gone[1], "with other three", "1").await;
    for server in gone.iter().chain(&servers) {
        has_key(server, "with other three").await;
    }
}
