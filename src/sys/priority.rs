//! How soon a thread gets to run.
//!
//! Where the kernel makes a group of each session (`sched_autogroup_enabled`, as on most
//! distributions), a nice value counts within the session only, and each task is a session: ten
//! tasks that start get ten times the processor of the whole agent. So the threads that must not
//! wait get a group of their own as well, beside those of the sessions.

use super::cgroups::Cgroup;
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

/// Lets the calling thread run soon after it wakes, also while others keep all processors busy. It
/// asks for short turns, and for a better place where this process may have one. A system that
/// grants neither goes on as before.
pub fn prefer_this_thread() {
    static FOUND: OnceLock<Option<Cgroup>> = OnceLock::new();
    let group = FOUND.get_or_init(|| Cgroup::of_threads(GROUP.0, GROUP.1));
    if let Some(group) = group {
        group.take_this_thread().ok();
    }
    for nice in [NICE, 0] {
        if set(nice) {
            return;
        }
    }
}

#[expect(unsafe_code, reason = "no library has the call")]
fn set(nice: i32) -> bool {
    let attributes = SchedulingAttributes {
        size: u32::try_from(size_of::<SchedulingAttributes>()).unwrap_or(0),
        policy: 0,
        flags: 0,
        nice,
        priority: 0,
        runtime_ns: SLICE_NS,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the call reads as many bytes of the structure as its first field says, which is its
    // size, and writes nothing; 0 is the calling thread.
    let done = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_sched_setattr,
            0,
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
            prefer_this_thread();
            set(0)
        });
        assert!(granted.join().unwrap());
        assert_eq!(size_of::<SchedulingAttributes>(), 48);
    }
}
