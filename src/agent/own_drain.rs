//! An agent that leaves has the servers empty its node first, and waits until nothing is left that
//! has to go. What it waits for is decided by [`Progress`], from what is answered and when.

use api::{Drained, OwnNode, Unasked};
use jobs::{
    model::{Index, Span},
    wire::DrainSpec,
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long allocations may take to end once none may stay.
const ENDS_MAX: Duration = Duration::from_secs(60);
/// How long the servers may be silent. Tasks outlive the agent, so that nothing ends by not waiting
/// for them.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long one question waits for news.
const NEWS_WAIT: Duration = Duration::from_secs(10);
/// How long an answer may take beside that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Between a question that nobody answered and the next.
const PAUSE: Duration = Duration::from_millis(250);

/// The drain of the agent's own node.
#[derive(Debug)]
pub(super) struct OwnDrain {
    node: OwnNode,
    spec: DrainSpec,
}

impl OwnDrain {
    pub(super) fn new(node: OwnNode, drain: config::OwnDrain) -> Self {
        let spec = DrainSpec {
            deadline: drain.deadline,
            ignore_system_jobs: drain.ignore_system_jobs,
        };
        Self { node, spec }
    }

    /// Empties the node, for as long as the deadline allows. Everything goes on meanwhile.
    pub(super) async fn run(&self) {
        tracing::info!(
            deadline = %self.spec.deadline,
            "the agent leaves: its node is emptied first; another signal ends the waiting"
        );
        let begun = Instant::now();
        let mut progress = Progress::new(self.spec.deadline);
        let end = loop {
            let is_answered = match progress.next(begun.elapsed()) {
                Next::Ask => {
                    let asked = answered(ANSWER_TIMEOUT, self.node.drain(self.spec)).await;
                    progress.on_asked(begun.elapsed(), asked)
                }
                Next::Look { after, wait } => {
                    let looked = self.node.drained(after, wait);
                    let looked = answered(wait + ANSWER_TIMEOUT, looked).await;
                    progress.on_looked(begun.elapsed(), looked)
                }
                Next::Stop(end) => break end,
            };
            if !is_answered {
                sleep(PAUSE).await;
            }
        };
        end.tell();
    }
}

async fn answered<T>(
    within: Duration,
    asked: impl Future<Output = Result<T, Unasked>>,
) -> Result<T, Unasked> {
    let silent = || Err(Unasked::Unanswered("no answer in time".into()));
    timeout(within, asked).await.unwrap_or_else(|_| silent())
}

/// What an agent knows of its drain. Times are counted from its beginning.
#[derive(Debug)]
struct Progress {
    /// How long it may take; none for as long as it takes.
    bound: Option<Duration>,
    /// When the servers answered last.
    heard: Duration,
    /// What nobody answered for.
    unanswered: Option<String>,
    /// The newest state of the node that is known; none until the servers agreed.
    seen: Option<Index>,
    end: Option<End>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// Ask for the drain.
    Ask,
    /// Look how far it is, once something changed after an index.
    Look {
        /// The index.
        after: Index,
        /// How long to wait for that.
        wait: Duration,
    },
    /// Stop the agent.
    Stop(End),
}

/// How a drain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Nothing is left that had to go.
    Complete,
    /// Somebody ended it.
    Canceled,
    /// The servers do not do it.
    Refused(String),
    /// Its time is over.
    Late,
    /// The servers are silent.
    Silent(String),
}

impl Progress {
    fn new(deadline: Span) -> Self {
        let bound = (!deadline.is_zero()).then(|| deadline.to_std().saturating_add(ENDS_MAX));
        Self {
            bound,
            heard: Duration::ZERO,
            unanswered: None,
            seen: None,
            end: None,
        }
    }

    fn next(&self, now: Duration) -> Next {
        if let Some(end) = &self.end {
            return Next::Stop(end.clone());
        }
        if self.bound.is_some_and(|bound| now >= bound) {
            return Next::Stop(End::Late);
        }
        if let Some(reason) = &self.unanswered
            && now.saturating_sub(self.heard) >= SILENCE_MAX
        {
            return Next::Stop(End::Silent(reason.clone()));
        }
        let Some(after) = self.seen else {
            return Next::Ask;
        };
        let left = self.bound.map_or(NEWS_WAIT, |bound| bound - now);
        Next::Look {
            after,
            wait: left.min(NEWS_WAIT),
        }
    }

    /// Whether the servers answered.
    fn on_asked(&mut self, now: Duration, asked: Result<Index, Unasked>) -> bool {
        self.on_looked(now, asked.map(Drained::UnderWay))
    }

