//! Access to files with the rights of another user.

use nix::{
    errno::Errno,
    libc,
    unistd::{Gid, Uid, geteuid, setfsgid, setfsuid},
};
use std::{io, thread};

/// Runs `work` with the file-system rights of a user and its main group, without any further group.
/// Without privileges, this process has only its own rights, which are then what counts.
///
/// The kernel keeps these rights per thread, so `work` has a thread of its own that ends with it.
///
/// # Errors
/// When the thread cannot be made or the rights cannot be given up; `work` does not run then.
pub fn as_user<T: Send>(
    (uid, gid): (u32, u32),
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    if !geteuid().is_root() || geteuid().as_raw() == uid {
        return work();
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("as-user".into())
            .spawn_scoped(scope, || {
                become_user(Uid::from_raw(uid), Gid::from_raw(gid))?;
                work()
            })?;
        worker
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread broke")))
    })
}

/// Gives up this thread's rights to files for those of a user, for good.
fn become_user(uid: Uid, gid: Gid) -> io::Result<()> {
    drop_groups()?;
    // Both answer what was before and say nothing about a failure; a second call tells what holds
    // now.
    setfsgid(gid);
    setfsuid(uid);
    if setfsgid(gid) != gid || setfsuid(uid) != uid {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "the C library's call would change every thread of the process"
)]
fn drop_groups() -> io::Result<()> {
    // SAFETY: with a length of 0 the kernel reads nothing through the pointer.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn needs_root_only_what_the_user_may_read_is_read() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: this test needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("open", 0o644), ("closed", 0o600), ("group", 0o640)] {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = as_user((65_534, 65_534), || fs::read(&path));
            assert_eq!(read.is_ok(), name == "open", "{name}");
            assert!(fs::read(&path).is_ok(), "this thread keeps its rights");
        }
    }
}
