//! Real time for threads that must not wait, as long as they sleep now and then.
//!
//! A thread in real time runs before everything else on its processor. One that has work without
//! end would leave the log, and with it a leader's heartbeats, nothing but what the kernel keeps
//! back. So one more thread looks at how long each of them ran lately: one that hardly slept goes
//! back among all others, and returns when it sleeps again.

use super::{Policy, set};
use nix::{
    libc,
    unistd::{Pid, gettid},
};
use parking_lot::Mutex;
use std::{
    mem,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

/// Pause between two looks while a thread is busy or was sent back.
const LOOK: Duration = Duration::from_millis(20);
/// Pause between two looks while none is: looking costs time too.
const CALM_LOOK: Duration = Duration::from_millis(100);
/// Share of the time between two looks from which on a thread counts as one that does not sleep,
/// percent.
const BUSY_PERCENT: u64 = 75;
/// Share below which it counts as one that sleeps, percent.
const CALM_PERCENT: u64 = 40;
/// Looks in a row, by which a thread that does not sleep may hold up the others.
const BUSY_LOOKS: u32 = 2;
/// Looks in a row after which a thread that sleeps again returns to real time.
const CALM_LOOKS: u32 = 10;
/// Rank of the threads that must not wait.
const RANK: u32 = 1;
/// Rank of the thread that looks after them: it comes before them.
const WATCHER_RANK: u32 = 2;
/// Threads that are looked after; further ones stay among all others.
const THREADS_MAX: usize = 1024;

/// The threads that were let in.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

struct Watched {
    thread: Pid,
    /// On a processor when it was looked at last.
    ran: Duration,
    turn: Turn,
}

/// Gives the calling thread real time; false where the system does not grant it.
pub(super) fn enter() -> bool {
    static WATCHER: OnceLock<bool> = OnceLock::new();
    if !WATCHER.get_or_init(start) {
        return false;
    }
    let thread = gettid();
    let Some(ran) = ran(thread) else {
        return false;
    };
    let mut watched = WATCHED.lock();
    if watched.len() >= THREADS_MAX || !set(thread, Policy::RealTime { rank: RANK }) {
        return false;
    }
    let turn = Turn::default();
    watched.push(Watched { thread, ran, turn });
    true
}

/// Starts the thread that looks after the others; false when it may not come before them.
fn start() -> bool {
    let (sender, granted) = mpsc::sync_channel(1);
    let watch = move || {
        let rank = WATCHER_RANK;
        let is_granted = set(gettid(), Policy::RealTime { rank });
        if sender.send(is_granted).is_ok() && is_granted {
            watch();
        }
    };
    let started = thread::Builder::new().name("real-time".into()).spawn(watch);
    started.is_ok() && granted.recv().unwrap_or(false)
}

fn watch() {
    let mut pause = LOOK;
    loop {
        thread::sleep(pause);
        let mut is_calm = true;
        // A thread that ended is forgotten.
        WATCHED.lock().retain_mut(|watched| {
            let looked = watched.look(pause);
            is_calm &= looked != Some(Looked::Busy);
            looked.is_some()
        });
        pause = if is_calm { CALM_LOOK } else { LOOK };
    }
}

/// What a thread is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    /// It has to be looked at again soon.
    Busy,
    Calm,
}

impl Watched {
    /// None when it ended.
    fn look(&mut self, pause: Duration) -> Option<Looked> {
        let now = ran(self.thread)?;
        let used = now.checked_sub(mem::replace(&mut self.ran, now))?;
        let percent = used.as_micros() * 100 / pause.as_micros();
        let percent = u64::try_from(percent).unwrap_or(u64::MAX);
        match self.turn.on_look(percent) {
            Turned::No => {}
            Turned::Back => {
                set(self.thread, Policy::BEST_FAIR);
            }
            Turned::In => {
                set(self.thread, Policy::RealTime { rank: RANK });
            }
        }
        let is_busy = percent >= CALM_PERCENT || self.turn.is_back;
        Some(if is_busy { Looked::Busy } else { Looked::Calm })
    }
}

/// Time that a thread of this process was on a processor; none when it ended.
#[expect(unsafe_code, reason = "no library reads the clock of another thread")]
fn ran(thread: Pid) -> Option<Duration> {
    // As the kernel numbers these clocks: of a thread (4), the time by its scheduler (2).
    let clock = (!thread.as_raw() << 3) | 6;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to `time` and nothing else.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok()?;
    (done == 0).then(|| Duration::new(seconds, nanos))
}

/// Whether a thread is in real time, by how it ran.
#[derive(Debug, Default)]
struct Turn {
    is_back: bool,
    /// Looks in a row that speak for a change.
    looks: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Turned {
    No,
    /// Back among all others.
    Back,
    /// Into real time again.
    In,
}

impl Turn {
    /// Takes note of the share of the time in which it ran, percent.
    fn on_look(&mut self, percent: u64) -> Turned {
        let (speaks, enough, turned) = if self.is_back {
            (percent < CALM_PERCENT, CALM_LOOKS, Turned::In)
        } else {
            (percent >= BUSY_PERCENT, BUSY_LOOKS, Turned::Back)
        };
        self.looks = if speaks { self.looks + 1 } else { 0 };
        if self.looks < enough {
            return Turned::No;
        }
        *self = Self {
            is_back: !self.is_back,
            looks: 0,
        };
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_thread_that_does_not_sleep_goes_back_and_returns_when_it_sleeps() {
        let mut turn = Turn::default();
        let mut looks = |percents: &[u64]| -> Vec<Turned> {
            percents.iter().map(|p| turn.on_look(*p)).collect()
        };
        use Turned::{Back, In, No};
        assert_eq!(looks(&[0, 100, 74, 100]), [No, No, No, No]);
        assert_eq!(looks(&[75, 100, 100]), [Back, No, No]);
        let nearly = [39; CALM_LOOKS as usize - 1];
        assert!(looks(&nearly).iter().all(|turned| *turned == No));
        assert_eq!(looks(&[40]), [No]);
        assert!(looks(&nearly).iter().all(|turned| *turned == No));
        assert_eq!(looks(&[0, 100, 100]), [In, No, Back]);
    }

    /// The rank of the calling thread in real time; 0 for none.
    #[expect(unsafe_code, reason = "no library asks for it")]
    fn rank() -> i32 {
        let mut found = libc::sched_param { sched_priority: 0 };
        // SAFETY: the call writes to `found` and nothing else.
        unsafe { libc::sched_getparam(0, &raw mut found) };
        found.sched_priority
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about time on a processor")]
    fn the_system_takes_real_time_back_from_a_thread_that_does_not_sleep() {
        let work = || {
            if !enter() {
                eprintln!("SKIPPED: this system grants no real time");
                return;
            }
            assert_eq!(rank(), 1);
            // The child of a thread in real time is an ordinary one.
            assert_eq!(thread::spawn(rank).join().unwrap(), 0);
            let give_up = Instant::now() + Duration::from_secs(60);
            while rank() > 0 {
                assert!(Instant::now() < give_up, "it hogs a processor");
            }
            while rank() == 0 {
                assert!(Instant::now() < give_up, "it does not return");
                thread::sleep(LOOK);
            }
        };
        thread::spawn(work).join().unwrap();
    }
}
