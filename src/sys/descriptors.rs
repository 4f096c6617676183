//! How many files and sockets this process may hold.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{io, sync::OnceLock};

/// The soft limit that this process was started with.
static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises the limit to what the system allows and answers with it. Programs that this process
/// starts should run with what it was started with: see [`original`].
///
/// # Errors
/// When the system does not say what the limit is.
pub fn raise() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ORIGINAL.get_or_init(|| soft);
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Ok(hard);
    }
    Ok(soft)
}

/// The limit before [`raise`]; none when it was not called.
pub fn original() -> Option<u64> {
    ORIGINAL.get().copied()
}

/// Sets the limit of this process to `soft`, as far as the system allows.
pub fn lower(soft: u64) {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A limit that cannot be set is no reason not to run.
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard).ok();
    }
}

/// Whether an error says that there was no descriptor left.
pub fn is_exhausted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let system = error.downcast_ref::<io::Error>();
        let code = system.and_then(io::Error::raw_os_error);
        if matches!(code, Some(nix::libc::EMFILE | nix::libc::ENFILE)) {
            return true;
        }
        // What an error of the system wraps is not its source.
        next = match system.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not connect")]
    struct Outer(#[source] io::Error);

    #[test]
    fn want_of_descriptors_shows_through_what_wraps_it() {
        for (code, exhausted) in [
            (nix::libc::EMFILE, true),
            (nix::libc::ENFILE, true),
            (nix::libc::ECONNREFUSED, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_exhausted(&error), exhausted, "{error}");
            assert_eq!(is_exhausted(&Outer(error)), exhausted);
        }
        let wrapped = io::Error::other(Outer(io::Error::from_raw_os_error(nix::libc::EMFILE)));
        assert!(is_exhausted(&wrapped));
        let wrapped = io::Error::other(io::Error::from_raw_os_error(nix::libc::EMFILE));
        assert!(is_exhausted(&wrapped));
    }
}
