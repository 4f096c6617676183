//! Ten thousand connections that rest. They belong to another process, since one may not open so
//! many twice.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proxy::Config;
use tokio::time::Instant;

use crate::backend::{Backend, Behavior};
use crate::client::Client;
use crate::running::Running;

const CONNECTIONS: usize = 10_000;

/// Descriptors that each of the two processes needs.
const DESCRIPTORS: u64 = 12_000;

/// Where the other process finds the proxy.
const PLACE: &str = "TRIVET_TEST_IDLE_PROXY";

/// Set in the process that runs no other test.
const ALONE: &str = "TRIVET_TEST_IDLE_ALONE";

/// What a connection that rests may cost this process, in bytes, in a program that is not
/// optimized.
const BYTES_MAX: u64 = 8 << 10;

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The other process: asks once on each connection, says so, and holds them until it is told to
/// end.
#[test]
fn holder() {
    let Ok(place) = std::env::var(PLACE) else {
        return;
    };
    assert!(has_descriptors());
    let place: SocketAddr = place.parse().unwrap();
    let mut held: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(place).unwrap();
            ask(&mut stream);
            stream
        })
        .collect();
    println!("held");
    for line in std::io::stdin().lines() {
        if line.unwrap() == "again" {
            // Every hundredth goes on.
            held.iter_mut().step_by(100).for_each(ask);
            println!("asked");
        }
    }
}

fn ask(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: any\r\n\r\n")
        .unwrap();
    let mut answer = BufReader::with_capacity(512, stream);
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        assert_ne!(answer.read_line(&mut line).unwrap(), 0);
    }
    // The body has one byte.
    assert_eq!(answer.fill_buf().unwrap(), b"a");
}

/// Whether so many descriptors may be open; as many as the system lets us have are asked for.
fn has_descriptors() -> bool {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    most >= DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok()
}

/// Anonymous memory of this process, in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_12000_descriptors_ten_thousand_connections_may_rest() {
    if !has_descriptors() {
        println!("SKIPPED: needs a limit of {DESCRIPTORS} open files");
        return;
    }
    if std::env::var_os(ALONE).is_none() {
        // In a process of its own: what other tests take meanwhile would count, too.
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let name = "idle::needs_12000_descriptors_ten_thousand_connections_may_rest";
        alone.args(["--exact", name, "--nocapture"]).env(ALONE, "");
        let ran = tokio::task::spawn_blocking(move || alone.output().unwrap());
        let ran = ran.await.unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        println!("{text}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && text.contains("1 passed"));
        return;
    }
    let backend = Backend::start("a", Behavior::Name).await;
    let config = Config {
        connections_max: CONNECTIONS + 100,
        // However slow the machine is, none of them rests for too long.
        client_idle_timeout: 10 * PATIENCE,
        upstream_idle_timeout: 10 * PATIENCE,
        ..Config::default()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let before = memory();
    let started = Instant::now();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "idle::holder", "--nocapture"])
        .env(PLACE, proxy.address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut tell, mut told) = (
        other.stdin.take().unwrap(),
        BufReader::new(other.stdout.take().unwrap()).lines(),
    );
    let held = tokio::task::spawn_blocking(move || {
        let is_held = told.by_ref().any(|line| line.unwrap().ends_with("held"));
        (is_held, told)
    });
    let (is_held, mut told) = held.await.unwrap();
    assert!(is_held);
    let each = memory().saturating_sub(before) / CONNECTIONS as u64;
    println!("{each} bytes each, {:?}", started.elapsed());
    assert!(each <= BYTES_MAX, "{each} bytes each");
    // They share few connections to the target, new ones are served, and those that rest too.
    assert!(backend.connections() <= 8, "{}", backend.connections());
    for _ in 0..100 {
        let mut client = Client::connect(proxy.address).await;
        assert_eq!(client.get("/").await.text(), "a");
    }
    tell.write_all(b"again\n").unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        let is_asked = told.any(|line| line.unwrap() == "asked");
        (is_asked, told)
    });
    let (is_asked, told) = asked.await.unwrap();
    assert!(is_asked);
    drop(tell);
    let ended = tokio::task::spawn_blocking(move || {
        // It says how it ended.
        told.for_each(|line| drop(line.unwrap()));
        other.wait()
    });
    let ended = ended.await.unwrap();
    assert!(ended.unwrap().success());
}
