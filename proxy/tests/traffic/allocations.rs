//! What connections cost in memory: nothing for a request on a kept one, and little for one that
//! rests or does not go on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use proxy::{AccessLog, Config, OwnHeaders};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::backend::{Backend, Behavior};
use crate::client::{Client, read_message};
use crate::running::Running;

/// Requests that warm things up, and requests that are counted.
const REQUESTS: (usize, usize) = (50, 1000);

/// What a connection that rests may cost, in bytes, in a program that is not optimized; in one that
/// is, it is less than 3 KiB.
const RESTING_BYTES_MAX: isize = 4 << 10;

/// What a client that reads nothing may cost, in bytes.
const STUCK_BYTES_MAX: isize = 1 << 20;

/// What the threads of one proxy ask for.
struct Counts {
    allocations: AtomicUsize,
    /// Bytes that they have not given back, and the most there were.
    live: AtomicIsize,
    peak: AtomicIsize,
}

impl Counts {
    const fn new() -> Counts {
        Counts {
            allocations: AtomicUsize::new(0),
            live: AtomicIsize::new(0),
            peak: AtomicIsize::new(0),
        }
    }

    fn add(&self, bytes: isize) {
        let live = self.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(live, Ordering::Relaxed);
    }

    fn live(&self) -> isize {
        self.live.load(Ordering::Relaxed)
    }
}

thread_local! {
    static COUNTED: Cell<Option<&'static Counts>> = const { Cell::new(None) };
}

fn counts() -> Option<&'static Counts> {
    COUNTED.try_with(Cell::get).unwrap_or(None)
}

fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

static KEPT: Counts = Counts::new();
static NOTED: Counts = Counts::new();
static RESTING: Counts = Counts::new();
static STUCK: Counts = Counts::new();

/// The system's allocator, which counts what the threads of some proxies ask for.
struct Counting;

// SAFETY: every call is passed on as it came.
#[expect(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(counts) = counts() {
            counts.allocations.fetch_add(1, Ordering::Relaxed);
            counts.add(size(layout));
        }
        // SAFETY: what the caller promises is what the system wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if let Some(counts) = counts() {
            counts.add(-size(layout));
        }
        // SAFETY: what the caller promises is what the system wants.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(on_thread_start: fn()) -> Config {
    Config {
        threads: 1,
        // However long the machine pauses, no connection to a target has waited for too long.
        upstream_idle_timeout: Duration::from_secs(600),
        on_thread_start: Some(on_thread_start),
        ..Config::default()
    }
}

/// How often memory is asked for while requests are carried that were warmed up to.
async fn allocations(config: Config, counts: &Counts) -> usize {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..REQUESTS.0 {
        assert_eq!(client.get("/a/b?c=d").await.status(), 200);
    }
    let before = counts.allocations.load(Ordering::Relaxed);
    for _ in 0..REQUESTS.1 {
        assert_eq!(client.get("/a/b?c=d").await.status(), 200);
    }
    counts.allocations.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn kept_connections_allocate_nothing() {
    let config = Config {
        own_headers: OwnHeaders {
            client_ip: Some("X-Client".to_owned()),
            request_id: Some("X-Request-Id".to_owned()),
            ..OwnHeaders::default()
        },
        ..counted(|| COUNTED.set(Some(&KEPT)))
    };
    let count = allocations(config, &KEPT).await;
    assert!(count * 100 <= REQUESTS.1, "{count} allocations");
}

#[tokio::test]
async fn a_line_in_the_log_costs_its_memory_only() {
    let (log, mut lines) = AccessLog::new("combined").unwrap();
    let written = tokio::spawn(async move { while lines.recv().await.is_some() {} });
    let config = Config {
        access_log: Some(Arc::new(log)),
        ..counted(|| COUNTED.set(Some(&NOTED)))
    };
    let count = allocations(config, &NOTED).await;
    // The line itself, and room for it to wait in.
    assert!(count * 4 <= REQUESTS.1 * 5, "{count} allocations");
    written.abort();
}

#[tokio::test]
async fn many_connections_may_rest() {
    const CONNECTIONS: usize = 300;
    let backend = Backend::start("a", Behavior::Name).await;
    let config = counted(|| COUNTED.set(Some(&RESTING)));
    let proxy = Running::to(config, &[backend.address]).await;
    let mut clients = Vec::new();
    let mut before = 0;
    for number in 0..=CONNECTIONS {
        let mut client = Client::connect(proxy.address).await;
        assert_eq!(client.get("/").await.status(), 200);
        clients.push(client);
        if number == 0 {
            before = RESTING.live();
        }
    }
    let each = (RESTING.live() - before) / isize::try_from(CONNECTIONS).unwrap();
    assert!((1..=RESTING_BYTES_MAX).contains(&each), "{each} bytes");
    // They share few connections to the target.
    assert!(backend.connections() <= 2, "{}", backend.connections());
    for client in &mut clients {
        assert_eq!(client.get("/").await.status(), 200);
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_costs_little_and_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        client_timeout: Duration::from_millis(200),
        ..counted(|| COUNTED.set(Some(&STUCK)))
    };
    let proxy = Running::to(config, &[listener.local_addr().unwrap()]).await;
    let mut client = Client::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    let (mut target, _) = listener.accept().await.unwrap();
    read_message(&mut target, &mut Vec::new()).await.unwrap();
    let before = STUCK.live();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    target.write_all(head).await.unwrap();
    let part = vec![b'x'; 64 << 10];
    let written = async {
        let mut written = 0;
        while target.write_all(&part).await.is_ok() {
            written += part.len();
        }
        written
    };
    let written = timeout(Duration::from_secs(60), written).await;
    let written = written.expect("the proxy gives the client up");
    assert!(written < 1_000_000_000, "{written}");
    let most = STUCK.peak.load(Ordering::Relaxed) - before;
    assert!(most <= STUCK_BYTES_MAX, "{most} bytes");
}
