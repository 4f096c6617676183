//! Traffic while tasks and the disk are busy: the p99 of ingress and DNS, calm and in a storm of
//! small jobs with large writes on the data directory's disk.
//!
//! Load is offered at a fixed pace by threads of this program, latency counts from the moment at
//! which a request was due, and calm and stormy windows take turns, so that what else happens on
//! the machine meets both. When the system lets a thread that slept until a request was due run
//! late, the request counts from then: that delay is the generator's own.
//!
//! The same requests also go straight to the backend, at the same time: what they wait for is the
//! machine alone, and no program between them can be felt less than it.

use crate::harness::{Agent, Echo, agent::Mode, dns, eventually, http, programs};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    process::Command,
    task::{JoinSet, spawn_blocking},
    time::{Instant, interval},
};

/// Rounds of a calm and a stormy window each, unless told otherwise.
const ROUNDS: usize = 3;
const WINDOW: Duration = Duration::from_secs(6);
/// Requests a second of each kind, over all connections.
const PACE: u32 = 500;
const CONNECTIONS: u32 = 4;
const JOBS_PER_SECOND: u32 = 300;
const SUBMITTERS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(5);

/// Latencies of one window in microseconds, ascending.
struct Window(Vec<u64>);

impl Window {
    fn new(mut latencies: Vec<u64>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(f64::NAN, |us| *us as f64 / 1e3)
    }
}

/// Words: `rounds=`.
pub(crate) async fn run(words: &[String]) {
    let rounds = words.iter().find_map(|word| word.strip_prefix("rounds="));
    let rounds = rounds.map_or(ROUNDS, |text| text.parse().expect("a number"));
    let agent = Agent::start_with(Mode::Durable, "").await;
    let backend = backend();
    let text = format!("route add bench / http://{backend}/\n");
    let told = http::client()
        .put(agent.url("http", "/v1/trivet/routes/overrides"))
        .body(text)
        .send()
        .await
        .expect("an answer");
    assert!(told.status().is_success(), "{}", told.status());
    Echo::new("web", 1).run(&agent).await;
    eventually("the name", || async {
        let ports = dns::srv_ports(agent.address("dns"), "web.service.consul.").await;
        if ports.is_empty() {
            Err("no answer".to_owned())
        } else {
            Ok(())
        }
    })
    .await;

    println!(
        "{PACE} requests/s on {CONNECTIONS} connections, {PACE} DNS queries/s by UDP and {PACE} requests/s on one connection straight to the \
         backend, windows of {} s in turn;\n\
         a storm is {JOBS_PER_SECOND} one-task raw_exec jobs of /bin/true a second and `dd … conv=fsync` of 64 MiB \
         again and again\n\
         on the disk of the data directory ({}); load generator and backend run in real time (chrt --fifo 1) where that is allowed\n",
        WINDOW.as_secs(),
        filesystem(agent.dir()).await,
    );
    println!(
        "| round | | ingress p50 ms | ingress p99 ms | DNS p50 ms | DNS p99 ms | direct p50 ms | direct p99 ms | jobs/s | dd runs |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    let mut rounds_of = Vec::new();
    for round in 0..rounds {
        let calm = traffic(&agent, backend).await;
        print(round, "calm", &calm, "", "");
        let storming = Arc::new(AtomicBool::new(true));
        let jobs = tokio::spawn(jobs(agent.url("http", "/v1/jobs"), round, storming.clone()));
        let disk = tokio::spawn(disk(agent.dir().join("storm"), storming.clone()));
        let start = Instant::now();
        let storm = traffic(&agent, backend).await;
        let lasted = start.elapsed().as_secs_f64();
        storming.store(false, Ordering::Relaxed);
        let jobs = jobs.await.expect("the jobs are submitted");
        let disk = disk.await.expect("the disk is written");
        let rate = format!("{:.0}", f64::from(jobs) / lasted);
        print(round, "storm", &storm, &rate, &disk.to_string());
        rounds_of.push(Round {
            calm: calm.map(|window| window.percentile(99)),
            storm: storm.map(|window| window.percentile(99)),
        });
    }
    print_ratios(&rounds_of);
}

/// The p99 of ingress, DNS and the backend by itself, milliseconds.
struct Round {
    calm: [f64; 3],
    storm: [f64; 3],
}

/// Where the backend by itself stands among the windows.
const DIRECT: usize = 2;

/// What the storm does to each kind, and what it does to it beyond what it does to requests that no
/// program of ours touches.
fn print_ratios(rounds: &[Round]) {
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let slowed = |round: &Round, at: usize| round.storm[at] / round.calm[at];
    println!(
        "\n| medians of {} rounds | ingress | DNS | direct |\n|---|---|---|---|",
        rounds.len()
    );
    let row = |name: &str, of: &dyn Fn(&Round, usize) -> f64| {
        let [ingress, dns, direct] = [0, 1, DIRECT].map(|at| median(&|round| of(round, at)));
        println!("| {name} | {ingress:.2} | {dns:.2} | {direct:.2} |");
    };
    row("p99 calm, ms", &|round, at| round.calm[at]);
    row("p99 storm, ms", &|round, at| round.storm[at]);
    row("storm / calm (aim: at most 1.5)", &slowed);
    row("of it beyond direct (aim: at most 1.5)", &|round, at| {
        slowed(round, at) / slowed(round, DIRECT)
    });
    row("through us / direct, calm", &|round, at| {
        round.calm[at] / round.calm[DIRECT]
    });
    row("through us / direct, storm", &|round, at| {
        round.storm[at] / round.storm[DIRECT]
    });
}

fn print(round: usize, name: &str, windows: &[Window; 3], jobs: &str, disk: &str) {
    let mut line = format!("| {round} | {name} |");
    for window in windows {
        write!(
            line,
            " {:.2} | {:.2} |",
            window.percentile(50),
            window.percentile(99)
        )
        .expect("a string takes text");
    }
    println!("{line} {jobs} | {disk} |");
}

/// One window of ingress, DNS and the backend by itself, at the same time.
async fn traffic(agent: &Agent, backend: SocketAddr) -> [Window; 3] {
    let (ingress, resolver) = (agent.address("ingress"), agent.address("dns"));
    let pause = Duration::from_secs(1) / PACE;
    let requested: Vec<_> = (0..CONNECTIONS)
        .map(|at| spawn_blocking(move || requests(ingress, pause * at, pause * CONNECTIONS)))
        .collect();
    let direct = spawn_blocking(move || requests(backend, Duration::ZERO, pause));
    let queries = spawn_blocking(move || queries(resolver, pause));
    let mut all = Vec::new();
    for requested in requested {
        all.extend(requested.await.expect("requests are answered"));
    }
    let queries = queries.await.expect("queries are answered");
    let direct = direct.await.expect("requests are answered");
    [all, queries, direct].map(Window::new)
}

/// Calls `once` at a fixed pace for a window; the time from when each call was due to its end, in
/// microseconds. Where the thread slept until then and woke late, from when it woke.
fn at_pace(first: Duration, pause: Duration, mut once: impl FnMut()) -> Vec<u64> {
    favor_this_thread();
    let start = Instant::now() + first;
    let mut latencies = Vec::new();
    let mut due = start;
    while due.duration_since(start) < WINDOW {
        let early = due.saturating_duration_since(Instant::now());
        thread::sleep(early);
        let from = if early.is_zero() { due } else { Instant::now() };
        once();
        latencies.push(u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX));
        due += pause;
    }
    latencies
}

