//! Targets that leave the table.

use std::time::Duration;

use proxy::{Config, Pending};

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, Hammer, get};
use crate::running::lines;

#[tokio::test]
async fn a_swap_waits_for_requests_in_flight() {
    let (old, new) = (
        Backend::start("old", Behavior::Held).await,
        Backend::start("new", Behavior::Name).await,
    );
    let proxy = Running::to(config(), &[old.address]).await;
    let mut client = Client::connect(proxy.address).await;
    // One that stays with its target however long that is silent.
    let request = "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 1\r\n\r\nx";
    client.send(request).await;
    old.request_arrived().await;
    let mut drained = Box::pin(proxy.handle.swap(proxy.table(&lines(&[new.address]))));
    // The new table is in force already.
    assert_eq!(get(proxy.address, "/").await.text(), "new");
    let early =
        std::future::poll_fn(|cx| std::task::Poll::Ready(drained.as_mut().poll(cx).is_ready()))
            .await;
    assert!(!early, "drained with a request in flight");
    old.permits.add_permits(1);
    assert_eq!(client.receive().await.unwrap().text(), "old");
    assert!(drained.await.is_complete());
    assert_eq!(client.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_swap_gives_up_in_time_and_says_what_is_left() {
    let backend = Backend::start("a", Behavior::Held).await;
    let config = Config {
        drain_timeout: Duration::from_millis(50),
        ..config()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    backend.request_arrived().await;
    let drained = proxy.handle.swap(proxy.table("")).await;
    let left = Pending {
        instance: String::new(),
        address: backend.address,
        in_flight: 1,
    };
    assert_eq!(drained.pending, [left]);
    // The request itself goes on.
    backend.permits.add_permits(1);
    assert_eq!(client.receive().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_swap_that_removes_nothing_is_done_at_once() {
    let backend = Backend::start("a", Behavior::Held).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    backend.request_arrived().await;
    assert!(
        proxy
            .handle
            .swap(proxy.table(&lines(&[backend.address])))
            .await
            .is_complete()
    );
    assert_eq!(
        proxy.handle.table().upstreams().next().unwrap().in_flight(),
        1
    );
    backend.permits.add_permits(1);
    assert_eq!(client.receive().await.unwrap().status(), 200);
}

/// Targets are replaced one after the other; each old one is killed as soon as the swap says that
/// it has drained.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_targets_under_load_fails_no_request() {
    const REPLACEMENTS: usize = 20;
    let mut current = Backend::start("x", Behavior::Name).await;
    let proxy = Running::to(
        Config {
            retries: 0,
            ..config()
        },
        &[current.address],
    )
    .await;
    let hammer = Hammer::start(proxy.address, 4);
    for _ in 0..REPLACEMENTS {
        let next = Backend::start("x", Behavior::Name).await;
        assert!(
            proxy
                .handle
                .swap(proxy.table(&lines(&[next.address])))
                .await
                .is_complete()
        );
        drop(std::mem::replace(&mut current, next));
        current.request_arrived().await;
    }
    hammer.stop().await;
}
