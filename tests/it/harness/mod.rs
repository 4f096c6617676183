//! What the tests share: agents, jobs, HTTP and DNS clients, and load.

pub(crate) mod agent;
pub(crate) mod command;
pub(crate) mod consul;
pub(crate) mod daemon;
pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod job;
pub(crate) mod load;
pub(crate) mod probes;
pub(crate) mod programs;
pub(crate) mod raw;

pub(crate) use agent::Agent;
pub(crate) use job::Echo;

use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep};

/// Nothing that a test waits for takes longer on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is there; panics with the last refusal after [`DEADLINE`].
///
/// For what has no index to wait on, such as an answer of the ingress.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(refusal) => {
                assert!(
                    start.elapsed() < DEADLINE,
                    "{what} did not happen: {refusal}"
                );
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}
