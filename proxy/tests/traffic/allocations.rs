//! A kept connection costs no memory for a request.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy::Config;

use crate::backend::{Backend, Behavior};
use crate::client::Client;
use crate::running::Running;

/// Requests that warm things up, and requests that are counted.
const REQUESTS: (usize, usize) = (50, 1000);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts what the threads of one proxy ask for.
struct Counting;

// SAFETY: every call is passed on as it came.
#[expect(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: what the caller promises is what the system wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: what the caller promises is what the system wants.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[tokio::test]
async fn kept_connections_allocate_nothing() {
    let backend = Backend::start("a", Behavior::Name).await;
    let config = Config {
        threads: 1,
        on_thread_start: Some(|| IS_COUNTED.with(|counted| counted.set(true))),
        ..Config::default()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..REQUESTS.0 {
        assert_eq!(client.get("/a/b?c=d").await.status(), 200);
    }
    let before = COUNT.load(Ordering::Relaxed);
    for _ in 0..REQUESTS.1 {
        assert_eq!(client.get("/a/b?c=d").await.status(), 200);
    }
    let count = COUNT.load(Ordering::Relaxed) - before;
    assert!(count * 100 <= REQUESTS.1, "{count} allocations");
}
