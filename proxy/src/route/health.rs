//! What is known of a server from how it answered: whether to ask it again, whether to go on
//! waiting for it, and how long its answers usually take.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;

/// The first rest of a server that is silent or cannot be reached, and the longest. Each is twice
/// the one before, until it answers.
const REST_MS: (u64, u64) = (1_000, 30_000);

/// The longest rest of a server that failed, however often.
const EJECTED_MS_MAX: u64 = 300_000;

/// A server that was sound for so long is ejected as for the first time.
const FORGOTTEN_MS: u64 = 900_000;

/// The shortest time after which silence says something.
pub(crate) const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// Silence says something when it lasts so many times as long as nearly all answers took.
const PATIENCE_FACTOR: u32 = 10;

/// When so many times were counted, they count half: what is usual follows what happens.
const TIMES_MAX: u32 = 4096;

/// Fewer times than this say nothing of what is usual.
const TIMES_MIN: u32 = 20;

/// How a server has answered lately. Times are milliseconds of one clock, chosen by the caller;
/// those of answers are microseconds, as one request may follow another within a millisecond.
#[derive(Debug, Default)]
pub struct Health {
    /// When the last answer began; 0 if none did.
    heard_us: AtomicU64,
    /// Until when it rests; 0 if it does not.
    rests_until_ms: AtomicU64,
    /// How long the last rest is.
    rest_ms: AtomicU64,
    /// The rest is for silence.
    is_suspected: AtomicBool,
    /// Failures in a row.
    failures: AtomicU32,
    /// How often it was ejected, and when the last time.
    ejections: AtomicU32,
    ejected_ms: AtomicU64,
    /// How often it was found dead.
    losses: AtomicU32,
    times: OnceLock<Box<Times>>,
}

#[derive(Debug, Default)]
struct Times {
    histogram: Histogram,
    count: AtomicU32,
}

impl Health {
    /// It answered something.
    pub fn heard(&self, now_us: u64) {
        self.heard_us.store(now_us, Ordering::Relaxed);
        if self.is_suspected.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// An answer began, so long after it was asked for.
    pub fn answered(&self, now_us: u64, took: Duration) {
        self.heard(now_us);
        let times = self.times.get_or_init(Box::default);
        times.histogram.count(took);
        let count = times.count.load(Ordering::Relaxed) + 1;
        times.count.store(count, Ordering::Relaxed);
        if count >= TIMES_MAX {
            times
                .count
                .store(times.histogram.halve(), Ordering::Relaxed);
        }
    }

    /// An answer was good: no failure that is known counts any more.
    pub fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.is_doubtful() {
            self.wake();
        }
    }

    /// It lives again, as far as somebody else has found out.
    pub fn forgive(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        self.is_suspected.store(false, Ordering::Relaxed);
        self.rest_ms.store(0, Ordering::Relaxed);
        self.rests_until_ms.store(0, Ordering::Relaxed);
    }

