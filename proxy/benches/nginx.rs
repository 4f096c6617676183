//! The ingress beside nginx: the same backend, the same load, in turns within one run.
//!
//! `cargo bench -p proxy --bench nginx -- [seconds=4] [rounds=3] [threads=2] [workers=1]
//! [case=TEXT]` needs `nginx` and `wrk` on the path, and `h2load` for HTTP/2; only cases with that
//! text in their name are measured. What counts is the ratio of CPU time for a request: absolute
//! figures depend on what else the machine does. nginx proxies with `workers` workers, the ingress
//! is a process of its own with `threads` threads; generator, backend and proxies share all
//! processors.
//!
//! With `agent=PROGRAM`, the path of a built `trivet`, the ingress is that of whole agents, which
//! get the routes as an operator gives them; all that such an agent does counts.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be made ends the program, and the tables are its purpose"
)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use proxy::certs::{Pair, Store, Tls};
use proxy::route::{Table, parse};
use proxy::{AccessLog, Config, Handle, Listener, OwnHeaders, Proxy};

/// The largest body, in bytes.
const LARGE_BYTES: usize = 64 << 10;

/// How many connections rest when their memory is measured, and how many there are before.
const IDLE: usize = 10_000;
const IDLE_BEFORE: usize = 2000;

/// How often a second the table is replaced when that is measured, and how many routes it has.
const SWAPS_PER_SECOND: u32 = 100;
const SWAPPED_ROUTES: usize = 100;

/// What a browser sends.
const BROWSER: [&str; 12] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.com/some/page/of/a/site",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
];

struct Case {
    name: &'static str,
    connections: usize,
    path: &'static str,
    headers: &'static [&'static str],
    /// Which of the two ingress processes is asked.
    routes: usize,
    speaks: Speaks,
}

/// What the load generator speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS, eight requests at a time on a connection.
    Http2,
}

const FEW: usize = 10;
const MANY: usize = 5000;

/// So many routes, headers of the proxy's own, and a log of requests.
const USUAL: usize = FEW + 1;

const CASES: [Case; 10] = [
    Case {
        name: "kept, 64 connections",
        connections: 64,
        path: "/",
        headers: &[],
        routes: FEW,
        speaks: Speaks::Http1,
    },
    Case {
        name: "kept, 256 connections",
        connections: 256,
        path: "/",
        headers: &[],
        routes: FEW,
        speaks: Speaks::Http1,
    },
    Case {
        name: "twelve headers",
        connections: 64,
        path: "/",
        headers: &BROWSER,
        routes: FEW,
        speaks: Speaks::Http1,
    },
    Case {
        name: "own headers and a log",
        connections: 64,
        path: "/",
        headers: &BROWSER,
        routes: USUAL,
        speaks: Speaks::Http1,
    },
    Case {
        name: "5,000 routes",
        connections: 64,
        path: "/",
        headers: &["Host: h2500.example"],
        routes: MANY,
        speaks: Speaks::Http1,
    },
    Case {
        name: "64 KiB bodies",
        connections: 64,
        path: "/large",
        headers: &[],
        routes: FEW,
        speaks: Speaks::Http1,
    },
    Case {
        name: "Connection: close",
        connections: 64,
        path: "/",
        headers: &["Connection: close"],
        routes: FEW,
        speaks: Speaks::Http1,
    },
    Case {
        name: "TLS, kept, 64 connections",
        connections: 64,
        path: "/",
        headers: &[],
        routes: FEW,
        speaks: Speaks::Tls,
    },
    Case {
        name: "TLS, 64 KiB bodies",
        connections: 64,
        path: "/large",
        headers: &[],
        routes: FEW,
        speaks: Speaks::Tls,
    },
    Case {
        name: "HTTP/2, 64 connections",
        connections: 64,
        path: "/",
        headers: &[],
        routes: FEW,
        speaks: Speaks::Http2,
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let mut values = arguments
            .iter()
            .filter_map(|argument| argument.strip_prefix(name));
        values.next().and_then(|value| value.parse::<usize>().ok())
    };
    let threads = option("threads=").unwrap_or(2);
    let text = |name: &str| {
        let mut values = arguments.iter();
        values.find_map(|argument| argument.strip_prefix(name))
    };
    if let (Some(backend), Some(routes)) = (option("serve="), option("routes=")) {
        let certificate = Path::new(text("certificate=").unwrap_or_default());
        let log = text("log=").map(Path::new);
        let swaps = text("swaps=").map(Path::new);
        let backend = local(backend as u16);
        return serve(backend, (routes, log), threads, certificate, swaps);
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        // Run by the tests: there is nothing to check.
        return;
    }
    if find("nginx").is_none() || find("wrk").is_none() {
        println!("SKIPPED: needs `nginx` (Debian package nginx-light) and `wrk`");
        return;
    }
    measure(&Plan {
        seconds: option("seconds=").unwrap_or(4),
        rounds: option("rounds=").unwrap_or(3),
        threads,
        workers: option("workers=").unwrap_or(1),
        case: text("case=").unwrap_or_default(),
        agent: text("agent=").map(Path::new),
    });
}

