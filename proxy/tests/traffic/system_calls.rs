//! What a request costs the system: two reads and two writes.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy::Config;

use crate::backend::{Backend, Behavior};
use crate::client::Client;
use crate::running::Running;

const REQUESTS: usize = 200;

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

static READS: AtomicUsize = AtomicUsize::new(0);
/// Reads that came before there was anything to read.
static EARLY_READS: AtomicUsize = AtomicUsize::new(0);
static WRITES: AtomicUsize = AtomicUsize::new(0);

#[cfg(target_arch = "x86_64")]
const NUMBERS: [c_long; 3] = [45, 44, 20];
#[cfg(target_arch = "aarch64")]
const NUMBERS: [c_long; 3] = [207, 206, 66];

#[expect(
    unsafe_code,
    reason = "the system is asked in the place of its library"
)]
unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

fn count(calls: &AtomicUsize) {
    if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

const NULL: *const c_void = std::ptr::null();

/// In the place of the library's: all reads of sockets in this program come here.
#[expect(unsafe_code, reason = "the name is that of the library")]
#[unsafe(no_mangle)]
extern "C" fn recv(socket: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize {
    // SAFETY: what the caller promises is what the system wants.
    let read = unsafe { syscall(NUMBERS[0], socket, buffer, length, flags, NULL, NULL) as isize };
    count(if read < 0 { &EARLY_READS } else { &READS });
    read
}

/// In the place of the library's, as [`recv`].
#[expect(unsafe_code, reason = "the name is that of the library")]
#[unsafe(no_mangle)]
extern "C" fn send(socket: c_int, buffer: *const c_void, length: usize, flags: c_int) -> isize {
    count(&WRITES);
    let no_address: usize = 0;
    // SAFETY: what the caller promises is what the system wants.
    unsafe { syscall(NUMBERS[1], socket, buffer, length, flags, NULL, no_address) as isize }
}

/// In the place of the library's, as [`recv`].
#[expect(unsafe_code, reason = "the name is that of the library")]
#[unsafe(no_mangle)]
extern "C" fn writev(file: c_int, parts: *const c_void, count_of_parts: c_int) -> isize {
    count(&WRITES);
    // SAFETY: what the caller promises is what the system wants.
    unsafe { syscall(NUMBERS[2], file, parts, count_of_parts) as isize }
}

/// Reads, early reads and writes of the thread that carries requests, for each of many requests.
async fn calls(config: Config, closes: bool) -> [f64; 3] {
    // It writes its answer at once.
    let backend = Backend::start("a", Behavior::Status(200)).await;
    let config = Config {
        threads: 1,
        // However long the machine pauses, no connection to a target has waited for too long.
        upstream_idle_timeout: Duration::from_secs(600),
        on_thread_start: Some(|| IS_COUNTED.with(|counted| counted.set(true))),
        ..config
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    let read = || [&READS, &EARLY_READS, &WRITES].map(|calls| calls.load(Ordering::Relaxed));
    let before = read();
    for _ in 0..REQUESTS {
        if closes {
            let mut client = Client::connect(proxy.address).await;
            client
                .send("GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
                .await;
            assert_eq!(client.receive().await.unwrap().status(), 200);
        } else {
            assert_eq!(client.get("/").await.status(), 200);
        }
    }
    let after = read();
    [0, 1, 2].map(|of| (after[of] - before[of]) as f64 / REQUESTS as f64)
}

/// Both cases in one test, as they share the counts.
#[tokio::test]
async fn a_request_costs_two_reads_and_two_writes() {
    for closes in [false, true] {
        let [reads, early, writes] = calls(Config::default(), closes).await;
        assert!(
            (2.0..2.05).contains(&reads),
            "{reads} reads, closes: {closes}"
        );
        // The first read of a connection, and of an answer, may come before the bytes; how often
        // is the machine's choice.
        assert!(early <= 2.0, "{early} early reads, closes: {closes}");
        assert!(
            (2.0..2.05).contains(&writes),
            "{writes} writes, closes: {closes}"
        );
    }
}