    /// Whether the servers answered.
    fn on_looked(&mut self, now: Duration, looked: Result<Drained, Unasked>) -> bool {
        self.unanswered = None;
        match looked {
            Ok(Drained::UnderWay(index)) => self.seen = Some(index),
            Ok(Drained::Complete) => self.end = Some(End::Complete),
            Ok(Drained::Canceled) => self.end = Some(End::Canceled),
            Err(Unasked::Refused(reason)) => self.end = Some(End::Refused(reason)),
            Err(Unasked::Unanswered(reason)) => {
                self.unanswered = Some(reason);
                return false;
            }
        }
        self.heard = now;
        true
    }
}

impl End {
    fn tell(&self) {
        match self {
            Self::Complete => tracing::info!("the node of this agent is empty"),
            Self::Canceled => tracing::warn!(
                "somebody ended the drain of this agent's node; it stops with what runs there"
            ),
            Self::Refused(reason) => {
                tracing::warn!(reason, "the node of this agent is not emptied");
            }
            Self::Late => tracing::warn!(
                "the time of the drain is over, and something still runs on this agent's node"
            ),
            Self::Silent(reason) => tracing::warn!(
                reason,
                "the servers are silent; the agent stops although its node may not be empty"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(progress: &Progress, seconds: u32) -> Next {
        progress.next(SECOND * seconds)
    }

    fn look(after: Index, seconds: u32) -> Next {
        Next::Look {
            after,
            wait: SECOND * seconds,
        }
    }

    fn unanswered<T>() -> Result<T, Unasked> {
        Err(Unasked::Unanswered("no leader".into()))
    }

    #[test]
    fn the_node_is_watched_until_nothing_is_left() {
        let mut progress = Progress::new(Span::MINUTE);
        assert_eq!(at(&progress, 0), Next::Ask);
        assert!(progress.on_asked(SECOND, Ok(7)));
        assert_eq!(at(&progress, 1), look(7, 10));
        assert!(progress.on_looked(SECOND * 2, Ok(Drained::UnderWay(9))));
        assert_eq!(at(&progress, 2), look(9, 10));
        assert!(progress.on_looked(SECOND * 3, Ok(Drained::Complete)));
        assert_eq!(at(&progress, 3), Next::Stop(End::Complete));
    }

    #[test]
    fn every_other_end_has_its_reason() {
        let refused = || Err(Unasked::Refused("node not found".into()));
        let is_refused = Next::Stop(End::Refused("node not found".into()));
        let mut progress = Progress::new(Span::HOUR);
        assert!(progress.on_asked(SECOND, refused()));
        assert_eq!(at(&progress, 1), is_refused);
        let mut progress = Progress::new(Span::HOUR);
        progress.on_asked(SECOND, Ok(7));
        assert!(progress.on_looked(SECOND, Ok(Drained::Canceled)));
        assert_eq!(at(&progress, 1), Next::Stop(End::Canceled));
    }

    #[test]
    fn it_takes_no_longer_than_the_deadline_and_the_ends_of_what_must_go_then() {
        // Deadline, the last moment at which it is looked, for how long, and the first after it.
        for (deadline, last, wait, late) in [
            (Span::MINUTE, 117, 3, Some(120)),
            (Span::from_secs(-1), 58, 2, Some(60)),
            (Span::ZERO, 1_000_000, 10, None),
        ] {
            let mut progress = Progress::new(deadline);
            progress.on_asked(SECOND, Ok(7));
            assert_eq!(at(&progress, last), look(7, wait), "{deadline}");
            if let Some(late) = late {
                assert_eq!(at(&progress, late), Next::Stop(End::Late), "{deadline}");
            }
        }
    }

    #[test]
    fn silent_servers_are_waited_for_a_while_from_their_last_word() {
        let silent = Next::Stop(End::Silent("no leader".into()));
        let mut progress = Progress::new(Span::HOUR);
        assert!(!progress.on_asked(SECOND * 5, unanswered()));
        assert_eq!(at(&progress, 29), Next::Ask);
        assert_eq!(at(&progress, 30), silent);
        assert!(progress.on_asked(SECOND * 30, Ok(7)));
        assert!(!progress.on_looked(SECOND * 50, unanswered()));
        assert_eq!(at(&progress, 59), look(7, 10));
        assert_eq!(at(&progress, 60), silent);
        // Whoever answers again is not silent any more.
        assert!(progress.on_looked(SECOND * 59, Ok(Drained::UnderWay(7))));
        assert_eq!(at(&progress, 60), look(7, 10));
    }
}
