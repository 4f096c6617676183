//! Bodies and keys that are changed at random: each request is answered, and the next good one too.
//!
//! A second in the usual tests, and longer with `.ci/fuzz SECONDS`.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;
use tokio::time::Instant;

use super::store_tests::Store;

/// Writes with a body that means something.
const BODIES: [(&str, &str); 11] = [
    (
        "PUT /v1/catalog/register",
        r#"{"Node":"n","Address":"192.0.2.1","NodeMeta":{"a":"b"},"Service":{"ID":"s","Service":"web","Tags":["a"],"Port":80,"Weights":{"Passing":1,"Warning":1},"Connect":{"Native":true}},"Check":{"Name":"c","Status":"passing","Definition":{"TCP":"x","Interval":"5s"}}}"#,
    ),
    (
        "PUT /v1/catalog/register",
        r#"{"Node":"n","Address":"192.0.2.1","Service":{"Service":"p","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"web","Upstreams":[{"DestinationName":"x","LocalBindPort":1}],"Expose":{"Paths":[{"Path":"/"}]}}}}"#,
    ),
    (
        "PUT /v1/catalog/deregister",
        r#"{"Node":"n","ServiceID":"s","CheckID":""}"#,
    ),
    (
        "PUT /v1/session/create",
        r#"{"Name":"s","TTL":"10s","LockDelay":15,"Behavior":"delete","NodeChecks":[]}"#,
    ),
    (
        "PUT /v1/txn",
        r#"[{"KV":{"Verb":"set","Key":"a","Value":"aGk=","Flags":1}},{"KV":{"Verb":"cas","Key":"b","Index":1}}]"#,
    ),
    (
        "PUT /v1/config",
        r#"{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":50},{"Weight":50,"Service":"b"}]}"#,
    ),
    (
        "PUT /v1/config",
        r#"{"Kind":"service-resolver","Name":"web","DefaultSubset":"v1","Subsets":{"v1":{"Filter":"x"}},"Redirect":{"Service":"b"},"Failover":{"*":{"Datacenters":["a"]}},"ConnectTimeout":"1s"}"#,
    ),
    (
        "PUT /v1/config",
        r#"{"Kind":"service-router","Name":"web","Routes":[{"Match":{"HTTP":{"PathPrefix":"/a","Header":[{"Name":"x","Exact":"1"}]}},"Destination":{"Service":"b"}}]}"#,
    ),
    (
        "POST /v1/connect/intentions",
        r#"{"SourceName":"a","DestinationName":"b","Action":"allow","Meta":{"a":"b"}}"#,
    ),
    (
        "POST /v1/agent/connect/authorize",
        r#"{"Target":"b","ClientCertURI":"spiffe://x/ns/default/dc/dc1/svc/a"}"#,
    ),
    (
        "POST /v1/discovery-chain/web",
        r#"{"OverrideProtocol":"http","OverrideConnectTimeout":"1s","OverrideMeshGateway":{"Mode":"local"}}"#,
    ),
];
/// Pieces that mean something in JSON, and values that are seldom expected.
const PIECES: [&str; 22] = [
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-1",
    "1e400",
    "18446744073709551616",
    "0.5",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "[[[[",
    "{\"a\":",
    ",",
    ":",
    "\"",
    "\\",
    "}",
    "]",
    "\u{ff}",
    "\"*\"",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// A body with pieces put in, cut out or exchanged.
    fn damaged(&mut self, good: &str) -> Vec<u8> {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + self.below(12)).min(bytes.len());
            let piece = PIECES[self.below(PIECES.len())].as_bytes().to_vec();
            match self.below(4) {
                0 => bytes.splice(at..at, piece).for_each(drop),
                1 => bytes.splice(at..end, piece).for_each(drop),
                2 => bytes.drain(at..end).for_each(drop),
                _ => {
                    let [byte, ..] = self.next().to_le_bytes();
                    bytes.splice(at..at, [byte]).for_each(drop);
                }
            }
        }
        bytes
    }
}

fn fuzzed() -> (Random, Instant) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
    let seed = seconds.map_or(1, |_| sys::random::seed());
    let time = Duration::from_secs_f64(seconds.unwrap_or(1.0));
    (Random(seed), Instant::now() + time)
}

#[tokio::test]
async fn damaged_bodies_are_answered() {
    let store = Store::start().await;
    let (mut random, end) = fuzzed();
    while Instant::now() < end {
        let (line, good) = BODIES[random.below(BODIES.len())];
        let body = random.damaged(good);
        let text = String::from_utf8_lossy(&body).into_owned();
        let answer = store.ask(line, body).await;
        let status = answer.status.as_u16();
        assert!(
            matches!(status, 200 | 400 | 404 | 409 | 413 | 429 | 500 | 501),
            "{line} {text}: {status}"
        );
        let listed = store.ask("GET /v1/connect/intentions", "").await;
        assert_eq!(listed.status.as_u16(), 200, "after {line} {text}");
    }
    for path in [
        "catalog/nodes",
        "catalog/services",
        "discovery-chain/web",
        "session/list",
    ] {
        let answer = store.ask(&format!("GET /v1/{path}"), "").await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn keys_of_every_byte_are_kept_or_refused() {
    let store = Store::start().await;
    let (mut random, end) = fuzzed();
    let mut kept = 0;
    for first in 0..=255_u8 {
        kept += usize::from(one_key(&store, &[b'k', first]).await);
    }
    assert!(kept >= 95, "only {kept} of the single bytes were kept");
    while Instant::now() < end {
        let length = 1 + random.below(24);
        let key: Vec<u8> = (0..length)
            .map(|_| random.next().to_le_bytes()[0])
            .collect();
        one_key(&store, &key).await;
    }
}

/// Writes, reads, lists and deletes a key; true when it was kept.
async fn one_key(store: &Store, key: &[u8]) -> bool {
    let path = percent_encode(key, NON_ALPHANUMERIC).to_string();
    let put = store.ask(&format!("PUT /v1/kv/{path}"), "value").await;
    if put.status.as_u16() != 200 {
        assert!(
            matches!(put.status.as_u16(), 307 | 400),
            "{key:?}: {}",
            put.body
        );
        return false;
    }
    let text = String::from_utf8(key.to_vec()).expect("only texts are kept");
    let got = store.ask(&format!("GET /v1/kv/{path}"), "").await;
    assert_eq!(got.json()[0]["Key"], Value::from(text.clone()), "{key:?}");
    let names = store
        .ask(&format!("GET /v1/kv/{path}?keys"), "")
        .await
        .json();
    assert!(
        names.as_array().unwrap().contains(&Value::from(text)),
        "{key:?}"
    );
    let deleted = store.ask(&format!("DELETE /v1/kv/{path}"), "").await;
    assert_eq!(deleted.body, "true", "{key:?}");
    true
}
