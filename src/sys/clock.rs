//! The two clocks of the machine: what time it is, and how much time has passed.

use jiff::tz::TimeZone;
use jobs::model::{Span, Timestamp};
use std::{
    ops::{Add, Sub},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep_until;

/// The wall clock; the epoch on a machine whose clock stands before it.
pub fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

/// An instant of the wall clock; the epoch for what lies before it.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::default() + Span::from(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The time zone that a job names; none when this machine knows no such zone. Without a name it is
/// that of Greenwich, and `Local` is that of this machine.
pub fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" => Some(TimeZone::UTC),
        "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

/// Resolves at `due`, by the runtime's clock; never when nothing is due.
pub async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// An instant of a clock that never goes back and that nobody sets: the time since the process
/// began to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The first instant.
    pub const START: Self = Self(Duration::ZERO);

    /// The time since the first instant.
    pub fn since_start(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub for Monotonic {
    type Output = Duration;

    /// How long after `earlier` it is; nothing when it is not after it.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The monotonic clock. For what is no part of an async runtime; all else uses the runtime's clock,
/// which tests can pause.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no runtime to ask where this is used"
)]
pub fn monotonic() -> Monotonic {
    static START: OnceLock<Instant> = OnceLock::new();
    Monotonic(START.get_or_init(Instant::now).elapsed())
}

/// Clock ticks in a second, the unit of the kernel's process times.
pub fn ticks_per_second() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())
        .unwrap_or(100)
}
