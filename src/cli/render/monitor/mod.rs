//! Follows an evaluation and then its deployment until both are decided.
//!
//! It waits by blocking queries. On a terminal the deployment's block is repainted in place;
//! elsewhere each change is appended.

pub(crate) mod deployment;
pub(crate) mod evaluation;
mod screen;

use crate::context::Context;
use jobs::model::Index;
use std::time::Duration;
use tokio::time::Instant;

/// Placed everything, or finished well.
pub(crate) const DONE: u8 = 0;

/// Anything that is no placement failure.
pub(crate) const FAILED: u8 = 1;

/// Not everything could be placed.
pub(crate) const PLACEMENT_FAILED: u8 = 2;

/// An agent that answers a blocking query faster than this without news does not block.
const BLOCKING_MIN: Duration = Duration::from_millis(50);

/// Pause before asking such an agent again.
const POLL_PAUSE: Duration = Duration::from_secs(1);

fn complain(cx: &mut Context, verbose: bool, text: &str) {
    let now = cx.view(verbose).now();
    cx.complain(&format!("==> {now}: {text}"));
}

/// The index to ask with next. Against an agent that does not block, asking is slowed down.
pub(crate) async fn next_index(asked_with: Index, answered: Index, since: Instant) -> Index {
    if answered <= asked_with && since.elapsed() < BLOCKING_MIN {
        tokio::time::sleep(POLL_PAUSE).await;
    }
    // A smaller index means that the servers were restored: start over.
    if answered < asked_with { 0 } else { answered }
}
