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

/// Requests to one program.
#[derive(Clone)]
pub(super) struct Client {
    client: reqwest::Client,
    base: String,
}

impl Client {
    pub(super) fn new(base: &str) -> Self {
        Self {
            client: crate::harness::http::client(),
            base: base.to_owned(),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> (u64, usize) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.body(body);
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

    /// As [`Client::get_for`], for writes of keys, each of another one.
    pub(super) async fn put_keys_for(&self, clients: usize, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for own in 0..clients {
            let client = self.clone();
            tasks.spawn(async move {
                let mut done = 0;
                while Instant::now() < end {
                    let path = format!("/v1/kv/bench/{own}/{}", done % 1000);
                    let body = format!("{done:064}").into_bytes();
                    client.send(Method::PUT, &path, Some(body)).await;
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
