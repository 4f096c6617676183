//! Targets and clients that behave badly, and tables that change all the time: no request fails
//! that could have been served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proxy::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::backend::{Backend, Behavior};
use crate::client::{Client, Hammer, get, read_message};
use crate::running::{Running, lines};

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn one_thread() -> Config {
    Config {
        threads: 1,
        eject_after: 0,
        ..Config::default()
    }
}

/// How a target ends a request.
#[derive(Clone, Copy)]
enum Fault {
    /// With a reset instead of an answer.
    Reset,
    /// With the end of its side only, and goes on listening.
    HalfClose,
    /// With bytes that are no answer.
    Garbage,
    /// With a head that never ends.
    EndlessHead,
    /// With a part of a head, and the end.
    HalfHead,
}

/// A target that fails every request.
async fn faulty(fault: Fault) -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listening = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(fail(stream, fault));
        }
    });
    (address, listening.abort_handle())
}

async fn fail(mut stream: TcpStream, fault: Fault) {
    if read_message(&mut stream, &mut Vec::new()).await.is_none() {
        return;
    }
    match fault {
        Fault::Reset => {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        Fault::HalfClose => {
            stream.shutdown().await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        Fault::Garbage => {
            stream
                .write_all(b"\x16\x03\x01 nothing at all\r\n\r\n")
                .await
                .ok();
            stream.read_u8().await.ok();
        }
        Fault::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok();
            while stream
                .write_all(&[b"X: ".as_slice(), &[b'y'; 8000], b"\r\n"].concat())
                .await
                .is_ok()
            {}
        }
        Fault::HalfHead => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Le")
                .await
                .ok();
        }
    }
}

#[tokio::test]
async fn what_one_target_spoils_another_one_answers() {
    let good = Backend::start("good", Behavior::Name).await;
    for fault in [
        Fault::Reset,
        Fault::HalfClose,
        Fault::Garbage,
        Fault::EndlessHead,
        Fault::HalfHead,
    ] {
        let (address, listening) = faulty(fault).await;
        let proxy = Running::to(one_thread(), &[address, good.address]).await;
        for _ in 0..6 {
            let answer = timeout(PATIENCE, get(proxy.address, "/")).await.unwrap();
            assert_eq!(answer.text(), "good");
        }
        listening.abort();
    }
}

#[tokio::test]
async fn a_target_that_vanishes_in_a_body_ends_only_that_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_message(&mut stream, &mut Vec::new()).await.unwrap();
        let start = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nstart";
        stream.write_all(start).await.unwrap();
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    let good = Backend::start("good", Behavior::Name).await;
    let proxy = Running::to(one_thread(), &[address, good.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    let mut seen = Vec::new();
    let read = timeout(PATIENCE, client.stream.read_to_end(&mut seen)).await;
    // It is not taken for whole: the connection ends before the length that was said.
    drop(read.expect("it ends in time"));
    let text = String::from_utf8_lossy(&seen);
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.len() < 1_000_000);
    for _ in 0..4 {
        assert_eq!(get(proxy.address, "/").await.text(), "good");
    }
}

/// Bodies that come byte by byte, both ways, are carried beside quick requests on one thread.
#[tokio::test]
async fn slow_bodies_hold_nobody_up() {
    let echo = Backend::start("echo", Behavior::Echo).await;
    let proxy = Running::to(one_thread(), &[echo.address]).await;
    let address = proxy.address;
    let quick_done = Arc::new(AtomicBool::new(false));
    let done = quick_done.clone();
    let slow = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        client
            .send("POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 40\r\n\r\n")
            .await;
        for at in 0..40 {
            client.send("x").await;
            tokio::task::yield_now().await;
            if at == 20 {
                while !done.load(Ordering::Acquire) {
                    tokio::task::yield_now().await;
                }
            }
        }
        client.receive().await.unwrap().text()
    });
    let mut client = Client::connect(address).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    quick_done.store(true, Ordering::Release);
    assert_eq!(
        timeout(PATIENCE, slow).await.unwrap().unwrap(),
        "x".repeat(40)
    );
}

/// An answer that does not go on, and one that is read slowly, are carried beside quick requests on
/// one thread.
#[tokio::test]
async fn slow_answers_hold_nobody_up() {
    let (slow, quick) = (
        Backend::start("slow", Behavior::Halves).await,
        Backend::start("quick", Behavior::Name).await,
    );
    let proxy = Running::start(one_thread()).await;
    let text = format!(
        "route add slow /slow http://{}/\nroute add quick / http://{}/",
        slow.address, quick.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut waiting = Client::connect(proxy.address).await;
    waiting
        .send("GET /slow HTTP/1.1\r\nHost: any\r\n\r\n")
        .await;
    let mut seen = Vec::new();
    let mut until = async |part: &str| {
        while !String::from_utf8_lossy(&seen).contains(part) {
            let read = timeout(PATIENCE, waiting.stream.read_buf(&mut seen)).await;
            assert_ne!(read.unwrap().unwrap(), 0);
        }
    };
    until("first").await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.text(), "quick");
    }
    slow.permits.add_permits(1);
    until("second").await;
}

/// The table is replaced a hundred times a second and more, with other targets each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_may_change_all_the_time() {
    const SWAPS: usize = 100;
    let mut backends = Vec::new();
    for _ in 0..4 {
        backends.push(Backend::start("x", Behavior::Name).await);
    }
    let addresses: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
    let config = Config {
        retries: 0,
        ..Config::default()
    };
    let proxy = Running::to(config, &addresses[..2]).await;
    let hammer = Hammer::start(proxy.address, 4);
    for swap in 0..SWAPS {
        let first = swap % 3;
        let text = lines(&addresses[first..first + 2]);
        drop(proxy.handle.swap(proxy.table(&text)));
        hammer.answers(4).await;
    }
    hammer.stop().await;
    // Nothing of the old tables is kept.
    let table = proxy.handle.table();
    assert!(table.retired().count() <= 4, "{}", table.retired().count());
}
