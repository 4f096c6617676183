//! The machine that simulated processes see: a clock that stands still unless the simulation moves
//! it, and random bytes that follow from its number. Both take the place of what the C library
//! asks the kernel for, on threads that simulate; all other threads get the kernel's answers.

use nix::libc;
use std::{cell::Cell, ffi, ptr, time::Duration};

/// What simulated wall clocks start from, seconds since the epoch.
const EPOCH_SECONDS: i64 = 1_900_000_000;
/// What their monotonic clocks start from, so that nothing lies before their start.
const UPTIME: Duration = Duration::from_secs(100_000);

thread_local! {
    static TIME: Cell<Option<Duration>> = const { Cell::new(None) };
    static SKEW_MS: Cell<i64> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Makes this thread one of simulated machines, with random bytes that follow from `seed`.
pub(crate) fn begin(seed: u64) {
    RANDOM.set(seed);
    TIME.set(Some(Duration::ZERO));
}

/// Simulated time since [`begin`].
pub(crate) fn now() -> Duration {
    TIME.get().unwrap_or_default()
}

/// Moves the clocks of this thread.
pub(crate) fn set_now(now: Duration) {
    TIME.set(Some(now));
}

/// How far the wall clock of the process whose turn it is goes wrong.
pub(crate) fn set_skew(milliseconds: i64) {
    SKEW_MS.set(milliseconds);
}

/// The next of this thread's random numbers.
fn random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a simulated clock shows.
fn shown(clock: libc::clockid_t, time: Duration) -> libc::timespec {
    let part = |nanos: u32| ffi::c_long::from(nanos.cast_signed());
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    if clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE {
        let skew = SKEW_MS.get();
        let length = Duration::from_millis(skew.unsigned_abs());
        let time = Duration::from_secs(EPOCH_SECONDS.unsigned_abs()) + time;
        let time = if skew < 0 {
            time - length
        } else {
            time + length
        };
        return libc::timespec {
            tv_sec: seconds(time),
            tv_nsec: part(time.subsec_nanos()),
        };
    }
    let time = UPTIME + time;
    libc::timespec {
        tv_sec: seconds(time),
        tv_nsec: part(time.subsec_nanos()),
    }
}

#[expect(
    unsafe_code,
    reason = "the C library's function is replaced for the whole test program"
)]
// SAFETY: the signature is that of the C library's function.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> ffi::c_int {
    match TIME.get() {
        Some(time) => {
            // SAFETY: callers hand in a place for the answer, as the kernel wants it too.
            unsafe { ptr::write(out, shown(clock, time)) };
            0
        }
        None => {
            // SAFETY: these are the arguments of the kernel's own call.
            let answer = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) };
            ffi::c_int::try_from(answer).unwrap_or(-1)
        }
    }
}

#[expect(
    unsafe_code,
    reason = "the C library's function is replaced for the whole test program"
)]
// SAFETY: the signature is that of the C library's function.
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut ffi::c_void, length: usize, flags: ffi::c_uint) -> isize {
    if TIME.get().is_none() {
        // SAFETY: these are the arguments of the kernel's own call.
        let answer = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(answer).unwrap_or(-1);
    }
    let bytes = buffer.cast::<u8>();
    for at in 0..length {
        let [byte, ..] = random().to_le_bytes();
        // SAFETY: callers hand in a place for `length` bytes.
        unsafe { ptr::write(bytes.add(at), byte) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
