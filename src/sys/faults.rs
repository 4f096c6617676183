//! Places at which a debug build kills itself or hangs when it is told to, and things that it does
//! without, so that tests can end or hold a process at each step of what it does. A release build
//! has none of this.

use std::{ffi::OsString, time::Duration};

/// Names the place at which the process dies, such as `launch.recorded`; several are separated by
/// commas.
pub const VARIABLE: &str = "TRIVET_FAULT";
/// Names places at which the process does nothing for half a minute and then dies, in the same way.
pub const HANGS: &str = "TRIVET_FAULT_HANGS";
/// Names things that the process is to do without, such as `cgroups`, in the same way.
pub const WITHOUT: &str = "TRIVET_FAULT_WITHOUT";
/// Milliseconds that long waits for other processes are cut to.
pub const PATIENCE: &str = "TRIVET_FAULT_PATIENCE";
/// Means nothing to the program: by its value a test finds whatever came of a process that it
/// started.
pub const MARK: &str = "TRIVET_FAULT_MARK";

fn names(variable: &str, name: &str) -> bool {
    cfg!(debug_assertions)
        && std::env::var(variable).is_ok_and(|names| names.split(',').any(|one| one == name))
}

/// How long a process hangs: longer than anybody waits for it, and not for good.
const HANG: Duration = Duration::from_secs(30);

/// Dies as by `kill -9` when [`VARIABLE`] names this place, hangs when [`HANGS`] does.
#[inline]
pub fn point(name: &str) {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    let hangs = names(HANGS, name);
    if hangs {
        std::thread::sleep(HANG);
    }
    if hangs || names(VARIABLE, name) {
        kill(Pid::this(), Signal::SIGKILL).ok();
    }
}

/// True when [`WITHOUT`] names this thing.
#[inline]
pub fn is_without(name: &str) -> bool {
    names(WITHOUT, name)
}

/// How long to wait for another process: `usual`, unless [`PATIENCE`] says less.
#[inline]
pub fn patience(usual: Duration) -> Duration {
    if !cfg!(debug_assertions) {
        return usual;
    }
    let cut = std::env::var(PATIENCE)
        .ok()
        .and_then(|text| text.parse().ok());
    cut.map_or(usual, |ms| usual.min(Duration::from_millis(ms)))
}

/// What a process must be given so that it has the same faults: nothing in a release build.
pub fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    let variables = [VARIABLE, HANGS, WITHOUT, PATIENCE, MARK].into_iter();
    variables
        .filter(|_| cfg!(debug_assertions))
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}
