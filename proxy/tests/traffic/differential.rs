//! The two ways of carrying a request side by side: the same bytes go over both, and what the
//! client gets, how its connection ends and what the target sees must be the same.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy::certs::Tls;
use proxy::{AccessLog, Config, Library, Listener, OwnHeaders};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::running::Running;
use crate::secured;

/// No case takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request at the end of what a client sends: if it is reached, the connection ends after it.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";

/// A message with its header lines in order of their names, in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    first: String,
    lines: Vec<String>,
    body: Vec<u8>,
    is_whole: bool,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.lines.iter().filter_map(|line| line.split_once(": "));
        let mut own = lines.filter(|(own, _)| *own == name);
        own.next().map(|(_, value)| value)
    }

    fn is_interim(&self) -> bool {
        self.first.starts_with("HTTP/1.1 1")
    }
}

/// Takes a head from the start of bytes; nothing if it is not whole.
fn head(bytes: &mut Vec<u8>) -> Option<Seen> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head: Vec<u8> = bytes.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            let value = if name == "date" { "now" } else { value };
            format!("{name}: {value}")
        })
        .collect();
    lines.sort();
    Some(Seen {
        first,
        lines,
        body: Vec::new(),
        is_whole: true,
    })
}

/// Takes chunks from the start of bytes; what is there of the content, and whether it is all.
fn chunks(bytes: &mut Vec<u8>) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
            return (content, false);
        };
        let size = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        if bytes.len() < end + 2 + size + 2 {
            return (content, false);
        }
        content.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes.drain(..end + 2 + size + 2);
        if size == 0 {
            return (content, true);
        }
    }
}

/// Takes the body of a message from the start of bytes.
fn body(seen: &mut Seen, bytes: &mut Vec<u8>) {
    if seen
        .header("transfer-encoding")
        .is_some_and(|coding| coding.ends_with("chunked"))
    {
        (seen.body, seen.is_whole) = chunks(bytes);
    } else if let Some(length) = seen.header("content-length") {
        let length: usize = length.parse().unwrap();
        seen.is_whole = bytes.len() >= length;
        seen.body = bytes.drain(..length.min(bytes.len())).collect();
    } else {
        seen.body = std::mem::take(bytes);
    }
}

/// The answers in what a client got; the n-th request was one by HEAD if `heads` says so.
fn answers(mut bytes: Vec<u8>, heads: &[bool]) -> Vec<Seen> {
    let mut answers = Vec::new();
    let mut number = 0;
    while let Some(mut answer) = head(&mut bytes) {
        let status = answer
            .first
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let has_body = !heads.get(number).copied().unwrap_or(false)
            && !answer.is_interim()
            && status != "204"
            && status != "304";
        if has_body {
            body(&mut answer, &mut bytes);
        }
        number += usize::from(!answer.is_interim());
        answers.push(answer);
    }
    assert_eq!(String::from_utf8_lossy(&bytes), "", "no answer");
    answers
}

/// How a target answers.
#[derive(Clone)]
struct Script {
    /// The answer to the first request, and whether the connection ends after it.
    first: Option<(Vec<u8>, bool)>,
}

/// A target that writes down what it sees.
struct Target {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    listening: AbortHandle,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Target {
    async fn start(script: Script) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let listening = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(serve(stream, noted.clone(), script.clone()));
            }
        });
        Target {
            address,
            seen,
            listening: listening.abort_handle(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap().clone();
        // The port of the proxy is its own.
        for request in &mut seen {
            request
                .lines
                .retain(|line| !line.starts_with("x-forwarded-port: "));
            for line in &mut request.lines {
                // No two requests have the same.
                if line.starts_with("x-request-id: ") && line.len() == 14 + 36 {
                    line.replace_range(14.., "own");
                }
            }
        }
        seen
    }
}

