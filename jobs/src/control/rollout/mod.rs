//! Canaries and their share of the requests: what ingresses counted, health and time in, the next
//! step, a hold or an abort out.
//!
//! ```text
//! counts ─ windows ─ comparisons (all together, by route, by canary) ─┬ judgment ─┐
//! questions ─ answers of metrics stores and hooks ────────────────────┘           │
//! allocations ─ health, restarts ─ facts ─────────────────────────────────────────┴─ transition
//!
//! warming ─ judging (step by step) ─ baking ─ passed ─ promoted
//!    held, frozen: the clock stands, judging goes on       aborted: from everywhere, for good
//! ```
//!
//! `sequential` is the statistics, `compare` what is counted as bad, `judge` who is compared with
//! whom, `questions` what metrics stores and hooks are asked, `measured` what their answers say,
//! `progress` what follows from it, `acts` what operators want instead; `rollouts` keeps all of it
//! for the canaries of the state.
//! Only transitions are written: a new leader has the share and the step from the row, and begins
//! their counts and their time anew.

mod acts;
mod compare;
mod counts;
mod estimate;
mod judge;
mod measured;
mod progress;
mod questions;
mod replay;
mod rollouts;
mod sentence;
mod sequential;
#[cfg(test)]
mod tests;

pub use acts::{Act, Aim, Asked, act, aim, still_holds};
pub use compare::{Finding, Kind};
pub use counts::{Counts, Row, Side, Times};
pub use estimate::estimate;
pub use judge::{ATTEMPTS_MIN, Judge, Judgment, Totals, Window};
pub use measured::{Awaited, Measurement, Opinion, Reply, Trouble};
pub use progress::{Facts, JUDGE, WOULD_HAVE, next};
pub use questions::{ASK_INTERVAL, Payload, Question, What};
pub use replay::{FORMAT, Head, Unreadable, Word, replay};
pub use rollouts::{Answers, LOOK_INTERVAL, Observed, Rollouts, Seen, Standing};
pub use sentence::time_of_day;
