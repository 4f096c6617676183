//! Control groups that limit what a task uses and count it.
//!
//! In version 2 a task's one group does both. In version 1 each kind of resource has a hierarchy of
//! its own, so that a task has a group in each.

use super::{
    cgroups::{self, Cgroup, WholeUsage},
    clock, faults,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Hierarchies of version 1 that limit or count.
const KINDS: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];
/// Controllers of version 2 that are given to tasks.
const CONTROLLERS: &str = "+cpu +memory +pids";
/// One more, which not every group of version 2 has.
const PROCESSORS: &str = "+cpuset";
/// Files of a group of version 1 without which nobody can join it; a new group has nothing there.
const PLACES: [&str; 2] = ["cpuset.mems", "cpuset.cpus"];
/// Files without which a task would have more than it may: that one is refused is an error.
const VITAL: [&str; 3] = ["memory.max", "memory.limit_in_bytes", "cpuset.cpus"];
/// The key of a group of version 2.
const UNIFIED: &str = "unified";
/// What an ordinary group has of the processors in version 1 and in version 2.
const USUAL_SHARES: u64 = 1024;
const USUAL_WEIGHT: u64 = 100;

/// What a task may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Its weight on the processors, where an ordinary program has 1024; 0 for an ordinary one.
    pub cpu_shares: u64,
    /// Memory, bytes; 0 for no limit.
    pub memory_max_bytes: u64,
    /// Memory that is taken from it last, bytes.
    pub memory_low_bytes: u64,
    /// Processes and threads; 0 for no limit.
    pub pids_max: u64,
    /// The processors that it runs on, `0-2,5`; empty for any.
    #[serde(default)]
    pub cpus: String,
}

/// Groups by the hierarchy that they stand in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controllers(BTreeMap<String, PathBuf>);

impl Controllers {
    /// Groups called `name` in which those of tasks can be made; empty when this process may not,
    /// or when the kernel has none. `unified` is a group of version 2 that may do.
    pub fn below_own(name: &str, unified: Option<&Path>) -> Self {
        if faults::is_without("cgroups") {
            return Self::default();
        }
        if let Some(group) = unified
            && let Some(parent) = group.parent()
            && fs::write(parent.join("cgroup.subtree_control"), CONTROLLERS).is_ok()
            && fs::write(group.join("cgroup.subtree_control"), CONTROLLERS).is_ok()
        {
            for dir in [parent, group] {
                fs::write(dir.join("cgroup.subtree_control"), PROCESSORS).ok();
            }
            return Self([(UNIFIED.to_owned(), group.to_owned())].into());
        }
        let found = KINDS.iter().filter_map(|kind| {
            let dir = cgroups::own_dir(kind)?.join(name);
            Cgroup::at(&dir).create().ok()?;
            if *kind == "cpuset" {
                take_over_places(&dir).ok()?;
            }
            Some(((*kind).to_owned(), dir))
        });
        Self(found.collect())
    }

    /// True when nothing can be limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the groups of a task in these, with its limits; answers with what its process writes
    /// `0` to in order to join them. Those of version 2 are the task's own group, which exists.
    ///
    /// # Errors
    /// When a limit is refused.
    pub fn limit(&self, task: &str, limits: &Limits) -> io::Result<(Self, Vec<File>)> {
        let mut made = Self::default();
        let mut joins = Vec::new();
        let asked = self.0.iter();
        for (kind, parent) in asked.filter(|(kind, _)| *kind != "cpuset" || !limits.cpus.is_empty())
        {
            let dir = parent.join(task);
            let join = Cgroup::at(&dir).create()?;
            if kind == "cpuset" {
                take_over_places(&dir)?;
            }
            made.0.insert(kind.clone(), dir.clone());
            joins.push(join);
            for (file, value) in settings(kind, limits) {
                // Old and narrow kernels lack some.
                let written = fs::write(dir.join(file), &value);
                if let Err(error) = written
                    && VITAL.contains(&file)
                {
                    made.remove();
                    return Err(io::Error::new(
                        error.kind(),
                        format!("the limit `{file}` of {value} is refused: {error}"),
                    ));
                }
            }
        }
        Ok((made, joins))
    }

    /// Processes that the kernel ended because the task used too much memory.
    pub fn out_of_memory_kills(&self) -> u64 {
        let found = self.0.iter().map(|(kind, dir)| {
            let file = match kind.as_str() {
                UNIFIED => "memory.events",
                "memory" => "memory.oom_control",
                _ => return 0,
            };
            let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
            field(&text, "oom_kill").unwrap_or(0)
        });
        found.sum()
    }

