//! How soon a thread gets to run.
//!
//! Threads that must not wait run in real time where the system grants that (root, `CAP_SYS_NICE`
//! or a limit of `LimitRTPRIO`), see `real_time`. Elsewhere they ask the fair scheduler for the
//! best it has. That is less: where the kernel makes a group of each session
//! (`sched_autogroup_enabled`, as on most distributions), a nice value counts within the session
//! only, and each task is a session. A group of their own beside those of the sessions helps, but
//! among a crowd of groups that come and go it may still wait for tens of milliseconds, whatever
//! its share.

mod real_time;

use super::cgroups::Cgroup;
use nix::unistd::Pid;
use std::sync::OnceLock;

/// The nice value of threads that must not wait, where the system allows it.
const NICE: i32 = -5;
/// The group of such threads, of all agents that share a parent group, and its share; a session has
/// 1024.
const GROUP: (&str, u32) = ("trivet-data-plane", 4096);
/// The time slice that they ask for: who asks for a short one is let in sooner (Linux 6.12 and
/// later).
const SLICE_NS: u64 = 200_000;

/// The kernel's `struct sched_attr` in its first version.
#[repr(C)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Among all others, with short turns.
    Fair {
        /// As of `nice`.
        nice: i32,
    },
    /// Before all others until it sleeps.
    RealTime {
        /// Who has a greater one comes first.
        rank: u32,
    },
}

impl Policy {
    const BEST_FAIR: Self = Self::Fair { nice: NICE };
}

/// The calling thread, for the kernel.
const THIS: Pid = Pid::from_raw(0);
/// The policy is not inherited: what a preferred thread starts is ordinary.
const RESET_ON_FORK: u64 = 1;

/// Lets the calling thread run soon after it wakes, also while others keep all processors busy: in
/// real time where it may, otherwise with short turns and the best place among others that this
/// process may have. A system that grants nothing goes on as before. What was granted is told in
/// the log, once.
pub fn prefer_this_thread() {
    static SAID: OnceLock<()> = OnceLock::new();
    let granted = if real_time::enter() {
        "real time"
    } else {
        prefer_among_others()
    };
    SAID.get_or_init(|| tracing::info!(granted, "threads that carry traffic have their priority"));
}

/// The best place of the fair scheduler; says which.
fn prefer_among_others() -> &'static str {
    static FOUND: OnceLock<Option<Cgroup>> = OnceLock::new();
    let group = FOUND.get_or_init(|| Cgroup::of_threads(GROUP.0, GROUP.1));
    let joined = group.as_ref().map(Cgroup::take_this_thread);
    let is_better = set(THIS, Policy::BEST_FAIR);
    let is_short = is_better || set(THIS, Policy::Fair { nice: 0 });
    match joined {
        Some(Ok(())) => "a control group of their own",
        _ if is_better => "a better nice value",
        _ if is_short => "short turns",
        _ => "nothing",
    }
}

#[expect(unsafe_code, reason = "no library has the call")]
fn set(thread: Pid, policy: Policy) -> bool {
    let (number, nice, priority, runtime_ns) = match policy {
        Policy::Fair { nice } => (nix::libc::SCHED_OTHER, nice, 0, SLICE_NS),
        Policy::RealTime { rank } => (nix::libc::SCHED_FIFO, 0, rank, 0),
    };
    let attributes = SchedulingAttributes {
        size: u32::try_from(size_of::<SchedulingAttributes>()).unwrap_or(0),
        policy: number.cast_unsigned(),
        flags: RESET_ON_FORK,
        nice,
        priority,
        runtime_ns,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the call reads as many bytes of the structure as its first field says, which is its
    // size, and writes nothing.
    let done = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_sched_setattr,
            thread.as_raw(),
            std::ptr::from_ref(&attributes),
            0,
        )
    };
    done == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_always_ask_for_short_turns() {
        // On a thread of its own: nobody else is to be preferred.
        let granted = std::thread::spawn(|| {
            prefer_among_others();
            set(THIS, Policy::Fair { nice: 0 })
        });
        assert!(granted.join().unwrap());
        assert_eq!(size_of::<SchedulingAttributes>(), 48);
    }
}