/// What is measured, and how.
struct Plan<'a> {
    seconds: usize,
    rounds: usize,
    threads: usize,
    workers: usize,
    /// A part of the names of cases.
    case: &'a str,
    /// The program whose agents are measured.
    agent: Option<&'a Path>,
}

fn measure(plan: &Plan<'_>) {
    let Plan {
        seconds,
        rounds,
        threads,
        workers,
        case,
        agent,
    } = *plan;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::write(dir.path().join("large"), "x".repeat(LARGE_BYTES)).unwrap();
    let (backend_port, proxy_port, tls_port) = (free_port(), free_port(), free_port());
    let usual_port = free_port();
    let certificate = dir.path().join("certificate.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(
        &certificate,
        made.cert.pem() + &made.signing_key.serialize_pem(),
    )
    .unwrap();
    let pem = certificate.display();
    let backend = format!(
        "server {{ listen 127.0.0.1:{backend_port} reuseport; \
         listen 127.0.0.2:{backend_port} reuseport; keepalive_timeout 600;\n\
         location / {{ return 200 \"{}\"; }}\n location /large {{ root {}; sendfile on; }} }}",
        "x".repeat(6),
        dir.path().display()
    );
    let _backend = nginx(dir.path(), "backend", 1, &backend);
    let location = "location / { proxy_pass http://backend; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Real-Ip $remote_addr; \
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;";
    let peer = format!(
        "upstream backend {{ server 127.0.0.1:{backend_port}; keepalive 512; keepalive_requests 10000000; }}\n\
         server {{ listen 127.0.0.1:{proxy_port} reuseport; listen 127.0.0.1:{tls_port} ssl http2 reuseport; \
         ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3; \
         keepalive_timeout 600;\n {location} }} }}\n\
         server {{ listen 127.0.0.1:{usual_port} reuseport; keepalive_timeout 600; access_log {}/nginx.log combined;\n \
         {location} proxy_set_header X-Client $remote_addr; proxy_set_header X-Request-Id $request_id; }} }}",
        dir.path().display()
    );
    let peer = nginx(dir.path(), "proxy", workers, &peer);
    let start = |routes: usize, log: Option<&Path>| match agent {
        Some(program) => whole_agent(program, dir.path(), backend_port, routes, log, &certificate),
        None => ingress(backend_port, (routes, log), threads, &certificate, None),
    };
    let few = start(FEW, None);
    let many = start(MANY, None);
    let log = dir.path().join("ingress.log");
    let usual = start(USUAL, Some(&log));
    for port in [backend_port, proxy_port, tls_port, usual_port] {
        wait_for(port);
    }
    for own in [&few, &many, &usual] {
        wait_for(own.port);
    }
    let worker = children(peer.0.id());

    println!(
        "{seconds} s a run, {rounds} rounds in turns; medians; nginx with {workers} workers, {}\n",
        agent.map_or_else(
            || format!("ingress with {threads} threads"),
            |program| format!("whole agents of {}", program.display())
        )
    );
    println!(
        "| case | nginx CPU µs | ingress CPU µs | ratio (all) | nginx requests/s, p50, p99 | ingress requests/s, p50, p99 |"
    );
    println!("|---|---|---|---|---|---|");
    for case in CASES.iter().filter(|one| one.name.contains(case)) {
        if case.speaks == Speaks::Http2 && find("h2load").is_none() {
            println!(
                "| {} | needs `h2load` (Debian package nghttp2-client) | | | | |",
                case.name
            );
            continue;
        }
        let own = match case.routes {
            MANY => &many,
            USUAL => &usual,
            _ => &few,
        };
        let (their_port, own_port) = match case.speaks {
            Speaks::Http1 if case.routes == USUAL => (usual_port, own.port),
            Speaks::Http1 => (proxy_port, own.port),
            Speaks::Tls | Speaks::Http2 => (tls_port, own.tls_port),
        };
        let mut runs: Vec<(Run, Run)> = (0..rounds)
            .map(|_| {
                let theirs = load(their_port, &worker, case, seconds);
                (theirs, load(own_port, &[own.child.id()], case, seconds))
            })
            .collect();
        runs.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let all: Vec<String> = runs
            .iter()
            .map(|run| format!("{:.2}", ratio(run)))
            .collect();
        let (theirs, ours) = &runs[runs.len() / 2];
        let [their_speed, own_speed] = [
            speed(runs.iter().map(|(theirs, _)| theirs)),
            speed(runs.iter().map(|(_, ours)| ours)),
        ];
        println!(
            "| {} | {:.1} | {:.1} | **{:.2}** ({}) | {} | {} |",
            case.name,
            theirs.cpu_us,
            ours.cpu_us,
            ratio(&runs[runs.len() / 2]),
            all.join(" "),
            their_speed,
            own_speed
        );
    }
    if agent.is_none() && "swaps".contains(case) {
        swaps(dir.path(), backend_port, threads, &certificate, seconds);
    }
    if !case.is_empty() {
        return;
    }
    println!("\n| memory of an idle connection | bytes |\n|---|---|");
    for (name, port, pids) in [
        ("nginx", proxy_port, &worker[..]),
        ("ingress", few.port, &[few.child.id()]),
    ] {
        println!("| {name} | {} |", idle_bytes(port, pids));
    }
}

