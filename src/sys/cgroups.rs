//! Control groups, used for two things: to find and end every process of a task, whatever it did to
//! get away, and to let threads that must not wait run before tasks.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Rounds of killing in a hierarchy that cannot kill a group by itself; each leaves fewer
/// processes.
const KILL_ROUNDS_MAX: u32 = 64;
/// File systems of hierarchies and their controllers, the best first. Those of version 1 only count
/// or freeze, so that a group of its own changes nothing for a task.
const KINDS: [(&str, &str); 3] = [("cgroup2", ""), ("cgroup", "freezer"), ("cgroup", "pids")];

/// A group of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

/// What is counted for all processes of a group together, those that have ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WholeUsage {
    /// CPU time in user mode, clock ticks.
    pub user_ticks: u64,
    /// CPU time in the kernel, clock ticks.
    pub system_ticks: u64,
    /// Periods in which the group was held back by its limit.
    pub throttled_periods: u64,
    /// How long it was held back, nanoseconds.
    pub throttled_ns: u64,
    /// Memory that belongs to no file, bytes.
    pub resident_bytes: Option<u64>,
    /// Memory of files, bytes.
    pub cache_bytes: Option<u64>,
    /// Memory that was swapped out, bytes.
    pub swap_bytes: Option<u64>,
    /// All memory that counts for the limit, bytes.
    pub used_bytes: Option<u64>,
    /// The most of that so far, bytes.
    pub used_bytes_max: Option<u64>,
}

impl Cgroup {
    /// The group in which groups can be made below the one that this process is in; none when this
    /// process may not, or when the kernel has no groups. Creates it.
    pub fn below_own(name: &str) -> Option<Self> {
        if super::faults::is_without("cgroups") {
            return None;
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        candidates(&mounts, &own, &KINDS)
            .into_iter()
            .find_map(|dir| {
                let group = Self {
                    path: dir.join(name),
                };
                group.create().is_ok().then_some(group)
            })
    }

    /// As [`Cgroup::below_own`], a group for single threads of this process that gets `shares` of
    /// the processors where an ordinary group gets 1024. Only version 1 has such groups.
    pub fn of_threads(name: &str, shares: u32) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let dir = candidates(&mounts, &own, &[("cgroup", "cpu")]).pop()?;
        let group = Self {
            path: dir.join(name),
        };
        group.create().ok()?;
        fs::write(group.path.join("cpu.shares"), shares.to_string()).ok()?;
        Some(group)
    }

    /// Moves the calling thread into a group for threads.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn take_this_thread(&self) -> io::Result<()> {
        fs::write(self.path.join("tasks"), "0")
    }

    /// Removes the group when nothing is in it, neither a process nor another group.
    pub fn remove_empty(&self) {
        fs::remove_dir(&self.path).ok();
    }

    /// The group that stands at a path, whether it exists or not.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The group `name` inside of it, whether it exists or not.
    pub fn child(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
        }
    }

    /// Makes the group, and opens what a process writes `0` to in order to join it.
    ///
    /// # Errors
    /// Any error of the file system; a directory in which no process can be put is no group.
    pub fn create(&self) -> io::Result<File> {
        create(&self.path)?;
        OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }

    /// The processes in it and in groups that were made inside of it; empty when there is no such
    /// group.
    pub fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        let mut found: Vec<i32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
        for inner in self.inner() {
            found.extend(inner.processes());
        }
        found
    }

    /// Groups that the task made inside of it.
    fn inner(&self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| Self { path: entry.path() })
            .collect()
    }

    /// Kills every process in it.
    pub fn kill(&self) {
        let at_once = OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.kill"))
            .and_then(|mut file| file.write_all(b"1"));
        if at_once.is_ok() {
            return;
        }
        for _ in 0..KILL_ROUNDS_MAX {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
        }
    }

    /// Removes the group with those inside of it; fails while a process is in one of them.
    ///
    /// # Errors
    /// Any error of the file system; none when there is no such group.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                let inner = self.inner();
                if inner.is_empty() {
                    return Err(error);
                }
                inner.iter().try_for_each(Self::remove)?;
                fs::remove_dir(&self.path)
            }
        }
    }
}

/// The directory of this process's own group in the hierarchy of version 1 that has a controller.
pub(super) fn own_dir(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    candidates(&mounts, &own, &[("cgroup", controller)]).pop()
}

fn create(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Directories of this process's own groups, in the order of `kinds`. `mounts` is
/// `/proc/self/mountinfo`, `own` is `/proc/self/cgroup`.
fn candidates(mounts: &str, own: &str, kinds: &[(&str, &str)]) -> Vec<PathBuf> {
    let own_path = |wanted: &str| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?;
            let fits = if wanted.is_empty() {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|name| name == wanted)
            };
            fits.then(|| path.to_owned())
        })
    };
    let mount = |kind: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, point) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let fits = right.next()? == kind
                && (option.is_empty() || right.nth(1)?.split(',').any(|name| name == option));
            fits.then(|| (root.to_owned(), PathBuf::from(point)))
        })
    };
    kinds
        .iter()
        .filter_map(|(kind, controller)| {
            let (root, point) = mount(kind, controller)?;
            let own = own_path(controller)?;
            // A container sees a part of the hierarchy: its own path is told from the top.
            let inside = own.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
            Some(point.join(inside.trim_start_matches('/')))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw
33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:30 /docker/abc /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
";

    #[test]
    fn own_groups_are_found_in_every_hierarchy() {
        let own = "12:freezer:/docker/abc/x\n5:pids:/\n0::/system.slice/trivet.service\n";
        let found = candidates(MOUNTS, own, &KINDS);
        let expected = [
            "/sys/fs/cgroup/unified/system.slice/trivet.service",
            "/sys/fs/cgroup/freezer/x",
            "/sys/fs/cgroup/pids",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(candidates("", own, &KINDS).is_empty());
        assert!(candidates(MOUNTS, "", &KINDS).is_empty());
    }

    #[test]
    fn a_group_that_is_not_there_is_empty_and_gone() {
        let dir = tempfile::tempdir().unwrap();
        let group = Cgroup::at(dir.path()).child("x");
        assert!(group.processes().is_empty());
        group.kill();
        group.remove().unwrap();
        fs::create_dir_all(group.path().join("made/by/a/task")).unwrap();
        group.remove().unwrap();
        assert!(!group.path().exists());
    }
}
