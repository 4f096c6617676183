//! The end of an agent that carries traffic: nobody who knows in time that it stops loses a
//! request.

use crate::harness::{
    Agent, DEADLINE,
    agent::Mode,
    eventually, http,
    load::{Load, none_failed},
};
use axum::{Router, extract::State, routing::get};
use nix::sys::signal::{Signal, kill};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout},
};

/// A server whose answers at `/slow` wait for a permit each, behind the agent's ingress.
async fn routed(agent: &Agent) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (permits, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = async |State((permits, arrived)): State<(Arc<Semaphore>, Arc<Semaphore>)>| {
        arrived.add_permits(1);
        permits.acquire().await.expect("it stays open").forget();
        "slow"
    };
    let router = Router::new()
        .route("/slow", get(slow))
        .fallback(async || "quick")
        .with_state((Arc::clone(&permits), Arc::clone(&arrived)));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    let text = format!("route add web / http://{address}/ opts \"register=shopfront\"\n");
    let body = json!({"value": text, "version": "0"});
    let url = agent.url("ingress_admin", "/api/manual");
    let sent = http::send(Method::PUT, &url, Some(&body)).await;
    assert_eq!(sent.0, StatusCode::OK, "{}", sent.1);
    eventually("the route", async || {
        let (status, text) = http::send(Method::GET, &agent.url("ingress", "/"), None).await;
        (status == StatusCode::OK).then_some(()).ok_or(text)
    })
    .await;
    (permits, arrived)
}

/// Waits until the agent says on its admin address that it stops.
async fn stopping(agent: &Agent) {
    let url = agent.url("ingress_admin", "/health");
    eventually("a word that it stops", async || {
        let (status, text) = http::send(Method::GET, &url, None).await;
        let is_told = status == StatusCode::SERVICE_UNAVAILABLE;
        is_told.then_some(()).ok_or(text)
    })
    .await;
}

/// Waits until so many instances have the name that the route asks for.
async fn named(agent: &Agent, count: usize) {
    let has = |rows: &Value| (rows.as_array()?.len() == count).then_some(());
    agent
        .wait_catalog("/v1/catalog/service/shopfront", has)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_others_are_told_in_time() {
    let settings = "ingress {\n  shutdown_grace = \"5m\"\n  shutdown_wait = \"1m\"\n}";
    let mut agent = Agent::start_with(Mode::Durable, settings).await;
    let (permits, arrived) = routed(&agent).await;
    let ingress = agent.address("ingress");
    let load = Load::start(ingress, "/quick", 100, DEADLINE);
    load.more(50).await;
    named(&agent, 1).await;
    let url = agent.url("ingress", "/slow");
    let slow = tokio::spawn(async move { http::send(Method::GET, &url, None).await });
    let seen = timeout(DEADLINE, arrived.acquire()).await;
    seen.expect("a request in time")
        .expect("a request")
        .forget();

    kill(agent.pid(), Signal::SIGTERM).expect("the agent runs");
    stopping(&agent).await;
    named(&agent, 0).await;
    // It says so, and serves on.
    load.more(50).await;
    let answer = http::client().get(agent.url("ingress", "/")).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["connection"], "close");
    // Whoever looks at its health sends the requests elsewhere.
    let requests = load.stop().await;
    none_failed(&requests);

    // All are told: whoever stops it again ends the grace. Nothing new is taken then, and what is
    // in flight still has its time.
    kill(agent.pid(), Signal::SIGTERM).expect("the agent runs");
    eventually("no listener", async || {
        match TcpStream::connect(ingress).await {
            Ok(_) => Err("a connection".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    assert!(!slow.is_finished(), "it is answered already");
    permits.add_permits(1);
    let answer = timeout(DEADLINE, slow)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(answer, (StatusCode::OK, "slow".to_owned()));
    assert!(agent.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_and_the_wait_end_by_themselves() {
    let settings = "ingress {\n  shutdown_grace = \"1s\"\n  shutdown_wait = \"0s\"\n}";
    let mut agent = Agent::start_with(Mode::Durable, settings).await;
    let (_permits, arrived) = routed(&agent).await;
    let url = agent.url("ingress", "/slow");
    let slow = tokio::spawn(async move { http::client().get(url).send().await });
    let seen = timeout(DEADLINE, arrived.acquire()).await;
    seen.expect("a request in time")
        .expect("a request")
        .forget();
    let start = Instant::now();
    assert!(agent.stop().await.success());
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // Without time for requests in flight, they are cut.
    assert!(slow.await.expect("no panic").is_err());
}
