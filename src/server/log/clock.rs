//! The time of the log: it goes forward at an even pace whatever somebody does to the machine's
//! clock.
//!
//! It follows the wall clock. When that is set back, log time does not wait for it: it goes on a
//! little slower until both agree. When it is set forward, log time follows in bounded steps, so
//! that a clock that is wrong for a moment leaves at most one step behind.

use jobs::model::Timestamp;
use parking_lot::Mutex;
use std::{cell::RefCell, collections::BTreeMap, sync::LazyLock, time::Duration};

use sys::{
    clock::{self, Monotonic},
    simulation,
};

/// A difference that needs no word: what time services correct all the time.
const TOLERANCE: Duration = Duration::from_secs(1);
/// Furthest step forward at once.
const STEP_MAX: Duration = Duration::from_secs(3600);
/// Pause between two steps.
const STEP_PAUSE: Duration = Duration::from_secs(60);
/// Log time that is ahead goes slower by this part.
const SLOWER: u32 = 16;

/// What [`Pace::read`] did besides telling the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// Nothing worth a line.
    Nothing,
    /// The wall clock stands behind log time by that much, for the first time.
    Behind(Duration),
    /// Log time stepped forward by the first; the wall clock is still ahead by the second.
    Stepped(Duration, Duration),
}

/// The time of the log as a function of two clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    time: Timestamp,
    monotonic: Monotonic,
    stepped: Option<Monotonic>,
    is_behind: bool,
}

impl Pace {
    /// Goes on from `time`, the newest in the log, or from the wall clock when that is later.
    fn new(time: Timestamp, wall: Timestamp, monotonic: Monotonic) -> Self {
        Self {
            time: time.max(wall),
            monotonic,
            stepped: None,
            is_behind: false,
        }
    }

    /// The time now; never below that of the call before.
    fn read(&mut self, wall: Timestamp, monotonic: Monotonic) -> (Timestamp, Noted) {
        let elapsed = monotonic - self.monotonic;
        let even = self.time + elapsed;
        let (ahead, behind) = (wall.since(even), even.since(wall));
        self.monotonic = monotonic;
        let (time, noted) = if behind > TOLERANCE {
            let noted = if self.is_behind {
                Noted::Nothing
            } else {
                Noted::Behind(behind)
            };
            self.is_behind = true;
            (even - elapsed / SLOWER, noted)
        } else if ahead <= TOLERANCE {
            self.is_behind = false;
            (wall.max(self.time), Noted::Nothing)
        } else {
            self.is_behind = false;
            let rested = self.stepped.is_none_or(|at| monotonic - at >= STEP_PAUSE);
            if rested {
                let step = ahead.min(STEP_MAX);
                self.stepped = Some(monotonic);
                (even + step, Noted::Stepped(step, ahead - step))
            } else {
                (even, Noted::Nothing)
            }
        };
        self.time = time;
        (time, noted)
    }

    /// Goes on from `time` where that is later. Who did not write until now did not read the time
    /// either: what passed meanwhile is in `time` already.
    fn raise(&mut self, time: Timestamp, monotonic: Monotonic) {
        if time > self.time {
            self.time = time;
            self.monotonic = monotonic;
        }
    }
}

/// The clock of this process, which has one log.
static PACE: LazyLock<Mutex<Pace>> = LazyLock::new(|| {
    let pace = Pace::new(Timestamp::default(), clock::now(), clock::monotonic());
    Mutex::new(pace)
});

thread_local! {
    /// The clocks of simulated processes.
    static PACES: RefCell<BTreeMap<u32, Pace>> = const { RefCell::new(BTreeMap::new()) };
}

fn with_pace<T>(act: impl FnOnce(&mut Pace) -> T) -> T {
    let Some(process) = simulation::process() else {
        return act(&mut PACE.lock());
    };
    PACES.with_borrow_mut(|paces| {
        let begin = || Pace::new(Timestamp::default(), clock::now(), clock::monotonic());
        act(paces.entry(process).or_insert_with(begin))
    })
}