/// Load while the table is replaced all the time: what fails, and what stays in memory.
fn swaps(dir: &Path, backend: u16, threads: usize, certificate: &Path, seconds: usize) {
    let told = dir.join("swaps");
    let own = ingress(
        backend,
        (SWAPPED_ROUTES, None),
        threads,
        certificate,
        Some(&told),
    );
    wait_for(own.port);
    let count = || -> usize {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    println!(
        "\n| a table of {SWAPPED_ROUTES} routes is replaced {SWAPS_PER_SECOND} times a second, 64 connections | requests | failed | replaced | anonymous memory, MiB |\n\
         |---|---|---|---|---|"
    );
    for window in ["first", "second", "third"] {
        let before = count();
        let output = Command::new(find("wrk").unwrap())
            .args(["-t1", "-c64"])
            .arg(format!("-d{seconds}s"))
            .arg(format!("http://127.0.0.1:{}/", own.port))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().map(str::trim);
        let total = lines
            .find(|line| line.contains("requests in"))
            .and_then(|line| line.split_whitespace().next())
            .unwrap_or("?");
        // It speaks of failures only if there were some.
        let failed: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("Socket errors") || line.starts_with("Non-2xx"))
            .collect();
        let failed = if failed.is_empty() {
            "0".to_owned()
        } else {
            failed.join("; ")
        };
        println!(
            "| {window} {seconds} s | {total} | {failed} | {} | {:.1} |",
            count() - before,
            anonymous(&[own.child.id()]) as f64 / f64::from(1 << 20)
        );
    }
}

fn ratio((theirs, ours): &(Run, Run)) -> f64 {
    ours.cpu_us / theirs.cpu_us
}

/// One run of the load generator.
struct Run {
    cpu_us: f64,
    per_second: f64,
    /// How long half of the requests took, and 99 of 100.
    took_ms: [f64; 2],
}

/// Medians of some runs, each for itself: requests a second, p50 and p99.
fn speed<'r>(runs: impl Iterator<Item = &'r Run>) -> String {
    let runs: Vec<&Run> = runs.collect();
    let median = |of: &dyn Fn(&Run) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(|run| of(run)).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    format!(
        "{:.0}, {:.2} ms, {:.2} ms",
        median(&|run| run.per_second),
        median(&|run| run.took_ms[0]),
        median(&|run| run.took_ms[1])
    )
}

/// A time as `wrk` writes it, in milliseconds.
fn milliseconds(text: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let read = |(unit, ms): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * ms);
    units.into_iter().find_map(read).unwrap_or(f64::NAN)
}

