//! Removes a directory tree that somebody else filled.
//!
//! Links are removed, never followed, and neither depth nor number of the entries costs more than a
//! few open files: what lies too deep is first moved up.

use super::directory::Directory;
use nix::{
    errno::Errno,
    fcntl::renameat,
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{ffi::OsString, io, os::fd::AsFd, path::Path};

/// Directories that are open at a time.
const DEPTH_MAX: usize = 32;
/// Names of directories that are kept in memory for one directory; further ones have their turn
/// later.
const NAMES_MAX: usize = 10_000;
/// How often the whole is gone through: more than once only for what was moved up or put off, or
/// while somebody still writes.
const PASSES_MAX: usize = 100_000;
/// How often it is gone through in vain, while somebody fills it.
const VAIN_PASSES_MAX: usize = 8;

/// Removes the directory `name` in `parent` with all that it holds.
///
/// # Errors
/// Any error of the file system, and [`io::ErrorKind::DirectoryNotEmpty`] when somebody keeps
/// filling it.
pub fn remove_tree(parent: &Directory, name: &Path) -> io::Result<()> {
    let mut done = 0_u64;
    let mut vain = 0;
    for _ in 0..PASSES_MAX {
        let top = match parent.directory(name) {
            Ok(top) => top,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let before = done;
        empty(&top, &mut done)?;
        match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        vain = if done == before { vain + 1 } else { 0 };
        if vain > VAIN_PASSES_MAX {
            break;
        }
    }
    Err(io::ErrorKind::DirectoryNotEmpty.into())
}

/// Goes once through the tree below `top` and counts what it removes or moves.
fn empty(top: &Directory, done: &mut u64) -> io::Result<()> {
    let mut open: Vec<(Directory, OsString, Vec<OsString>)> = Vec::new();
    let mut below = subdirectories(top, done)?;
    loop {
        let here = open.last().map_or(top, |(directory, ..)| directory);
        if let Some(name) = below.pop() {
            if open.len() >= DEPTH_MAX {
                // A name that nothing below the top has: it is looked at again with the next pass.
                *done += 1;
                let aside = OsString::from(format!(".removed-{}-{done}", std::process::id()));
                tolerate(renameat(here, name.as_os_str(), top, aside.as_os_str()))?;
                continue;
            }
            match here.directory(Path::new(&name)) {
                Ok(next) => {
                    let deeper = subdirectories(&next, done)?;
                    open.push((next, name, std::mem::replace(&mut below, deeper)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Somebody put something else there: it goes with the next pass.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        let Some((emptied, name, rest)) = open.pop() else {
            return Ok(());
        };
        drop(emptied);
        below = rest;
        let parent = open.last().map_or(top, |(directory, ..)| directory);
        match unlinkat(parent, name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) => *done += 1,
            // What is not empty goes with the next pass.
            Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes all entries that are no directories; returns the names of those that are, up to a limit.
fn subdirectories(of: &Directory, done: &mut u64) -> io::Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in of.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        match unlinkat(of.as_fd(), name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => *done += 1,
            Err(Errno::ENOENT) => {}
            // Linux says EISDIR, other systems and some file systems EPERM.
            Err(Errno::EISDIR | Errno::EPERM) if entry.file_type()?.is_dir() => {
                if found.len() < NAMES_MAX {
                    found.push(name);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn tolerate(done: Result<(), Errno>) -> io::Result<()> {
    match done {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::{Mode, mkdirat};
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("keep/sub")).unwrap();
        fs::write(dir.path().join("keep/file"), "k").unwrap();
        fs::create_dir_all(dir.path().join("tree/a/b/c")).unwrap();
        fs::write(dir.path().join("tree/a/b/file"), "x").unwrap();
        symlink("../keep", dir.path().join("tree/link")).unwrap();
        symlink("../../keep", dir.path().join("tree/a/link")).unwrap();
        let parent = Directory::open(dir.path()).unwrap();
        remove_tree(&parent, Path::new("tree")).unwrap();
        assert!(!dir.path().join("tree").exists());
        assert_eq!(fs::read(dir.path().join("keep/file")).unwrap(), b"k");
        assert!(dir.path().join("keep/sub").is_dir());
        remove_tree(&parent, Path::new("tree")).unwrap();
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        const DEPTH: usize = 5_000;
        let dir = tempfile::tempdir().unwrap();
        let parent = Directory::open(dir.path()).unwrap();
        let mut at = parent.make_directory("deep", 0o755).unwrap();
        for _ in 0..DEPTH {
            mkdirat(&at, "d", Mode::from_bits_truncate(0o755)).unwrap();
            at = at.directory(Path::new("d")).unwrap();
        }
        drop(at);
        remove_tree(&parent, Path::new("deep")).unwrap();
        assert!(!dir.path().join("deep").exists());
    }

    #[test]
    fn a_link_at_its_own_name_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("keep/sub")).unwrap();
        symlink("keep", dir.path().join("tree")).unwrap();
        let parent = Directory::open(dir.path()).unwrap();
        assert!(remove_tree(&parent, Path::new("tree")).is_err());
        assert!(dir.path().join("keep/sub").is_dir());
    }
}