/// Log time.
pub(super) fn now() -> Timestamp {
    let (time, noted) = with_pace(|pace| pace.read(clock::now(), clock::monotonic()));
    match noted {
        Noted::Nothing => {}
        Noted::Behind(by) => tracing::warn!(
            by_seconds = by.as_secs(),
            "the machine's clock is behind the time of the log, which goes on a little slower until they \
             agree"
        ),
        Noted::Stepped(by, left) => tracing::warn!(
            by_seconds = by.as_secs(),
            left_seconds = left.as_secs(),
            "the machine's clock went forward; the time of the log follows in steps"
        ),
    }
    time
}

/// Takes note of the newest time in the log.
pub(super) fn raise(time: Timestamp) {
    with_pace(|pace| pace.raise(time, clock::monotonic()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn monotonic(seconds: u64) -> Monotonic {
        Monotonic::START + Duration::from_secs(seconds)
    }

    const NEVER: Timestamp = Timestamp::from_secs(0);
    const YEAR: i64 = 365 * 86_400;

    #[test]
    fn time_follows_the_wall_clock() {
        let mut pace = Pace::new(NEVER, wall(100), monotonic(0));
        assert_eq!(
            pace.read(wall(101), monotonic(1)),
            (wall(101), Noted::Nothing)
        );
        // A correction within the tolerance.
        let corrected = wall(102) + Duration::from_millis(500);
        assert_eq!(pace.read(corrected, monotonic(2)).0, corrected);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_time() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(NEVER, wall(YEAR), monotonic(0));
        let (time, noted) = pace.read(NEVER, monotonic(1));
        assert_eq!(noted, Noted::Behind((wall(YEAR) + second).since(NEVER)));
        assert_eq!(time, wall(YEAR) + second - second / SLOWER);
        // Ten seconds take about ten seconds, and nothing is said again.
        let (later, noted) = pace.read(wall(10), monotonic(11));
        assert_eq!(noted, Noted::Nothing);
        assert!((9 * second..=10 * second).contains(&later.since(time)));
    }

    #[test]
    fn a_timestamp_from_the_future_in_the_log_does_not_stop_time() {
        let mut pace = Pace::new(wall(5 * YEAR), wall(YEAR), monotonic(0));
        let (first, _) = pace.read(wall(YEAR + 1), monotonic(1));
        let (second, _) = pace.read(wall(YEAR + 11), monotonic(11));
        assert!(second.since(first) >= Duration::from_secs(9));
    }

    #[test]
    fn who_followed_for_long_goes_on_from_the_time_of_the_log() {
        let mut pace = Pace::new(NEVER, wall(0), monotonic(0));
        pace.raise(wall(YEAR), monotonic(31_536_000));
        let next = wall(YEAR) + Duration::from_millis(20);
        let read = pace.read(next, Monotonic::START + next.since(wall(0)));
        assert_eq!(read, (next, Noted::Nothing));
        // What is older than what was told already changes nothing.
        pace.raise(wall(YEAR - 10), monotonic(31_536_010));
        let read = pace.read(wall(YEAR + 10), monotonic(31_536_010));
        assert_eq!(read, (wall(YEAR + 10), Noted::Nothing));
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_leaves_one_step_behind() {
        let mut pace = Pace::new(NEVER, wall(YEAR), monotonic(0));
        let (time, noted) = pace.read(wall(9 * YEAR), monotonic(1));
        assert_eq!(time, wall(YEAR + 1) + STEP_MAX);
        assert_eq!(
            noted,
            Noted::Stepped(STEP_MAX, wall(9 * YEAR).since(wall(YEAR + 1)) - STEP_MAX)
        );
        // More entries do not bring more steps.
        for _ in 0..1000 {
            let (again, noted) = pace.read(wall(9 * YEAR), monotonic(1));
            assert_eq!((again, noted), (time, Noted::Nothing));
        }
    }

    #[test]
    fn a_machine_that_learns_the_time_late_gets_there() {
        let mut pace = Pace::new(NEVER, NEVER, monotonic(0));
        let known = NEVER + 10 * STEP_MAX;
        let mut passed = Duration::ZERO;
        for _ in 0..11 {
            pace.read(known + passed, Monotonic::START + passed);
            passed += STEP_PAUSE;
        }
        let (time, _) = pace.read(known + passed, Monotonic::START + passed);
        assert_eq!(time, known + passed);
    }
}