fn load(port: u16, pids: &[u32], case: &Case, seconds: usize) -> Run {
    if case.speaks == Speaks::Http2 {
        return load_http2(port, pids, case, seconds);
    }
    let scheme = if case.speaks == Speaks::Tls {
        "https"
    } else {
        "http"
    };
    let mut wrk = Command::new(find("wrk").unwrap());
    wrk.args(["-t1", "--latency"])
        .arg(format!("-c{}", case.connections))
        .arg(format!("-d{seconds}s"));
    for header in case.headers {
        wrk.arg("-H").arg(header);
    }
    let before = cpu(pids);
    let output = wrk
        .arg(format!("{scheme}://127.0.0.1:{port}{}", case.path))
        .output()
        .unwrap();
    let used = cpu(pids) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && !text.contains("Non-2xx"),
        "{text}"
    );
    let word = |start: &str, at: usize| {
        let mut lines = text.lines().map(str::trim);
        let line = lines
            .find(|line| line.starts_with(start))
            .unwrap_or_default();
        line.split_whitespace().nth(at).unwrap_or("?").to_owned()
    };
    let total = text
        .lines()
        .find(|line| line.contains("requests in"))
        .unwrap();
    let total: f64 = total.split_whitespace().next().unwrap().parse().unwrap();
    Run {
        cpu_us: used.as_secs_f64() * 1e6 / total,
        per_second: word("Requests/sec:", 1).parse().unwrap_or(f64::NAN),
        took_ms: [milliseconds(&word("50%", 1)), milliseconds(&word("99%", 1))],
    }
}

fn load_http2(port: u16, pids: &[u32], case: &Case, seconds: usize) -> Run {
    let log = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    let before = cpu(pids);
    let output = Command::new(find("h2load").unwrap())
        .args(["-t1", "-m8"])
        .arg(format!("--log-file={}", log.path().display()))
        .arg(format!("-c{}", case.connections))
        .arg(format!("-D{seconds}"))
        .arg(format!("https://127.0.0.1:{port}{}", case.path))
        .output()
        .unwrap();
    let used = cpu(pids) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |start: &str| {
        let mut lines = text.lines().map(str::trim);
        lines
            .find(|line| line.starts_with(start))
            .unwrap_or_default()
    };
    // "requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, …"
    let words: Vec<&str> = line("requests:").split_whitespace().collect();
    let before_word = |word: &str| {
        let at = words
            .iter()
            .position(|own| own.trim_end_matches(',') == word);
        at.and_then(|at| words[at - 1].parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let (done, failed) = (before_word("succeeded"), before_word("failed"));
    assert!(
        output.status.success() && done > 0.0 && failed == 0.0,
        "{text}"
    );
    let per_second = line("finished in").split_whitespace().nth(3);
    Run {
        cpu_us: used.as_secs_f64() * 1e6 / done,
        per_second: per_second
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN),
        took_ms: quantiles(log.path()),
    }
}

/// How long half of the requests of a log of `h2load` took, and how long 99 of 100.
fn quantiles(log: &Path) -> [f64; 2] {
    let text = std::fs::read_to_string(log).unwrap();
    // When it began, the status, how many microseconds it took.
    let took = |line: &str| line.split_whitespace().nth(2)?.parse().ok();
    let mut took: Vec<u64> = text.lines().filter_map(took).collect();
    took.sort_unstable();
    [50, 99].map(|percent| {
        let us = took.get(took.len() * percent / 100).copied();
        us.map_or(f64::NAN, |us| us as f64 / 1000.0)
    })
}

/// What a connection that was served once and rests costs a process.
fn idle_bytes(port: u16, pids: &[u32]) -> usize {
    let request = b"GET / HTTP/1.1\r\nHost: any\r\n\r\n";
    let open = |count: usize| -> Vec<TcpStream> {
        let one = || {
            use std::io::{Read, Write};
            let mut stream = TcpStream::connect(local(port)).unwrap();
            stream.write_all(request).unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream
        };
        (0..count).map(|_| one()).collect()
    };
    // What the first ones cost is not paid again.
    let _first = open(IDLE_BEFORE);
    let before = anonymous(pids);
    let _second = open(IDLE);
    anonymous(pids).saturating_sub(before) / IDLE
}

fn anonymous(pids: &[u32]) -> usize {
    pids.iter().map(|&pid| anonymous_of(pid)).sum()
}

fn anonymous_of(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

/// Time on a processor so far, from the scheduler's own count of every thread.
fn cpu(pids: &[u32]) -> Duration {
    let threads = pids
        .iter()
        .flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap())
        .flatten();
    let of = |thread: std::fs::DirEntry| -> u64 {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        stat.split_whitespace()
            .next()
            .and_then(|time| time.parse().ok())
            .unwrap_or(0)
    };
    Duration::from_nanos(threads.map(of).sum())
}

/// A child that ends with the measurement.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // Ended in order, it takes its workers along.
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        self.0.wait().ok();
    }
}

