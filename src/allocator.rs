//! The allocator of the program, and how it is set.

use std::ptr;
use tikv_jemalloc_sys::mallctl;
use tikv_jemallocator::Jemalloc;

/// Bodies of 100 KB go through the ingress more than twice as fast with it than with the system's.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The allocator's settings, which it looks up by this name. With its own choice of four arenas a
/// core, a row and those that follow it lie in as many half empty pages: 6.0 KiB a finished job
/// instead of 3.9. What is allocated often comes from each thread's own cache anyway.
#[expect(unsafe_code, reason = "the allocator reads this symbol")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 10] = b"narenas:2\0";

/// Lets threads of the allocator give pages back that were free for ten seconds. Otherwise that is
/// up to whoever allocates: an agent that rests after much work would keep what it had then.
/// Without such threads everything else goes on.
#[expect(unsafe_code, reason = "the allocator has no safe form of it")]
pub(crate) fn give_back_in_background() {
    let wanted = true;
    let name = c"background_thread";
    // SAFETY: the name ends with NUL, and the allocator reads one `bool` through the pointer, which
    // outlives the call.
    unsafe {
        mallctl(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            (&raw const wanted).cast_mut().cast(),
            size_of::<bool>(),
        );
    }
}
