//! Targets that say nothing while others answer, or that are found dead.

use std::net::SocketAddr;
use std::time::Duration;

use proxy::Config;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::{LIBRARY, Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, Message, get, post, read_message};

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

const ANY: &[&str] = &["urlprefix-/"];

fn one_thread() -> Config {
    Config {
        threads: 1,
        ..config()
    }
}

fn waiting(address: SocketAddr) -> JoinHandle<Message> {
    tokio::spawn(async move { get(address, "/").await })
}

#[tokio::test]
async fn requests_are_taken_from_a_target_that_is_silent_alone() {
    let silent = Backend::start("silent", Behavior::Silent).await;
    let (a, b) = (
        Backend::start("a", Behavior::Name).await,
        Backend::start("b", Behavior::Name).await,
    );
    let proxy = Running::to(one_thread(), &[silent.address, a.address, b.address]).await;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let address = proxy.address;
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            let started = Instant::now();
            while started.elapsed() < Duration::from_millis(900) {
                assert_eq!(client.get("/").await.status(), 200);
            }
        });
    }
    timeout(PATIENCE, clients.join_all()).await.unwrap();
    // It is suspected after half a second, and gets no more than a try for each that follows.
    let tries = || {
        let since = began.elapsed().saturating_sub(Duration::from_millis(500));
        since.as_secs() as usize
    };
    let asked = silent.requests();
    assert!((1..=6 + tries()).contains(&asked), "{asked}");
    for _ in 0..30 {
        assert_eq!(get(proxy.address, "/").await.status(), 200);
    }
    let asked = silent.requests();
    assert!(asked <= 6 + tries(), "{asked}");
}

#[tokio::test]
async fn what_cannot_be_repeated_stays_with_its_target() {
    let silent = Backend::start("silent", Behavior::Silent).await;
    let other = Backend::start("other", Behavior::Name).await;
    let config = Config {
        // The other one answers in time even when the machine pauses.
        response_timeout: Some(Duration::from_secs(5)),
        ..one_thread()
    };
    let proxy = Running::to(config, &[silent.address, other.address]).await;
    let address = proxy.address;
    let waiting = tokio::spawn(async move { post(address, "x").await.status() });
    silent.request_arrived().await;
    // The next turn is the other's: it answers while the first one is silent.
    assert_eq!(get(proxy.address, "/").await.text(), "other");
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap(), 504);
    assert_eq!((silent.requests(), other.requests()), (1, 1));
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_when_nobody_else_answers() {
    let slow = Backend::start("slow", Behavior::Held).await;
    let other = Backend::start("other", Behavior::Name).await;
    let proxy = Running::to(one_thread(), &[slow.address, other.address]).await;
    let waiting = waiting(proxy.address);
    slow.request_arrived().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    slow.permits.add_permits(1);
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.text(), "slow");
    assert_eq!((slow.requests(), other.requests()), (1, 0));
}

#[tokio::test]
async fn nothing_is_repeated_beyond_the_budget() {
    let silent = Backend::start("silent", Behavior::Silent).await;
    let other = Backend::start("other", Behavior::Name).await;
    let config = Config {
        // The other one answers in time even when the machine pauses.
        response_timeout: Some(Duration::from_secs(5)),
        repeats_percent: 0,
        repeats_per_second: 0,
        ..one_thread()
    };
    let proxy = Running::to(config, &[silent.address, other.address]).await;
    let waiting = waiting(proxy.address);
    silent.request_arrived().await;
    assert_eq!(get(proxy.address, "/").await.text(), "other");
    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.status(), 504);
}

#[tokio::test]
async fn a_request_that_waits_for_an_instance_found_dead_goes_elsewhere_at_once() {
    let dead = Backend::start("dead", Behavior::Silent).await;
    let other = Backend::start("other", Behavior::Name).await;
    let config = Config {
        response_timeout: Some(PATIENCE),
        ..one_thread()
    };
    let proxy = Running::start(config).await;
    drop(
        proxy
            .handle
            .swap(proxy.instances(&[("i1", dead.address, ANY)])),
    );
    let waiting = waiting(proxy.address);
    let address = proxy.address;
    let stays = tokio::spawn(async move { post(address, "x").await.status() });
    dead.request_arrived().await;
    dead.request_arrived().await;
    let drained = proxy
        .handle
        .swap(proxy.instances(&[("i2", other.address, ANY)]));
    proxy.handle.lost(|instance| instance == "i1");
    let answer = timeout(PATIENCE / 2, waiting).await.unwrap().unwrap();
    assert_eq!(answer.text(), "other");
    // What may not be repeated goes on waiting.
    assert!(!stays.is_finished());
    stays.abort();
    drop(drained);
    assert_eq!((dead.requests(), other.requests()), (2, 1));
}

/// A target that answers nothing on its only connection, and listens no more.
async fn closes_its_door(listener: TcpListener) -> tokio::net::TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    drop(listener);
    read_message(&mut stream, &mut Vec::new()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_refused_connection_tells_those_who_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = Backend::start("other", Behavior::Name).await;
    let config = Config {
        response_timeout: Some(PATIENCE),
        ..one_thread()
    };
    let proxy = Running::to(config, &[address, other.address]).await;
    let target = tokio::spawn(closes_its_door(listener));
    let waiting = waiting(proxy.address);
    let stream = target.await.unwrap();
    // The second turn is the other's, the third is refused.
    for _ in 0..2 {
        assert_eq!(get(proxy.address, "/").await.text(), "other");
    }
    let answer = timeout(PATIENCE / 2, waiting).await.unwrap().unwrap();
    assert_eq!(answer.text(), "other");
    drop(stream);
}

#[tokio::test]
async fn a_target_that_breaks_off_is_left_alone_for_a_while() {
    let alive = Backend::start("a", Behavior::Name).await;
    let broken = Backend::start("broken", Behavior::Close).await;
    let config = Config {
        eject_time: PATIENCE,
        ..one_thread()
    };
    let proxy = Running::to(config, &[broken.address, alive.address]).await;
    for _ in 0..40 {
        assert_eq!(get(proxy.address, "/").await.text(), "a");
    }
    assert_eq!(broken.requests(), 5, "{LIBRARY:?}");
}

#[tokio::test]
async fn no_more_than_half_of_the_targets_rest() {
    let (a, b) = (
        Backend::start("a", Behavior::Close).await,
        Backend::start("b", Behavior::Close).await,
    );
    let config = Config {
        eject_time: PATIENCE,
        retries: 0,
        ..one_thread()
    };
    let proxy = Running::to(config, &[a.address, b.address]).await;
    for _ in 0..40 {
        assert_eq!(get(proxy.address, "/").await.status(), 502);
    }
    let (a, b) = (a.requests(), b.requests());
    assert!(a.min(b) == 5 && a + b == 40, "{a} and {b}");
}
