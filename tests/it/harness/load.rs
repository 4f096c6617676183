//! Steady load from this process to an agent's ingress, and what came of it.

use super::http;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

/// No load goes on for longer, whatever the test does.
const LOAD_MAX: Duration = Duration::from_secs(600);

/// Requests in flight at a time. A machine that cannot keep up gets fewer requests, not a pile of
/// them that time out in the test's own queue.
const IN_FLIGHT_MAX: usize = 256;

/// What came of one request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// When it was sent.
    pub(crate) sent: Instant,
    /// How long it took.
    pub(crate) took: Duration,
    /// Body of a 2xx answer, or what went wrong.
    pub(crate) outcome: Result<String, String>,
}

/// Load that is under way.
#[derive(Debug)]
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    requests: Arc<Mutex<Vec<Request>>>,
    running: JoinHandle<()>,
}

impl Load {
    /// Sends `per_second` GETs of `path` a second, evenly, each with its own deadline.
    pub(crate) fn start(
        ingress: SocketAddr,
        path: &str,
        per_second: u32,
        timeout: Duration,
    ) -> Self {
        Self::every(ingress, path, Duration::from_secs(1) / per_second, timeout)
    }

    /// Sends a GET of `path` each time that a pause is over, with its own deadline.
    pub(crate) fn every(
        ingress: SocketAddr,
        path: &str,
        pause: Duration,
        timeout: Duration,
    ) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let done = Arc::clone(&requests);
        let url = format!("http://{ingress}{path}");
        let running = tokio::spawn(async move {
            let client = http::client();
            let mut tick = interval(pause);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut flying = JoinSet::new();
            let end = tokio::time::sleep(LOAD_MAX);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    _ = tick.tick(), if flying.len() < IN_FLIGHT_MAX => {
                        flying.spawn(one(client.clone(), url.clone(), timeout, Arc::clone(&done)));
                    }
                    Some(_) = flying.join_next() => {}
                    _ = stopped.changed() => break,
                    () = &mut end => break,
                }
            }
            while flying.join_next().await.is_some() {}
        });
        Self {
            stop,
            requests,
            running,
        }
    }

    /// How many requests have ended so far.
    pub(crate) fn ended(&self) -> usize {
        self.requests.lock().expect("no panic holds it").len()
    }

    /// How many of them failed.
    pub(crate) fn failed(&self) -> usize {
        failures(&self.requests.lock().expect("no panic holds it")).len()
    }

    /// Waits until `count` more requests have ended.
    pub(crate) async fn more(&self, count: usize) {
        let target = self.ended() + count;
        super::eventually("the load goes on", || async {
            let ended = self.ended();
            if ended >= target {
                Ok(())
            } else {
                Err(format!("{ended} of {target} requests"))
            }
        })
        .await;
    }

    /// Stops sending, waits for what is in flight, and answers with everything that happened.
    pub(crate) async fn stop(self) -> Vec<Request> {
        self.stop.send(true).ok();
        self.running.await.expect("the load does not panic");
        std::mem::take(&mut *self.requests.lock().expect("no panic holds it"))
    }
}

async fn one(
    client: reqwest::Client,
    url: String,
    timeout: Duration,
    done: Arc<Mutex<Vec<Request>>>,
) {
    let sent = Instant::now();
    let asking = async {
        let response = client.get(&url).timeout(timeout).send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok::<_, reqwest::Error>((status, text))
    };
    let outcome = match asking.await {
        Ok((status, text)) if status.is_success() => Ok(text),
        Ok((status, text)) => Err(format!("{status}: {text}")),
        Err(error) => Err(format!("{error:?}")),
    };
    let request = Request {
        sent,
        took: sent.elapsed(),
        outcome,
    };
    done.lock().expect("no panic holds it").push(request);
}

/// The failures among `requests`.
pub(crate) fn failures(requests: &[Request]) -> Vec<&Request> {
    requests
        .iter()
        .filter(|request| request.outcome.is_err())
        .collect()
}

/// Fails with those that failed, if any did.
pub(crate) fn none_failed(requests: &[Request]) {
    let failed = failures(requests);
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:?}",
        failed.len(),
        requests.len()
    );
}

/// The time that 99 of 100 requests did not exceed.
pub(crate) fn p99(requests: &[Request]) -> Duration {
    let mut times: Vec<Duration> = requests.iter().map(|request| request.took).collect();
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100);
    times[at.saturating_sub(1)]
}

/// How often each body came, over `count` requests one after the other.
pub(crate) async fn spread(url: &str, count: usize) -> BTreeMap<String, usize> {
    let client = http::client();
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        let response = client.get(url).send().await.expect("an answer");
        assert!(
            response.status().is_success(),
            "{url}: {}",
            response.status()
        );
        *seen
            .entry(response.text().await.expect("a body"))
            .or_insert(0) += 1;
    }
    seen
}
