//! The one timer of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that is moved often and reached rarely. The system's timer behind it is moved only
/// when it has to fire earlier than it would; when it fires too early, it is set again.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Timer {
    /// A timer whose deadline is so far away.
    pub(super) fn after(wait: Duration) -> Timer {
        let deadline = Instant::now() + wait;
        Timer {
            sleep: Box::pin(sleep_until(deadline)),
            deadline,
        }
    }

    /// Sets another deadline.
    pub(super) fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
    }

    /// Sets a deadline so far away.
    pub(super) fn set_after(&mut self, wait: Duration) {
        self.set(Instant::now() + wait);
    }

    /// Moves the deadline nearer, never farther away.
    pub(super) fn at_most(&mut self, deadline: Instant) {
        if deadline < self.deadline {
            self.set(deadline);
        }
    }

    /// When the deadline is.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready when the deadline is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            let deadline = self.deadline;
            self.sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Timer;

    #[tokio::test(start_paused = true)]
    async fn the_last_deadline_counts() {
        let start = Instant::now();
        let mut timer = Timer::after(Duration::from_secs(10));
        timer.set_after(Duration::from_secs(60));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 60);
        timer.set_after(Duration::from_secs(30));
        timer.set_after(Duration::from_secs(5));
        timer.at_most(Instant::now() + Duration::from_secs(9));
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 65);
    }
}