fn requests(address: SocketAddr, first: Duration, pause: Duration) -> Vec<u64> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    at_pace(first, pause, || {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
            .expect("a request");
        let mut answer = [0; 1024];
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\nok") {
            let read = stream.read(&mut answer[length..]).expect("an answer");
            assert!(read > 0, "the connection ended");
            length += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "a good answer");
    })
}

fn queries(address: SocketAddr, pause: Duration) -> Vec<u64> {
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("web.service.consul.").expect("a name");
    message.add_query(Query::query(name, RecordType::SRV));
    let question = message.to_vec().expect("a message");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    at_pace(Duration::ZERO, pause, || {
        socket.send(&question).expect("a query");
        let mut answer = [0; 1024];
        socket.recv(&mut answer).expect("an answer");
    })
}

/// A server that answers `ok`, on threads that the storm does not delay.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    favor_this_thread();
    stream.set_nodelay(true).ok();
    let mut request = [0; 4096];
    let mut length = 0;
    while let Ok(read @ 1..) = stream.read(&mut request[length..]) {
        length += read;
        if request[..length].ends_with(b"\r\n\r\n") {
            length = 0;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// The measurement is of the agent: what measures should not wait itself. A nice value is not
/// enough where each session is a scheduling group of its own, for each task is a session.
fn favor_this_thread() {
    let thread = nix::unistd::gettid().to_string();
    std::process::Command::new("chrt")
        .args(["--fifo", "--pid", "1", &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok();
}

/// Registers jobs at a fixed pace until it is over; how many.
async fn jobs(url: String, round: usize, storming: Arc<AtomicBool>) -> u32 {
    let mut submitters = JoinSet::new();
    for submitter in 0..SUBMITTERS {
        let (url, storming) = (url.clone(), storming.clone());
        submitters.spawn(async move {
            let client = http::client();
            let mut pace = interval(Duration::from_secs(1) * SUBMITTERS / JOBS_PER_SECOND);
            let mut count = 0;
            while storming.load(Ordering::Relaxed) {
                pace.tick().await;
                let job = json!({"Job": {
                    "ID": format!("s{round}-{submitter}-{count:05}"), "Type": "batch", "Datacenters": ["*"],
                    "TaskGroups": [{"Name": "g", "Tasks": [{
                        "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
                        "Resources": {"CPU": 1, "MemoryMB": 10},
                        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1}}],
                        "EphemeralDisk": {"SizeMB": 10}}],
                }});
                let response = client.put(&url).json(&job).send().await.expect("an answer");
                assert!(response.status().is_success(), "{}", response.status());
                response.bytes().await.expect("a body");
                count += 1;
            }
            count
        });
    }
    submitters.join_all().await.into_iter().sum()
}

/// Writes a file to the disk again and again until it is over; how often.
async fn disk(file: std::path::PathBuf, storming: Arc<AtomicBool>) -> u32 {
    let mut runs = 0;
    while storming.load(Ordering::Relaxed) {
        let status = Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", "count=64", "conv=fsync"])
            .arg(format!("of={}", file.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .expect("dd runs");
        assert!(status.success(), "{status}");
        runs += 1;
    }
    std::fs::remove_file(file).ok();
    runs
}

async fn filesystem(dir: &Path) -> String {
    let Some(stat) = programs::find("stat") else {
        return "unknown".into();
    };
    let output = Command::new(stat)
        .args(["-f", "-c", "%T"])
        .arg(dir)
        .output()
        .await;
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
