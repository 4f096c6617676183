//! Network namespaces: what a process needs to enter one, and whether this process may make them.

use nix::sched::{CloneFlags, setns};
use std::{fs, io, os::fd::OwnedFd, path::Path, thread};

/// What the kernel calls the file system of namespaces.
const NAMESPACES: nix::libc::__fsword_t = 0x6e73_6673;

/// Opens the file that stands for a network namespace.
///
/// # Errors
/// When it cannot be opened; the text names it.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let opened = fs::File::open(path).map_err(|error| {
        let text = format!("the network `{}`: {error}", path.display());
        io::Error::new(error.kind(), text)
    })?;
    Ok(opened.into())
}

/// Does something in the network namespace that the file at `path` stands for: processes that are
/// started there belong to it. A thread of its own enters it, so that no other one is ever inside.
///
/// # Errors
/// When it cannot be entered; otherwise those of `work`.
pub fn within<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let network = open(path)?;
    let enter = || {
        setns(&network, CloneFlags::CLONE_NEWNET)?;
        work()
    };
    let done = thread::scope(|scope| scope.spawn(enter).join());
    done.unwrap_or_else(|_| Err(io::Error::other("what was done in the network broke")))
}

/// True when the file at `path` stands for a network namespace: only then is it on the kernel's own
/// file system.
pub fn is_namespace(path: &Path) -> bool {
    let found = nix::sys::statfs::statfs(path);
    found.is_ok_and(|found| found.filesystem_type().0 == NAMESPACES)
}

/// True when this process may make network namespaces and change what is in them.
pub fn may_change() -> bool {
    /// Numbers of `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
    const NEEDED: u64 = 1 << 12 | 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let has = lines.find_map(|line| line.strip_prefix("CapEff:"));
    has.and_then(|has| u64::from_str_radix(has.trim(), 16).ok())
        .is_some_and(|has| has & NEEDED == NEEDED)
}

/// True when this process's network has an interface of that name.
pub fn has_interface(name: &str) -> bool {
    let listed = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let mut names = listed.lines().filter_map(|line| line.split_once(':'));
    names.any(|(known, _)| known.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_and_namespaces_are_told_from_other_things() {
        assert!(has_interface("lo"));
        assert!(!has_interface("no-such-one"));
        assert!(is_namespace(Path::new("/proc/self/ns/net")));
        assert!(!is_namespace(Path::new("/proc/self/status")));
        assert!(!is_namespace(Path::new("/no/such/file")));
    }
}
