//! The time of the log: it goes forward at an even pace whatever somebody does to the machine's clock.
//!
//! It follows the wall clock. When that is set back, log time does not wait for it: it goes on a little
//! slower until both agree. When it is set forward, log time follows in bounded steps, so that a clock
//! that is wrong for a moment leaves at most one step behind.

use parking_lot::Mutex;
use std::{sync::LazyLock, time::Duration};

use crate::sys::clock;

/// A difference that needs no word: what time services correct all the time.
const TOLERANCE_NS: i64 = 1_000_000_000;
/// Furthest step forward at once.
const STEP_NS_MAX: i64 = 3600 * 1_000_000_000;
/// Pause between two steps, on the monotonic clock.
const STEP_PAUSE_NS: i64 = 60 * 1_000_000_000;
/// Log time that is ahead goes slower by this part.
const SLOWER: i64 = 16;

/// What [`Pace::read`] did besides telling the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// Nothing worth a line.
    Nothing,
    /// The wall clock stands behind log time by that much, for the first time.
    Behind(i64),
    /// Log time stepped forward by the first number; the wall clock is still ahead by the second.
    Stepped(i64, i64),
}

/// The time of the log as a function of two clocks; nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    time: i64,
    monotonic: i64,
    stepped: Option<i64>,
    is_behind: bool,
}

impl Pace {
    /// Goes on from `time`, the newest in the log, or from the wall clock when that is later.
    fn new(time: i64, wall: i64, monotonic: i64) -> Self {
        Self {
            time: time.max(wall),
            monotonic,
            stepped: None,
            is_behind: false,
        }
    }

    /// The time now; never below that of the call before.
    fn read(&mut self, wall: i64, monotonic: i64) -> (i64, Noted) {
        let elapsed = monotonic.saturating_sub(self.monotonic).max(0);
        let even = self.time.saturating_add(elapsed);
        let ahead = wall.saturating_sub(even);
        self.monotonic = monotonic;
        let (time, noted) = if ahead < -TOLERANCE_NS {
            let noted = if self.is_behind {
                Noted::Nothing
            } else {
                Noted::Behind(-ahead)
            };
            self.is_behind = true;
            (even - elapsed / SLOWER, noted)
        } else if ahead <= TOLERANCE_NS {
            self.is_behind = false;
            (wall.max(self.time), Noted::Nothing)
        } else {
            self.is_behind = false;
            let rested = self
                .stepped
                .is_none_or(|at| monotonic.saturating_sub(at) >= STEP_PAUSE_NS);
            if rested {
                let step = ahead.min(STEP_NS_MAX);
                self.stepped = Some(monotonic);
                (
                    even.saturating_add(step),
                    Noted::Stepped(step, ahead - step),
                )
            } else {
                (even, Noted::Nothing)
            }
        };
        self.time = time;
        (time, noted)
    }
}

/// The clock of this process, which has one log.
static PACE: LazyLock<Mutex<Pace>> =
    LazyLock::new(|| Mutex::new(Pace::new(0, clock::now_ns(), clock::monotonic_ns())));

/// Log time, nanoseconds since the Unix epoch.
pub(super) fn now_ns() -> i64 {
    let (time, noted) = PACE.lock().read(clock::now_ns(), clock::monotonic_ns());
    let seconds = |ns: i64| Duration::from_nanos(u64::try_from(ns).unwrap_or(0)).as_secs();
    match noted {
        Noted::Nothing => {}
        Noted::Behind(by) => tracing::warn!(
            by_seconds = seconds(by),
            "the machine's clock is behind the time of the log, which goes on a little slower until they \
             agree"
        ),
        Noted::Stepped(by, left) => tracing::warn!(
            by_seconds = seconds(by),
            left_seconds = seconds(left),
            "the machine's clock went forward; the time of the log follows in steps"
        ),
    }
    time
}

/// Takes note of the newest time in the log.
pub(super) fn raise(time: i64) {
    let mut pace = PACE.lock();
    pace.time = pace.time.max(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const YEAR: i64 = 365 * 86_400 * SECOND;

    #[test]
    fn time_follows_the_wall_clock() {
        let mut pace = Pace::new(0, 100 * SECOND, 0);
        assert_eq!(
            pace.read(101 * SECOND, SECOND),
            (101 * SECOND, Noted::Nothing)
        );
        // A correction within the tolerance.
        assert_eq!(
            pace.read(1025 * SECOND / 10, 2 * SECOND).0,
            1025 * SECOND / 10
        );
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_time() {
        let mut pace = Pace::new(0, YEAR, 0);
        let (time, noted) = pace.read(0, SECOND);
        assert_eq!(noted, Noted::Behind(YEAR + SECOND));
        assert_eq!(time, YEAR + SECOND - SECOND / SLOWER);
        // Ten seconds take about ten seconds, and nothing is said again.
        let (later, noted) = pace.read(10 * SECOND, 11 * SECOND);
        assert_eq!(noted, Noted::Nothing);
        assert!((9 * SECOND..=10 * SECOND).contains(&(later - time)));
    }

    #[test]
    fn a_timestamp_from_the_future_in_the_log_does_not_stop_time() {
        let mut pace = Pace::new(5 * YEAR, YEAR, 0);
        let (first, _) = pace.read(YEAR + SECOND, SECOND);
        let (second, _) = pace.read(YEAR + 11 * SECOND, 11 * SECOND);
        assert!(second - first >= 9 * SECOND);
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_leaves_one_step_behind() {
        let mut pace = Pace::new(0, YEAR, 0);
        let (time, noted) = pace.read(9 * YEAR, SECOND);
        assert_eq!(time, YEAR + SECOND + STEP_NS_MAX);
        assert_eq!(
            noted,
            Noted::Stepped(STEP_NS_MAX, 8 * YEAR - SECOND - STEP_NS_MAX)
        );
        // More entries do not bring more steps.
        for _ in 0..1000 {
            let (again, noted) = pace.read(9 * YEAR, SECOND);
            assert_eq!((again, noted), (time, Noted::Nothing));
        }
    }

    #[test]
    fn a_machine_that_learns_the_time_late_gets_there() {
        let mut pace = Pace::new(0, 0, 0);
        let wall = 10 * STEP_NS_MAX;
        let mut monotonic = 0;
        for _ in 0..11 {
            pace.read(wall + monotonic, monotonic);
            monotonic += STEP_PAUSE_NS;
        }
        assert_eq!(pace.read(wall + monotonic, monotonic).0, wall + monotonic);
    }
}