    /// It broke off, or gave an answer that is none, and so many failures in a row are too many:
    /// whether this one makes it so.
    pub fn failed(&self, most: u32) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        most > 0 && failures >= most
    }

    /// It failed too often: it rests for `time_ms`, each time longer. Whether that is news: who is
    /// judged gets requests while it rests.
    pub fn eject(&self, now_ms: u64, time_ms: u64) -> bool {
        if self.rests(now_ms) {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        let before = self.ejected_ms.swap(now_ms, Ordering::Relaxed);
        if now_ms - before.min(now_ms) > FORGOTTEN_MS {
            self.ejections.store(0, Ordering::Relaxed);
        }
        let times = u64::from(self.ejections.fetch_add(1, Ordering::Relaxed)) + 1;
        let rest = time_ms.saturating_mul(times).min(EJECTED_MS_MAX);
        self.rest(now_ms, rest);
        true
    }

    /// It could not be reached: whether that is news. Those who wait for it wait in vain.
    pub fn unreachable(&self, now_ms: u64) -> bool {
        self.suspected(now_ms) && {
            self.lost();
            true
        }
    }

    /// It is silent while others answer: whether that is news.
    pub fn suspected(&self, now_ms: u64) -> bool {
        if self.rests(now_ms) {
            return false;
        }
        self.is_suspected.store(true, Ordering::Relaxed);
        let before = self.rest_ms.load(Ordering::Relaxed);
        self.rest(now_ms, (before * 2).clamp(REST_MS.0, REST_MS.1));
        true
    }

    fn rest(&self, now_ms: u64, rest: u64) {
        self.rest_ms.store(rest, Ordering::Relaxed);
        self.rests_until_ms.store(now_ms + rest, Ordering::Relaxed);
    }

    /// It was found dead: nobody has to wait for it any more.
    pub fn lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was found dead.
    pub fn losses(&self) -> u32 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Whether there was a reason to let it rest, and it has not answered since.
    pub fn is_doubtful(&self) -> bool {
        self.rests_until_ms.load(Ordering::Relaxed) > 0
    }

    /// Whether it is not to be asked now, as long as others are there.
    pub fn rests(&self, now_ms: u64) -> bool {
        now_ms < self.rests_until_ms.load(Ordering::Relaxed)
    }

    /// Whether a request may try whether it answers again: one may at the end of each rest, and the
    /// next rest begins with it. One that `may_fail` is tried first; others only if none came for
    /// as long as the rest was.
    pub fn may_try(&self, now_ms: u64, may_fail: bool) -> bool {
        let until = self.rests_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let rest = self.rest_ms.load(Ordering::Relaxed).max(REST_MS.0);
        let from = if may_fail { until } else { until + rest };
        now_ms >= from
            && self
                .rests_until_ms
                .compare_exchange(until, now_ms + rest, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether an answer began at that time or later.
    pub fn has_answered_since(&self, since_us: u64) -> bool {
        let heard = self.heard_us.load(Ordering::Relaxed);
        heard > 0 && heard >= since_us
    }

    /// How long an answer may take before its absence says something.
    pub fn patience(&self) -> Duration {
        let times = self.times.get().filter(|times| {
            let count = times.count.load(Ordering::Relaxed);
            count >= TIMES_MIN
        });
        let usual = times.and_then(|times| times.histogram.quantile(990));
        (usual.unwrap_or_default() * PATIENCE_FACTOR).max(PATIENCE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Health, TIMES_MAX};

    const FAST: Duration = Duration::from_millis(2);
    const SLOW: Duration = Duration::from_millis(200);

    #[test]
    fn failures_in_a_row_make_it_rest_longer_each_time() {
        let health = Health::default();
        for _ in 1..5 {
            assert!(!health.failed(5));
        }
        health.succeeded();
        assert!(!health.rests(12) && health.may_try(12, false));
        for (now, until) in [(100, 1100), (1100, 3100), (3100, 6100)] {
            assert!(!health.rests(now));
            for failure in 1..=5 {
                assert_eq!(health.failed(5), failure == 5);
            }
            assert!(health.eject(now, 1000));
            // Whoever is judged fails on while it rests; that is told once.
            assert!(!health.eject(now + 1, 1000));
            assert!(health.rests(now) && health.rests(until - 1) && !health.rests(until));
        }
        // An answer that is no good does not end the rest.
        health.answered(7200, FAST);
        assert!(health.is_doubtful());
        health.succeeded();
        assert!(!health.is_doubtful());
        assert!((0..100).all(|_| !health.failed(0)));
    }

    #[test]
    fn silence_is_longer_each_time_and_ends_with_an_answer() {
        let health = Health::default();
        assert!(health.suspected(100) && !health.suspected(1099));
        assert!(health.suspected(1100) && health.rests(3099) && !health.rests(3100));
        assert_eq!(health.losses(), 0);
        assert!(health.unreachable(3100) && !health.unreachable(3101));
        assert_eq!(health.losses(), 1);
        health.answered(3200, FAST);
        assert!(!health.is_doubtful());
        assert!(health.suspected(3300) && !health.rests(4300));
        health.forgive();
        assert!(!health.is_doubtful());
    }

    #[test]
    fn one_request_tries_at_the_end_of_a_rest() {
        let health = Health::default();
        health.suspected(100);
        assert!(!health.may_try(1099, true));
        assert!(!health.may_try(2099, false));
        assert!(health.may_try(1100, true));
        assert!(!health.may_try(1100, true));
        assert!(!health.may_try(2099, true));
        assert!(health.may_try(3100, false));
        health.answered(3150, FAST);
        assert!(health.may_try(3150, false) && health.may_try(3150, false));
    }

    #[test]
    fn patience_follows_what_is_usual() {
        let health = Health::default();
        assert_eq!(health.patience().as_millis(), 500);
        for _ in 0..1000 {
            health.answered(1, FAST);
        }
        assert_eq!(health.patience().as_millis(), 500);
        // Up to one of a hundred may be slow.
        for _ in 0..8 {
            health.answered(1, SLOW);
        }
        assert_eq!(health.patience().as_millis(), 500);
        for _ in 0..8 {
            health.answered(1, SLOW);
        }
        assert!((2000..2100).contains(&health.patience().as_millis()));
        for _ in 0..2 * TIMES_MAX {
            health.answered(1, FAST);
        }
        assert_eq!(health.patience().as_millis(), 500);
        for _ in 0..TIMES_MAX {
            health.answered(1, Duration::from_secs(100));
        }
        assert!(health.patience() > Duration::from_secs(600));
    }

    #[test]
    fn it_is_known_when_it_was_heard() {
        let health = Health::default();
        assert!(!health.has_answered_since(0));
        health.answered(5, FAST);
        assert!(health.has_answered_since(5) && !health.has_answered_since(6));
    }
}
