//! What routes ask for: limits, waiting, keeping clients with targets, answers that are failures.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, Message, get, post};
use crate::running::dead_address;

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy with one route `/` to all these addresses, which asks for something.
async fn to(targets: &[SocketAddr], options: &str) -> Running {
    let proxy = Running::start(config()).await;
    route(&proxy, targets, options);
    proxy
}

fn route(proxy: &Running, targets: &[SocketAddr], options: &str) {
    let line = |address| format!("route add web / http://{address}/ opts \"{options}\"\n");
    let text: String = targets.iter().map(line).collect();
    drop(proxy.handle.swap(proxy.table(&text)));
}

async fn ask(address: SocketAddr, lines: &str) -> Message {
    let mut client = Client::connect(address).await;
    client
        .send(&format!("GET / HTTP/1.1\r\nHost: any\r\n{lines}\r\n"))
        .await;
    client.receive().await.expect("an answer")
}

#[tokio::test]
async fn an_answer_that_counts_as_a_failure_is_asked_for_elsewhere() {
    let (bad, good) = (
        Backend::start("bad", Behavior::Status(503)).await,
        Backend::start("good", Behavior::Name).await,
    );
    let proxy = to(&[bad.address, good.address], "retryon=502,503 eject=0").await;
    for _ in 0..6 {
        assert_eq!(get(proxy.address, "/").await.text(), "good");
    }
    let asked = bad.requests();
    assert!((3..=6).contains(&asked), "{asked}");
    // What may not be repeated gets the answer.
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(post(proxy.address, "x").await.status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    // So does a request that nobody else can answer.
    route(&proxy, &[bad.address], "retryon=502,503 eject=0");
    let answer = get(proxy.address, "/").await;
    assert_eq!((answer.status(), answer.text().as_str()), (503, "bad"));
    route(&proxy, &[bad.address, good.address], "retryon=502");
    let statuses = [
        get(proxy.address, "/").await.status(),
        get(proxy.address, "/").await.status(),
    ];
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test]
async fn a_route_says_how_often_it_is_tried() {
    let alive = Backend::start("a", Behavior::Name).await;
    let targets = [dead_address(), alive.address];
    let proxy = to(&targets, "retries=0").await;
    let mut statuses = [
        get(proxy.address, "/").await.status(),
        get(proxy.address, "/").await.status(),
    ];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[tokio::test]
async fn requests_wait_until_a_target_has_time_for_them() {
    let backend = Backend::start("a", Behavior::Held).await;
    let proxy = to(&[backend.address], "maxreq=1 pending=1 wait=20s").await;
    let address = proxy.address;
    let first = tokio::spawn(async move { get(address, "/").await.status() });
    backend.request_arrived().await;
    let mut others = JoinSet::new();
    for _ in 0..2 {
        others.spawn(async move { get(address, "/").await });
    }
    // One may wait, but not two.
    let answer = timeout(PATIENCE, others.join_next()).await.unwrap();
    let answer = answer.unwrap().unwrap();
    assert_eq!(
        (answer.status(), answer.header("retry-after")),
        (503, vec!["1"])
    );
    backend.permits.add_permits(100);
    assert_eq!(timeout(PATIENCE, first).await.unwrap().unwrap(), 200);
    let last = timeout(PATIENCE, others.join_next()).await.unwrap();
    assert_eq!(last.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_full_target_leaves_requests_to_others() {
    let (held, other) = (
        Backend::start("held", Behavior::Held).await,
        Backend::start("other", Behavior::Name).await,
    );
    let proxy = to(&[held.address, other.address], "maxreq=1").await;
    let address = proxy.address;
    // One that stays with its target however long that is silent.
    let first = tokio::spawn(async move { post(address, "x").await.status() });
    held.request_arrived().await;
    for _ in 0..6 {
        assert_eq!(get(address, "/").await.text(), "other");
    }
    assert_eq!(held.requests(), 1);
    held.permits.add_permits(1);
    assert_eq!(timeout(PATIENCE, first).await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn a_route_has_a_limit_of_its_own() {
    let backend = Backend::start("a", Behavior::Held).await;
    let proxy = to(&[backend.address], "maxroute=1 pending=0").await;
    let address = proxy.address;
    let first = tokio::spawn(async move { get(address, "/").await.status() });
    backend.request_arrived().await;
    assert_eq!(get(address, "/").await.status(), 503);
    backend.permits.add_permits(10);
    assert_eq!(timeout(PATIENCE, first).await.unwrap().unwrap(), 200);
    let served = async {
        while get(address, "/").await.status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.unwrap();
}

#[tokio::test]
async fn requests_are_held_until_a_target_comes() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = to(&[dead_address()], "hold=20s retries=0").await;
    let held = |policy: &str| {
        let text = format!("route add web / http://127.0.0.1:1/ opts \"{policy}\"");
        let (definitions, _) = proxy::route::parse::parse(&text);
        let held = definitions.into_iter().map(|mut definition| {
            if let proxy::route::Command::Add(add) = definition.command {
                definition.command = proxy::route::Command::Hold(proxy::route::Hold {
                    service: add.service,
                    source: add.source,
                    policy: add.options.policy,
                });
            }
            definition
        });
        proxy::route::Table::build(held, Some(&proxy.handle.table())).0
    };
    drop(proxy.handle.swap(held("hold=20s pending=1")));
    let address = proxy.address;
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        waiting.spawn(async move { post(address, "x").await });
    }
    let answer = timeout(PATIENCE, waiting.join_next()).await.unwrap();
    let answer = answer.unwrap().unwrap();
    assert_eq!(
        (answer.status(), answer.header("retry-after")),
        (503, vec!["1"])
    );
    route(&proxy, &[backend.address], "hold=20s pending=1");
    let answer = timeout(PATIENCE, waiting.join_next()).await.unwrap();
    assert_eq!(answer.unwrap().unwrap().text(), "a");
    // A wait has an end.
    drop(proxy.handle.swap(held("hold=50ms")));
    let started = Instant::now();
    assert_eq!(get(address, "/").await.status(), 503);
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn more_than_the_rate_is_429() {
    let backend = Backend::start("a", Behavior::Name).await;
    for by in ["", "/ip"] {
        let proxy = to(&[backend.address], &format!("rate=3{by}")).await;
        let mut client = Client::connect(proxy.address).await;
        let mut seen = Vec::new();
        let started = Instant::now();
        for _ in 0..6 {
            let answer = client.get("/").await;
            if answer.status() == 429 {
                assert_eq!(answer.header("retry-after"), ["1"]);
            }
            seen.push(answer.status());
        }
        let fine = seen.iter().filter(|status| **status == 200).count();
        let more = usize::try_from(started.elapsed().as_millis() / 333).unwrap();
        assert!((3..=3 + more).contains(&fine), "{seen:?}");
    }
}

#[tokio::test]
async fn clients_stay_with_their_target() {
    let mut backends = Vec::new();
    for name in ["a", "b", "c", "d"] {
        backends.push(Backend::start(name, Behavior::Name).await);
    }
    let targets: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
    for (option, line) in [
        ("cookie:user", "Cookie: x=1; user=KEY\r\n"),
        ("header:X-User", "x-user: KEY\r\n"),
    ] {
        let proxy = to(&targets, &format!("sticky={option}")).await;
        let mut all = std::collections::BTreeSet::new();
        for key in 0..24 {
            let line = line.replace("KEY", &key.to_string());
            let first = ask(proxy.address, &line).await.text();
            for _ in 0..3 {
                assert_eq!(ask(proxy.address, &line).await.text(), first);
            }
            all.insert(first);
        }
        assert!(all.len() > 1, "{all:?}");
    }
    let proxy = to(&targets, "sticky=ip").await;
    let first = get(proxy.address, "/").await.text();
    for _ in 0..5 {
        assert_eq!(get(proxy.address, "/").await.text(), first);
    }
    let proxy = to(&targets, "sticky=cookie").await;
    for _ in 0..6 {
        let first = get(proxy.address, "/").await;
        let cookie = first.header("set-cookie")[0].to_owned();
        assert!(
            cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let line = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        let again = ask(proxy.address, &line).await;
        assert_eq!(again.text(), first.text());
        assert!(again.header("set-cookie").is_empty());
    }
}

#[tokio::test]
async fn attempts_are_counted() {
    let (bad, good) = (
        Backend::start("bad", Behavior::Close).await,
        Backend::start("good", Behavior::Name).await,
    );
    let proxy = to(&[bad.address, good.address], "eject=0").await;
    for _ in 0..6 {
        assert_eq!(get(proxy.address, "/").await.text(), "good");
    }
    let table = proxy.handle.table();
    let read = |at: usize| table.routes().next().unwrap().targets()[at].meter().read();
    let counted = async {
        // Times are counted last.
        while read(1).timed < 6 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
    let asked = bad.requests() as u64;
    assert!(asked >= 3);
    assert_eq!((read(0).outcomes[6], read(0).retries), (asked, asked));
    assert_eq!(
        (read(1).outcomes[1], read(1).timed, read(1).retries),
        (6, 6, 0)
    );
    assert!(proxy.handle.metrics().contains("outcome=\"2xx\"} 6\n"));
}