    /// The groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Path> {
        self.0.values().map(PathBuf::as_path)
    }

    /// Removes the groups; false while a process is in one of them.
    pub fn remove(&self) -> bool {
        let left = self.0.values();
        left.filter(|dir| Cgroup::at(dir).remove().is_err()).count() == 0
    }

    /// Removes them when nothing is in them.
    pub fn remove_empty(&self) {
        for dir in self.0.values() {
            Cgroup::at(dir).remove_empty();
        }
    }

    /// What was counted. `unified` is the task's group of version 2, if it has one.
    pub fn usage(&self, unified: Option<&Path>) -> Option<WholeUsage> {
        let mut usage = WholeUsage::default();
        let mut is_counted = false;
        if let Some(group) = unified
            && let Ok(text) = fs::read_to_string(group.join("cpu.stat"))
            && let Some(user_us) = field(&text, "user_usec")
        {
            is_counted = true;
            let per_second = clock::ticks_per_second();
            let ticks = |us: u64| us.saturating_mul(per_second) / 1_000_000;
            usage.user_ticks = ticks(user_us);
            usage.system_ticks = ticks(field(&text, "system_usec").unwrap_or(0));
            usage.throttled_periods = field(&text, "nr_throttled").unwrap_or(0);
            usage.throttled_ns = field(&text, "throttled_usec")
                .unwrap_or(0)
                .saturating_mul(1000);
        }
        if let Some(dir) = self.0.get("cpuacct").filter(|_| !is_counted)
            && let Ok(text) = fs::read_to_string(dir.join("cpuacct.stat"))
        {
            is_counted = true;
            usage.user_ticks = field(&text, "user").unwrap_or(0);
            usage.system_ticks = field(&text, "system").unwrap_or(0);
        }
        if let Some(dir) = self.0.get(UNIFIED) {
            let number = |file: &str| number(&dir.join(file));
            let text = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
            usage.resident_bytes = field(&text, "anon");
            usage.cache_bytes = field(&text, "file");
            usage.swap_bytes = number("memory.swap.current");
            usage.used_bytes = number("memory.current");
            usage.used_bytes_max = number("memory.peak");
        } else if let Some(dir) = self.0.get("memory") {
            let number = |file: &str| number(&dir.join(file));
            let text = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
            usage.resident_bytes = field(&text, "total_rss");
            usage.cache_bytes = field(&text, "total_cache");
            usage.swap_bytes = field(&text, "total_swap");
            usage.used_bytes = number("memory.usage_in_bytes");
            usage.used_bytes_max = number("memory.max_usage_in_bytes");
        }
        is_counted.then_some(usage)
    }
}

/// Lets a new group of version 1 have the processors and the memory of the one around it.
fn take_over_places(dir: &Path) -> io::Result<()> {
    let Some(parent) = dir.parent() else {
        return Ok(());
    };
    for file in PLACES {
        let text = fs::read_to_string(parent.join(file))?;
        fs::write(dir.join(file), text.trim())?;
    }
    Ok(())
}

/// What is written to which file of a group.
fn settings(kind: &str, limits: &Limits) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if matches!(kind, UNIFIED | "cpuset") && !limits.cpus.is_empty() {
        found.push(("cpuset.cpus", limits.cpus.clone()));
    }
    let mut set = |file, value: u64| {
        if value > 0 {
            found.push((file, value.to_string()));
        }
    };
    match kind {
        UNIFIED => {
            // From 2…262144 to 1…10000.
            let weight = limits.cpu_shares.saturating_mul(USUAL_WEIGHT) / USUAL_SHARES;
            if limits.cpu_shares > 0 {
                set("cpu.weight", weight.clamp(1, 10_000));
            }
            set("memory.max", limits.memory_max_bytes);
            set("memory.low", limits.memory_low_bytes);
            set("pids.max", limits.pids_max);
        }
        "cpu" => set("cpu.shares", limits.cpu_shares),
        "memory" => {
            set("memory.limit_in_bytes", limits.memory_max_bytes);
            // No swap beside it, where swap is counted.
            set("memory.memsw.limit_in_bytes", limits.memory_max_bytes);
            set("memory.soft_limit_in_bytes", limits.memory_low_bytes);
        }
        "pids" => set("pids.max", limits.pids_max),
        _ => {}
    }
    found
}

/// The number behind `name` in a file of lines `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    value.trim().parse().ok()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of plain files, as a hierarchy looks from here.
    fn group(dir: &Path, kind: &str, files: &[(&str, &str)]) -> Controllers {
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        Controllers([(kind.to_owned(), dir.to_owned())].into())
    }

    #[test]
    fn both_versions_say_the_same_in_other_words() {
        let limits = Limits {
            cpu_shares: 2048,
            memory_max_bytes: 64,
            memory_low_bytes: 32,
            pids_max: 9,
            cpus: "0,3".into(),
        };
        let written = |kind| {
            let settings = settings(kind, &limits).into_iter();
            settings
                .map(|(file, value)| format!("{file}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            written(UNIFIED),
            "cpuset.cpus=0,3 cpu.weight=200 memory.max=64 memory.low=32 pids.max=9"
        );
        assert_eq!(written("cpuset"), "cpuset.cpus=0,3");
        assert_eq!(written("cpu"), "cpu.shares=2048");
        assert!(written("memory").starts_with("memory.limit_in_bytes=64 memory.memsw"));
        assert_eq!(written("pids"), "pids.max=9");
        assert!(settings(UNIFIED, &Limits::default()).is_empty());
    }

    #[test]
    fn counters_of_both_versions_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let two = group(
            dir.path(),
            UNIFIED,
            &[
                (
                    "cpu.stat",
                    "usage_usec 3\nuser_usec 2000000\nsystem_usec 1000000\nnr_throttled 4\nthrottled_usec 5\n",
                ),
                ("memory.stat", "anon 10\nfile 20\n"),
                ("memory.current", "30\n"),
                ("memory.peak", "40\n"),
                ("memory.events", "low 0\noom 2\noom_kill 1\n"),
            ],
        );
        let usage = two.usage(Some(dir.path())).unwrap();
        let ticks = clock::ticks_per_second();
        assert_eq!((usage.user_ticks, usage.system_ticks), (2 * ticks, ticks));
        assert_eq!((usage.throttled_periods, usage.throttled_ns), (4, 5000));
        assert_eq!(
            (usage.resident_bytes, usage.used_bytes_max),
            (Some(10), Some(40))
        );
        assert_eq!(two.out_of_memory_kills(), 1);
        let dir = tempfile::tempdir().unwrap();
        let one = group(
            dir.path(),
            "memory",
            &[
                ("memory.stat", "rss 1\ntotal_rss 10\ntotal_cache 20\n"),
                ("memory.usage_in_bytes", "30\n"),
                (
                    "memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                ),
            ],
        );
        assert_eq!(one.out_of_memory_kills(), 2);
        assert_eq!(one.usage(None), None);
    }
}
