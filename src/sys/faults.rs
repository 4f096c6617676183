//! Places at which a debug build kills itself when it is told to, so that tests can end a process at each step of
//! what it does. A release build has none of this.

/// Names the place at which the process dies, such as `launch.recorded`; several are separated by commas.
pub const VARIABLE: &str = "TRIVET_FAULT";

/// Dies as by `kill -9` when [`VARIABLE`] names this place.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var(VARIABLE).is_ok_and(|places| places.split(',').any(|place| place == name)) {
        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL).ok();
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// What a process must be given so that it dies at the same places: nothing in a release build.
pub fn inherited() -> Option<(&'static str, std::ffi::OsString)> {
    if cfg!(debug_assertions) {
        std::env::var_os(VARIABLE).map(|places| (VARIABLE, places))
    } else {
        None
    }
}
