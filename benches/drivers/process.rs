//! What a process used, read from procfs, and what the machine has.

use crate::harness::programs::find;
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::{path::PathBuf, time::Duration};

/// Time on a CPU, user and system, of a process and its threads so far.
pub(crate) fn cpu_time(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name in brackets may hold spaces: count from behind it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let per_second = u64::try_from(per_second).unwrap_or(100);
    Duration::from_millis((ticks(11) + ticks(12)) * 1000 / per_second)
}

/// Resident memory in KiB, the used pages of the program file included.
pub(crate) fn resident_kib(pid: Pid) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// Resident memory in KiB that no file stands behind.
pub(crate) fn anonymous_kib(pid: Pid) -> u64 {
    status_kib(pid, "RssAnon:")
}

fn status_kib(pid: Pid, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

/// The words that a process was started with.
pub(crate) fn command_line(pid: Pid) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|&byte| byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Direct children of a process.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok().map(Pid::from_raw))
        .collect()
}

/// Nanoseconds since the epoch, as times of the agent's rows and of files are told.
pub(crate) fn now_ns() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is past the epoch");
    i64::try_from(now.as_nanos()).expect("the clock is before the year 2262")
}

/// The programs, or a line that says which are missing and how to get them.
pub(crate) fn need<const N: usize>(programs: [(&str, &str); N]) -> Option<[PathBuf; N]> {
    let found = programs.map(|(program, package)| (find(program), program, package));
    for (path, program, package) in &found {
        if path.is_none() {
            println!("SKIPPED: needs `{program}` (Debian package {package})");
        }
    }
    let found: Vec<PathBuf> = found.into_iter().filter_map(|(path, ..)| path).collect();
    found.try_into().ok()
}