async fn serve(mut stream: TcpStream, noted: Arc<Mutex<Vec<Seen>>>, script: Script) {
    let mut bytes = Vec::new();
    let mut request: Option<Seen> = None;
    loop {
        if request.is_none() {
            request = head(&mut bytes);
        }
        if let Some(seen) = &request {
            let mut seen = seen.clone();
            let mut rest = bytes.clone();
            let has_body = seen.header("transfer-encoding").is_some()
                || seen.header("content-length").is_some();
            if has_body {
                body(&mut seen, &mut rest);
            }
            if seen.is_whole {
                bytes = rest;
                request = None;
                let is_last = seen.first.contains(" /last ");
                noted.lock().unwrap().push(seen);
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
                let (answer, closes) = match &script.first {
                    Some(first) if !is_last => first.clone(),
                    _ => (ok, false),
                };
                if stream.write_all(&answer).await.is_err() || closes {
                    return;
                }
                continue;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// A proxy of each way with a target of its own.
struct Both {
    /// What the targets answer.
    answer: String,
    ways: Vec<(Running, Target)>,
    /// For clients that speak TLS.
    connector: Option<TlsConnector>,
}

/// A connection of a client.
trait Open: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Open for T {}

/// What came of some bytes on one way.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answers: Vec<Seen>,
    requests: Vec<Seen>,
}

impl Both {
    async fn start(config: &Config, script: &Script) -> Both {
        Both::start_each([config.clone(), config.clone()], script).await
    }

    async fn start_each(configs: [Config; 2], script: &Script) -> Both {
        let mut ways = Vec::new();
        for (library, config) in [Library::Doubtful, Library::All].into_iter().zip(configs) {
            let target = Target::start(script.clone()).await;
            let config = Config {
                library,
                // Both ways have connections to the target that wait, or both have none, however
                // long the machine pauses.
                threads: 1,
                upstream_idle_timeout: 10 * PATIENCE,
                ..config
            };
            let running = Running::start(config).await;
            let text = format!(
                "route add a any/ http://{}/\nroute add a /x http://{0}/",
                target.address
            );
            drop(running.handle.swap(running.table(&text)));
            ways.push((running, target));
        }
        let answer = script.first.as_ref();
        let answer = answer.map_or_else(String::new, |(bytes, _)| bytes.escape_ascii().to_string());
        Both {
            answer,
            ways,
            connector: None,
        }
    }

    /// Sends bytes over both ways on a connection each, until it ends.
    async fn outcomes(&self, bytes: &[u8], says_no_more: bool, heads: &[bool]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (running, target) in &self.ways {
            target.seen.lock().unwrap().clear();
            let mut client: Box<dyn Open> = match &self.connector {
                None => Box::new(TcpStream::connect(running.address).await.unwrap()),
                Some(connector) => {
                    let client = secured::connect(connector, running.address, "any").await;
                    Box::new(client.unwrap())
                }
            };
            client.write_all(bytes).await.ok();
            client.flush().await.ok();
            if says_no_more {
                client.shutdown().await.ok();
            }
            let mut got = Vec::new();
            let read = timeout(PATIENCE, client.read_to_end(&mut got)).await;
            // The library ends TLS without saying so when it gives up.
            let is_cut = |error: &std::io::Error| {
                self.connector.is_some() && error.kind() == std::io::ErrorKind::UnexpectedEof
            };
            let ended = read.is_ok_and(|result| result.as_ref().err().is_none_or(is_cut));
            assert!(
                ended,
                "still open, or reset, on the way of {:?}: {} with {}",
                running.library,
                bytes.escape_ascii(),
                self.answer
            );
            let mut answers = answers(got, heads);
            // That it breaks off counts, not where.
            answers.retain(|answer| answer.is_whole);
            if says_no_more {
                // The connection ends anyway; the library sees it coming.
                for answer in &mut answers {
                    answer
                        .lines
                        .retain(|line| !line.starts_with("connection: "));
                }
            }
            outcomes.push(Outcome {
                answers,
                requests: target.seen(),
            });
        }
        outcomes
    }

    async fn compare(&self, bytes: &[u8], says_no_more: bool, heads: &[bool]) -> Outcome {
        let mut outcomes = self.outcomes(bytes, says_no_more, heads).await;
        let library = outcomes.pop().unwrap();
        let short = outcomes.pop().unwrap();
        let raw = bytes.escape_ascii();
        assert_eq!(short, library, "{raw} with {}", self.answer);
        short
    }
}

const PLAIN: Script = Script { first: None };

#[tokio::test]
async fn doubtful_requests_end_alike() {
    let both = Both::start(&Config::default(), &PLAIN).await;
    for (raw, status) in [
        ("GET / HTTP/1.1\r\nHost: any\r\n\r\n", "200"),
        ("HEAD / HTTP/1.1\r\nHost: any\r\n\r\n", "200"),
        (
            "GET /a?b=%20c HTTP/1.1\r\nHOST: any:80\r\nA: 1\r\na: 2\r\nCookie: x=y; z\r\n\r\n",
            "200",
        ),
        ("GET /../x HTTP/1.1\r\nHost: ANY.\r\n\r\n", "200"),
        ("GET /%2e%2e/x//y HTTP/1.1\r\nHost: any\r\n\r\n", "200"),
        ("GET /x HTTP/1.1\r\nHost: other\r\n\r\n", "200"),
        ("GET /y HTTP/1.1\r\nHost: other\r\n\r\n", "404"),
        (
            "POST /y HTTP/1.1\r\nHost: other\r\nContent-Length: 3\r\n\r\nabc",
            "404",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 3\r\n\r\nabc",
            "200",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 0\r\n\r\n",
            "200",
        ),
        ("POST / HTTP/1.1\r\nHost: any\r\n\r\n", "200"),
        (
            "DELETE / HTTP/1.1\r\nHost: any\r\nContent-Length: 1\r\n\r\nx",
            "200",
        ),
        ("OPTIONS / HTTP/1.1\r\nHost: any\r\n\r\n", "200"),
        ("OPTIONS * HTTP/1.1\r\nHost: any\r\n\r\n", "404"),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n",
            "200",
        ),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nConnection: Keep-Alive\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\n",
            "200",
        ),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nConnection: X-Real-Ip, X-A\r\nX-Real-Ip: 1\r\nX-A: 2\r\n\r\n",
            "200",
        ),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nX-Forwarded-For: 1\r\nx-forwarded-for: 2\r\nForwarded: for=3;proto=https\r\n\r\n",
            "200",
        ),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: p\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /q\r\n\r\n",
            "200",
        ),
        ("GET / HTTP/1.1\r\nHost: any\r\nTE: trailers\r\n\r\n", "200"),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nProxy-Authorization: x\r\n\r\n",
            "200",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "200",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "200",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "200",
        ),
        ("GET http://any/x HTTP/1.1\r\nHost: any\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\nHost: any\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\n\r\n", "404"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: any\nX: 1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: any\n\n", "400"),
        ("GET ftp://any/ HTTP/1.1\r\nHost: any\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: any\r\nHost: b\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 3, 4\r\n\r\nabc",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: +3\r\n\r\nabc",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: -3\r\n\r\nabc",
            "400",
        ),
        ("GET / HTTP/1.1\r\nHost: any\r\nbad header\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: any\r\nX : 1\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nHost: any\r\nX: 1\r\n folded\r\n\r\n",
            "400",
        ),
        ("GET / HTTP/1.1\r\nHost: any\r\nX: a\0b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: any\r\nX: a\rb\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\nHost: any\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let heads = [raw.starts_with("HEAD")];
        let outcome = both
            .compare(format!("{raw}{LAST}").as_bytes(), false, &heads)
            .await;
        let first = outcome.answers.first().map(|answer| answer.first.as_str());
        let own = first.and_then(|first| first.split(' ').nth(1));
        assert_eq!(own, Some(status), "{raw:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn requests_that_break_off_end_alike() {
    let both = Both::start(&Config::default(), &PLAIN).await;
    let whole = "POST /a HTTP/1.1\r\nHost: any\r\nContent-Length: 5\r\n\r\nabcde";
    for end in (1..=whole.len()).step_by(3) {
        let outcome = both.compare(&whole.as_bytes()[..end], true, &[]).await;
        assert_eq!(
            outcome.requests.len(),
            usize::from(end == whole.len()),
            "{end}"
        );
    }
    both.compare(b"", true, &[]).await;
    both.compare(b"GET /a HTTP/1.1\r\nHost: any\r\n\r\n", true, &[])
        .await;
}

/// Requests put together from parts that are plain, odd or wrong, always the same ones.
#[tokio::test]
async fn generated_requests_end_alike() {
    const CASES: usize = 400;
    const METHODS: [&str; 10] = [
        "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "G{T",
    ];
    const TARGETS: [&str; 14] = [
        "/",
        "/a/b",
        "/x?y=z",
        "/%41%zz",
        "/a/./b/../c",
        "//any/x",
        "/a b",
        "/\u{e9}",
        "/<x>",
        "*",
        "a",
        "http://any/",
        "/?",
        "/a?b?c#d",
    ];
    const VERSIONS: [&str; 8] = [
        "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0",
        "http/1.1",
    ];
    const HOSTS: [&str; 10] = [
        "Host: any",
        "Host: any",
        "Host: any",
        "host:any",
        "Host: any:80",
        "Host: any.",
        "Host: ",
        "Host: [::1]",
        "Host: any\r\nHost: any",
        "X-Host: any",
    ];
    const LINES: [&str; 36] = [
        "Accept: */*",
        "Accept-Encoding: gzip, br",
        "Cookie: a=b",
        "User-Agent: x  y ",
        "Connection: keep-alive",
        "Connection: close",
        "Connection: x",
        "Connection: x-a, close",
        "X-A: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Te: gzip",
        "Trailer: X",
        "Expect: nonsense",
        "X-Forwarded-For: 9.9.9.9",
        "x-real-ip: 8.8.8.8",
        "Forwarded: for=x",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 1",
        "X-Empty:",
        "X-Tab:\t1\t",
        "X-High: \u{e9}",
        "X-Quote: \"a\\\"b\"",
        ": no name",
        "X Space: 1",
        "X-Fold: 1\r\n 2",
        "X-Nul: \0",
        "X-Cr: a\rb",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "Content-Type: text/plain",
        "Content-Length: 0",
        "Content-Length: 00",
        "Range: bytes=0-1",
        "If-None-Match: \"x\"",
        "Max-Forwards: 0",
    ];
    const BODIES: [(&str, &str); 10] = [
        ("", ""),
        ("", ""),
        ("", ""),
        ("Content-Length: 3\r\n", "abc"),
        ("Content-Length: 03\r\n", "abc"),
        ("Content-Length: 3,3\r\n", "abc"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"),
        (
            "Transfer-Encoding: chunked\r\n",
            "2;x=y\r\nab\r\n0\r\nT: u\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding: identity\r\n", ""),
    ];
    let both = Both::start(&Config::default(), &PLAIN).await;
    let mut state: u64 = 1;
    let mut below = |most: usize| {
        // A linear congruential generator; its upper bits are good enough.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % most
    };
    let mut statuses = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..CASES {
        let method = METHODS[below(METHODS.len())];
        let (target, version) = (
            TARGETS[below(TARGETS.len())],
            VERSIONS[below(VERSIONS.len())],
        );
        let mut raw = format!(
            "{method} {target} {version}\r\n{}\r\n",
            HOSTS[below(HOSTS.len())]
        );
        for _ in 0..below(4) {
            raw.push_str(LINES[below(LINES.len())]);
            raw.push_str("\r\n");
        }
        let (line, body) = BODIES[below(BODIES.len())];
        raw.push_str(line);
        raw.push_str("\r\n");
        raw.push_str(body);
        raw.push_str(LAST);
        let outcome = both
            .compare(raw.as_bytes(), false, &[method == "HEAD"])
            .await;
        let status = outcome.answers.first().map(|answer| answer.first.clone());
        *statuses.entry(status.unwrap_or_default()).or_default() += 1;
    }
    // What is compared is worth it.
    assert!(
        statuses
            .get("HTTP/1.1 200 OK")
            .is_some_and(|count| *count > CASES / 10),
        "{statuses:?}"
    );
    assert!(
        statuses
            .get("HTTP/1.1 400 Bad Request")
            .is_some_and(|count| *count > CASES / 10),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn answers_of_all_kinds_arrive_alike() {
    let long = "x".repeat(300_000);
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{long}");
    let chunks: String = (0..2000)
        .map(|at| format!("{:x}\r\n{}\r\n", at % 90 + 1, "y".repeat(at % 90 + 1)))
        .collect();
    let chunks = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let huge = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 1\r\n\r\nx",
        "h".repeat(100_000)
    );
    for (answer, closes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false),
        (
            "HTTP/1.1 200 Very Fine\r\ncontent-length: 3\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: a\r\nx: b\r\n\r\nabc",
            false,
        ),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcsurplus",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\na\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", true),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
            true,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nold", true),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: X-Own, close\r\nX-Own: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na",
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", false),
        (
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        ("HTTP/1.1 999 Own\r\nContent-Length: 1\r\n\r\na", false),
        (
            "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        ("HTTP/1.1 200 OK\nContent-Length: 1\n\na", false),
        (
            "HTTP/1.1 200 OK\r\nX : spaced\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        ("nonsense\r\n\r\n", false),
        ("", true),
        ("HTTP/1.1 200 O", true),
        (&long, false),
        (&chunks, false),
        (&huge, false),
    ] {
        let script = Script {
            first: Some((answer.as_bytes().to_vec(), closes)),
        };
        let both = Both::start(&Config::default(), &script).await;
        for first in [
            "GET / HTTP/1.1\r\nHost: any\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: any\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 1\r\n\r\nx",
        ] {
            // To a HEAD, a body would be an answer to nobody.
            let has_body = answer
                .find("\r\n\r\n")
                .is_some_and(|at| at + 4 < answer.len());
            if first.starts_with("HEAD") && has_body {
                continue;
            }
            let raw = format!("{first}{LAST}");
            let outcomes = both
                .compare(raw.as_bytes(), false, &[first.starts_with("HEAD")])
                .await;
            assert!(!outcomes.requests.is_empty(), "{answer:.80}");
        }
    }
}

#[tokio::test]
async fn own_headers_and_the_log_of_requests_are_alike() {
    const FORMAT: &str = "$remote_host $request $request_host $request_scheme $request_args $response_status $response_body_size \
        $upstream_service $upstream_request_uri $header.User-Agent $header.x-client";
    let certificate = secured::pair(&["any"]);
    for (answer, closes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nStrict-Transport-Security: max-age=1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", false),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", true),
        ("nonsense\r\n\r\n", false),
        ("", true),
    ] {
        let script = Script {
            first: Some((answer.as_bytes().to_vec(), closes)),
        };
        for is_tls in [false, true] {
            let listener = Listener::http("127.0.0.1:0".parse().unwrap());
            let own = || {
                let (log, lines) = AccessLog::new(FORMAT).unwrap();
                let store = secured::store(std::slice::from_ref(&certificate));
                let config = Config {
                    listeners: vec![Listener {
                        tls: is_tls.then(|| Tls::new(store)),
                        ..listener.clone()
                    }],
                    own_headers: OwnHeaders {
                        client_ip: Some("X-Client".to_owned()),
                        request_id: Some("X-Request-Id".to_owned()),
                        tls: Some(("X-Secure".to_owned(), "yes".to_owned())),
                        transport_security: Some("max-age=60".to_owned()),
                        by: Some([203, 0, 113, 9].into()),
                    },
                    access_log: Some(Arc::new(log)),
                    ..Config::default()
                };
                (config, lines)
            };
            let (one, other) = (own(), own());
            let mut both = Both::start_each([one.0, other.0], &script).await;
            let mut logs = [one.1, other.1];
            both.connector =
                is_tls.then(|| secured::connector(&[&certificate], None, &["http/1.1"]));
            for first in [
                "GET /a?b=c HTTP/1.1\r\nHost: any\r\nUser-Agent: x \"y\"\r\n\r\n",
                "GET /%20 HTTP/1.1\r\nHost: any\r\nX-CLIENT: 6.6.6.6\r\nx-request-id: mine\r\nX-Secure: no\r\nX-Client: again\r\n\r\n",
                "HEAD / HTTP/1.1\r\nHost: any\r\nX-Other: 1\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 1\r\n\r\nx",
                "GET /y HTTP/1.1\r\nHost: other\r\n\r\n",
                // The library's.
                "GET / HTTP/1.1\r\nHost: any\r\nTE: trailers\r\n\r\n",
            ] {
                let is_head = first.starts_with("HEAD");
                let end = answer.find("\r\n\r\n").map(|at| at + 4);
                if is_head && end.is_some_and(|end| end < answer.len()) {
                    continue;
                }
                let raw = format!("{first}{LAST}");
                let outcome = both.compare(raw.as_bytes(), false, &[is_head]).await;
                let count = outcome.answers.iter().filter(|answer| !answer.is_interim());
                let mut written = Vec::new();
                let count = count.count();
                for lines in &mut logs {
                    let mut own = Vec::new();
                    for _ in 0..count {
                        let line = timeout(PATIENCE, lines.recv()).await;
                        own.push(line.expect("a line in time").unwrap());
                    }
                    written.push(own);
                }
                assert_eq!(written[0], written[1], "{raw} with {answer}");
            }
        }
    }
}
