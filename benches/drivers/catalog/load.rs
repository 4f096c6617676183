//! Load over HTTP, the same for every program.

use reqwest::Method;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Barrier,
    task::JoinSet,
    time::{Instant, sleep},
};

/// When watchers learned of a change, from its write on.
pub(super) struct Waking {
    pub(super) first: Duration,
    pub(super) median: Duration,
    pub(super) last: Duration,
}

/// What is done with keys.
#[derive(Clone, Copy)]
pub(super) enum Keys {
    /// Each connection writes keys of its own, one after the other.
    Put,
    /// All read the same key.
    Get,
}

/// How many requests for keys were answered in that time, over so many connections that cost this
/// program as little as can be.
pub(super) async fn keys_for(base: &str, load: Keys, clients: usize, time: Duration) -> usize {
    let address = base
        .strip_prefix("http://")
        .expect("an http URL")
        .to_owned();
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for own in 0..clients {
        let address = address.clone();
        tasks.spawn(async move {
            let mut connection = Connection::open(&address).await;
            let mut done = 0_usize;
            while Instant::now() < end {
                let head = "HTTP/1.1\r\nhost: localhost\r\n";
                let request = match load {
                    Keys::Get => format!("GET /v1/kv/bench/0/0 {head}\r\n"),
                    Keys::Put => {
                        let key = done % 1000;
                        format!("PUT /v1/kv/bench/{own}/{key} {head}content-length: 64\r\n\r\n{done:064}")
                    }
                };
                connection.ask(&request).await;
                done += 1;
            }
            done
        });
    }
    tasks.join_all().await.into_iter().sum()
}

/// A connection of HTTP/1.1 that is kept.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and reads the answer, which has to be 200 with its length.
    async fn ask(&mut self, request: &str) {
        let sent = self.stream.write_all(request.as_bytes()).await;
        sent.expect("the request goes out");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await;
            assert_ne!(read.expect("an answer"), 0, "it ended early");
            if self.is_whole() {
                return;
            }
        }
    }

    fn is_whole(&self) -> bool {
        let end = self
            .buffer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end else { return false };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        self.buffer.len() >= end + 4 + length
    }
}

/// Requests to one program.
#[derive(Clone)]
pub(super) struct Client {
    client: reqwest::Client,
    base: String,
    /// Asks for compressed answers, as clients written in Go do.
    is_compressed: bool,
}

impl Client {
    pub(super) fn new(base: &str) -> Self {
        Self {
            client: crate::harness::http::client(),
            base: base.to_owned(),
            is_compressed: false,
        }
    }

    /// The same, which asks for compressed answers.
    pub(super) fn compressed(self) -> Self {
        Self {
            is_compressed: true,
            ..self
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> (u64, usize) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.body(body);
        }
        if self.is_compressed {
            request = request.header("accept-encoding", "gzip");
        }
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        let index = response.headers().get("x-consul-index");
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.bytes().await.expect("a body").len();
        (index.unwrap_or(0), bytes)
    }

    /// Puts every body, so many at the same time.
    pub(super) async fn put_all(&self, path: &'static str, bodies: Vec<Value>, writers: usize) {
        let bodies = Arc::new(bodies);
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (client, bodies, next) = (self.clone(), Arc::clone(&bodies), Arc::clone(&next));
            tasks.spawn(async move {
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let body = body.to_string().into_bytes();
                    client.send(Method::PUT, path, Some(body)).await;
                }
            });
        }
        tasks.join_all().await;
    }

    /// How many reads were answered in that time over so many connections.
    pub(super) async fn get_for(
        &self,
        path: &'static str,
        clients: usize,
        time: Duration,
    ) -> usize {
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let client = self.clone();
            tasks.spawn(async move {
                let mut done = 0;
                while Instant::now() < end {
                    client.send(Method::GET, path, None).await;
                    done += 1;
                }
                done
            });
        }
        tasks.join_all().await.into_iter().sum()
    }

    /// Lets so many readers of `path` wait, writes `change`, and says when they were answered.
    pub(super) async fn wake(
        &self,
        path: &'static str,
        watchers: usize,
        written: &'static str,
        change: Value,
    ) -> Waking {
        let (index, _) = self.send(Method::GET, path, None).await;
        let ready = Arc::new(Barrier::new(watchers + 1));
        let mut tasks = JoinSet::new();
        for _ in 0..watchers {
            let (client, ready) = (self.clone(), Arc::clone(&ready));
            tasks.spawn(async move {
                ready.wait().await;
                let path = format!("{path}?index={index}&wait=55s");
                client.send(Method::GET, &path, None).await;
                Instant::now()
            });
        }
        ready.wait().await;
        // Nothing tells when all requests have arrived; those that come late are answered at once.
        sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        let body = change.to_string().into_bytes();
        self.send(Method::PUT, written, Some(body)).await;
        let mut took: Vec<Duration> = tasks
            .join_all()
            .await
            .into_iter()
            .map(|at| at.saturating_duration_since(began))
            .collect();
        took.sort_unstable();
        Waking {
            first: took.first().copied().unwrap_or_default(),
            median: took.get(took.len() / 2).copied().unwrap_or_default(),
            last: took.last().copied().unwrap_or_default(),
        }
    }
}