fn nginx(dir: &Path, name: &str, workers: usize, server: &str) -> Ended {
    let home = dir.join(name);
    std::fs::create_dir_all(&home).unwrap();
    let conf = format!(
        "daemon off; worker_processes {workers}; pid {0}/pid; error_log {0}/error.log; user root;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log off; keepalive_requests 100000000;\n {server} }}\n",
        home.display()
    );
    std::fs::write(home.join("nginx.conf"), conf).unwrap();
    let mut command = Command::new(find("nginx").unwrap());
    command
        .arg("-p")
        .arg(&home)
        .arg("-c")
        .arg(home.join("nginx.conf"));
    Ended(command.spawn().unwrap())
}

struct Ingress {
    child: Child,
    port: u16,
    tls_port: u16,
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ingress(
    backend: u16,
    (routes, log): (usize, Option<&Path>),
    threads: usize,
    certificate: &Path,
    swaps: Option<&Path>,
) -> Ingress {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg(format!("serve={backend}"))
        .arg(format!("routes={routes}"))
        .arg(format!("threads={threads}"))
        .arg(format!("certificate={}", certificate.display()))
        .stdout(Stdio::piped());
    if let Some(log) = log {
        command.arg(format!("log={}", log.display()));
    }
    if let Some(swaps) = swaps {
        command.arg(format!("swaps={}", swaps.display()));
    }
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (port, tls_port) = line.trim().split_once(' ').unwrap();
    Ingress {
        child,
        port: port.parse().unwrap(),
        tls_port: tls_port.parse().unwrap(),
    }
}

/// Runs an agent in development mode whose ingress has so many routes to a backend, as
/// [`serve`] does.
fn whole_agent(
    program: &Path,
    dir: &Path,
    backend: u16,
    routes: usize,
    log: Option<&Path>,
    certificate: &Path,
) -> Ingress {
    use std::io::{BufRead, BufReader};
    let home = dir.join(format!("agent-{routes}"));
    std::fs::create_dir_all(&home).unwrap();
    let (port, tls_port) = (free_port(), free_port());
    let more = log.map_or_else(String::new, |log| {
        format!(
            "header_clientip = \"X-Client\"\nheader_requestid = \"X-Request-Id\"\n\
             access_log = \"combined\"\naccess_log_target = \"{}\"\n",
            log.display()
        )
    });
    let text = format!(
        "data_dir = \"{}\"\nbind_addr = \"127.0.0.1\"\n\
         ports {{\n http = 0\n rpc = 0\n catalog = 0\n dns = 0\n ingress_admin = 0\n}}\n\
         ingress {{\n listener \"127.0.0.1:{port}\" {{}}\n\
         listener \"127.0.0.1:{tls_port}\" {{\n proto = \"https\"\n cs = \"own\"\n}}\n\
         certificates \"own\" {{\n type = \"file\"\n cert = \"{}\"\n}}\n{more}}}\n",
        home.join("data").display(),
        certificate.display(),
    );
    let file = home.join("agent.hcl");
    std::fs::write(&file, text).unwrap();
    let errors = std::fs::File::create(home.join("errors")).unwrap();
    let mut child = Command::new(program)
        .args(["agent", "-dev", "-config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut admin = None;
    let is_started = lines.by_ref().map_while(Result::ok).any(|line| {
        if let Some((name, address)) = line.trim().split_once(": ")
            && name == "http"
        {
            admin = address.parse::<SocketAddr>().ok();
        }
        line.contains("agent started")
    });
    let own = Ingress {
        child,
        port,
        tls_port,
    };
    assert!(
        is_started,
        "{}",
        std::fs::read_to_string(home.join("errors")).unwrap_or_default()
    );
    // It must not find its output closed.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let routes = route_lines(local(backend), routes);
    let told = exchange(
        admin.unwrap(),
        &format!(
            "PUT /v1/trivet/routes/overrides HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{routes}",
            routes.len()
        ),
    );
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    // The routes are there once a request finds its way.
    let is_routed = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let asked = "GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
        exchange(local(port), asked).starts_with("HTTP/1.1 200")
    });
    assert!(is_routed, "the routes of the agent do not come into force");
    own
}

/// What is answered until the connection ends.
fn exchange(address: SocketAddr, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// So many routes to a backend: one for all hosts, the others for hosts of their own, every third
/// of which is a pattern.
fn route_lines(backend: SocketAddr, routes: usize) -> String {
    let mut text = format!("route add web / http://{backend}/\n");
    for route in 1..routes {
        let host = if route % 3 == 0 {
            format!("*.g{route}.example")
        } else {
            format!("h{route}.example")
        };
        text.push_str(&format!("route add web {host}/ http://{backend}/\n"));
    }
    text
}

/// Runs an ingress with so many routes to a backend, and says its ports, without TLS and with. With
/// a log, requests get headers of the proxy's own too. With a file for `swaps`, the table is
/// replaced all the time, and how often is written there.
fn serve(
    backend: SocketAddr,
    (routes, log): (usize, Option<&Path>),
    threads: usize,
    certificate: &Path,
    swaps: Option<&Path>,
) {
    let pem = std::fs::read(certificate).unwrap();
    let store = Arc::new(Store::default());
    let unusable = store.replace(vec![Pair {
        name: "own".to_owned(),
        chain: pem.clone(),
        key: pem,
    }]);
    assert!(unusable.is_empty(), "{unusable:?}");
    let plain = Listener::http(local(0));
    let secured = Listener {
        tls: Some(Tls::new(store)),
        ..plain.clone()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = Config {
            listeners: vec![plain, secured],
            threads,
            connections_max: IDLE_BEFORE + IDLE + 1000,
            own_headers: log.map_or_else(OwnHeaders::default, |_| OwnHeaders {
                client_ip: Some("X-Client".to_owned()),
                request_id: Some("X-Request-Id".to_owned()),
                ..OwnHeaders::default()
            }),
            access_log: log.map(write_log),
            ..Config::default()
        };
        let proxy = Proxy::bind(config).unwrap();
        let (definitions, problems) = parse::parse(&route_lines(backend, routes));
        assert!(problems.is_empty(), "{problems:?}");
        drop(proxy.handle().swap(Table::build(definitions, None).0));
        let ports = proxy.local_addrs();
        println!("{} {}", ports[0].port(), ports[1].port());
        if let Some(swaps) = swaps {
            tokio::spawn(replace(proxy.handle(), backend, routes, swaps.to_owned()));
        }
        proxy.run(std::future::pending()).await.unwrap();
    });
}

/// Replaces the table again and again. Two addresses lead to the backend; each table has one of
/// them or both, so that every other one lets a target go that has requests.
async fn replace(handle: Handle, backend: SocketAddr, routes: usize, told: PathBuf) {
    let other = SocketAddr::from(([127, 0, 0, 2], backend.port()));
    let one = route_lines(backend, routes);
    let another = route_lines(other, routes);
    let both = format!("{one}{another}");
    let mut turns = tokio::time::interval(Duration::from_secs(1) / SWAPS_PER_SECOND);
    for (at, text) in (1..).zip([&one, &both, &another, &both].into_iter().cycle()) {
        turns.tick().await;
        let (definitions, _) = parse::parse(text);
        let (table, _) = Table::build(definitions, Some(&handle.table()));
        drop(handle.swap(table));
        std::fs::write(&told, at.to_string()).unwrap();
    }
}

/// A log of requests that a thread writes to a file, as many lines at a time as wait.
fn write_log(path: &Path) -> Arc<AccessLog> {
    use std::io::Write;
    let (log, mut lines) = AccessLog::new("combined").unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    std::thread::spawn(move || {
        let mut waiting = Vec::new();
        while lines.blocking_recv_many(&mut waiting, 512) > 0 {
            file.write_all(waiting.concat().as_bytes()).unwrap();
            waiting.clear();
        }
    });
    Arc::new(log)
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap();
    let numbers = children.split_whitespace();
    numbers.map(|number| number.parse().unwrap()).collect()
}

fn wait_for(port: u16) {
    for _ in 0..500 {
        if TcpStream::connect(local(port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("nothing listens on {port}");
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn free_port() -> u16 {
    TcpListener::bind(local(0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin"])
        .map(|dir| PathBuf::from(dir).join(program))
        .find(|file| file.is_file())
}
