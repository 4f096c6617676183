//! Keys, sessions and transactions, asked of a real server in this process.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use mesh::view::View;
use mesh::wire::AgentIdentity;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Catalog, Cluster, router};
use crate::api::tests::{Answer, Fixture, LONG, ask};

/// A server with its catalog API.
struct Store {
    router: Router,
    server: Fixture,
    _cluster: watch::Sender<Cluster>,
    _view: watch::Sender<Arc<View>>,
}

impl Store {
    async fn start() -> Self {
        let server = Fixture::start().await;
        let agent = AgentIdentity {
            node_name: "one".to_owned(),
            datacenter: "dc1".to_owned(),
            ..AgentIdentity::default()
        };
        let (cluster, cluster_seen) = watch::channel(Cluster {
            leader: Some("127.0.0.1:4647".to_owned()),
            ..Cluster::default()
        });
        let (view, view_seen) = watch::channel(Arc::default());
        let handle = server.api.server().clone();
        Self {
            router: router(Catalog::new(agent, handle, None, view_seen, cluster_seen)),
            server,
            _cluster: cluster,
            _view: view,
        }
    }

    async fn ask(&self, line: &str, body: impl Into<Body>) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        ask(&self.router, method, path, body).await
    }

    /// Sends each request and compares status and body.
    async fn check(&self, steps: &[(&str, &str, u16, &str)]) {
        for (line, body, status, expected) in steps {
            let answer = self.ask(line, (*body).to_owned()).await;
            assert_eq!(answer.status.as_u16(), *status, "{line}: {}", answer.body);
            assert_eq!(answer.body, *expected, "{line}");
        }
    }

    async fn index_of(&self, path: &str) -> u64 {
        let answer = self.ask(&format!("GET {path}"), "").await;
        answer.header("x-consul-index").parse().unwrap()
    }

    /// Waits behind the index that the path has now.
    async fn wait(&self, path: &str) -> tokio::task::JoinHandle<Answer> {
        let index = self.index_of(path).await;
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}index={index}&wait=60s");
        let router = self.router.clone();
        tokio::spawn(async move { ask(&router, "GET", &path, "").await })
    }
}

#[tokio::test]
async fn keys_are_written_read_listed_and_deleted() {
    let store = Store::start().await;
    store
        .check(&[
            ("GET /v1/kv/?keys", "", 200, "[]"),
            ("GET /v1/kv/?recurse", "", 404, ""),
            ("GET /v1/kv/a/1", "", 404, ""),
            ("PUT /v1/kv/a/1", "hello", 200, "true"),
            (
                "PUT /v1/kv/a/2?flags=18446744073709551615",
                "x",
                200,
                "true",
            ),
            ("PUT /v1/kv/a/b/c", "", 200, "true"),
            ("PUT /v1/kv/ab", "y", 200, "true"),
            ("PUT /v1/kv/with%20space%2Fand%3Fmark", "z", 200, "true"),
            ("GET /v1/kv/a/1?raw", "", 200, "hello"),
            ("GET /v1/kv/with%20space/and%3Fmark?raw", "", 200, "z"),
            (
                "GET /v1/kv/?keys",
                "",
                200,
                r#"["a/1","a/2","a/b/c","ab","with space/and?mark"]"#,
            ),
            (
                "GET /v1/kv/a?keys",
                "",
                200,
                r#"["a/1","a/2","a/b/c","ab"]"#,
            ),
            (
                "GET /v1/kv/a/?keys&separator=/",
                "",
                200,
                r#"["a/1","a/2","a/b/"]"#,
            ),
            (
                "GET /v1/kv/?keys&separator=%2F",
                "",
                200,
                r#"["a/","ab","with space/"]"#,
            ),
            ("GET /v1/kv/none/?keys", "", 404, ""),
            ("PUT /v1/kv/", "x", 400, "Missing key name"),
            ("DELETE /v1/kv/", "", 400, "Missing key name"),
            ("DELETE /v1/kv/none", "", 200, "true"),
            ("DELETE /v1/kv/ab", "", 200, "true"),
            ("DELETE /v1/kv/a/?recurse", "", 200, "true"),
            ("GET /v1/kv/?keys", "", 200, r#"["with space/and?mark"]"#),
            ("POST /v1/kv/a", "x", 405, "method POST not allowed"),
            ("HEAD /v1/kv/a", "", 405, ""),
            ("PUT /v1/kv//a", "x", 301, ""),
            ("PUT /v1/kv/a%00b", "x", 400, ""),
        ])
        .await;
    let raw = store
        .ask("GET /v1/kv/with%20space/and%3Fmark?raw", "")
        .await;
    assert_eq!(raw.header("content-type"), "text/plain");
    assert_eq!(raw.header("content-security-policy"), "sandbox");
    let options = store.ask("OPTIONS /v1/kv/a", "").await;
    assert_eq!(options.header("allow"), "OPTIONS,GET,PUT,DELETE");
}

#[tokio::test]
async fn a_key_is_shown_with_its_indexes_which_equal_writes_leave() {
    let store = Store::start().await;
    store.ask("PUT /v1/kv/a?flags=7", "hello").await;
    let first = store.ask("GET /v1/kv/a", "").await;
    let index = first.json()[0]["ModifyIndex"].as_u64().unwrap();
    assert_eq!(
        first.body,
        format!(
            r#"[{{"LockIndex":0,"Key":"a","Flags":7,"Value":"aGVsbG8=","CreateIndex":{index},"ModifyIndex":{index}}}]"#
        )
    );
    assert_eq!(first.header("x-consul-index"), index.to_string());
    assert_eq!(first.header("x-consul-knownleader"), "true");
    assert_eq!(first.header("x-consul-lastcontact"), "0");
    assert_eq!(first.header("x-consul-effective-consistency"), "(absent)");
    store.ask("PUT /v1/kv/a?flags=7", "hello").await;
    assert_eq!(store.ask("GET /v1/kv/a", "").await.json(), first.json());
    store.ask("PUT /v1/kv/a", "").await;
    let empty = store.ask("GET /v1/kv/a?stale", "").await.json();
    assert_eq!(empty[0]["Value"], Value::Null);
    assert_eq!(empty[0]["CreateIndex"], index);
    assert!(empty[0]["ModifyIndex"].as_u64().unwrap() > index);
    let missing = store.ask("GET /v1/kv/none", "").await;
    assert_eq!(missing.header("x-consul-index"), "1");
    assert_eq!(missing.header("x-consul-knownleader"), "true");
}

#[tokio::test]
async fn a_check_and_set_wins_or_says_false() {
    let store = Store::start().await;
    store
        .check(&[
            ("PUT /v1/kv/a?cas=5", "x", 200, "false"),
            ("PUT /v1/kv/a?cas=0", "x", 200, "true"),
            ("PUT /v1/kv/a?cas=0", "x", 200, "false"),
            ("DELETE /v1/kv/a?cas=0", "", 200, "false"),
            ("DELETE /v1/kv/none?cas=9", "", 200, "true"),
            (
                "PUT /v1/kv/a?cas=1&acquire=x",
                "x",
                400,
                "Conflicting flags: acquire=x&cas=1",
            ),
            (
                "DELETE /v1/kv/a?recurse&cas=1",
                "",
                400,
                "Conflicting flags: cas=1&recurse=",
            ),
            (
                "PUT /v1/kv/a?cas=abc",
                "x",
                500,
                r#"strconv.ParseUint: parsing "abc": invalid syntax"#,
            ),
            (
                "PUT /v1/kv/a?flags=18446744073709551616",
                "x",
                500,
                r#"strconv.ParseUint: parsing "18446744073709551616": value out of range"#,
            ),
        ])
        .await;
    let index = store.index_of("/v1/kv/a").await;
    let swapped = store.ask(&format!("PUT /v1/kv/a?cas={index}"), "y").await;
    assert_eq!(swapped.body, "true");
    let late = store.ask(&format!("DELETE /v1/kv/a?cas={index}"), "").await;
    assert_eq!(late.body, "false");
}

#[tokio::test]
async fn values_have_a_limit() {
    let store = Store::start().await;
    let full = vec![0_u8; 512 * 1024];
    assert_eq!(
        store.ask("PUT /v1/kv/full", full.clone()).await.body,
        "true"
    );
    let more = store.ask("PUT /v1/kv/more", [full, vec![0]].concat()).await;
    assert_eq!(more.status, 413);
    assert!(
        more.body
            .starts_with("Request body(524289 bytes) too large, max size: 524288 bytes. See https"),
        "{}",
        more.body
    );
    assert_eq!(more.header("connection"), "close");
    assert_eq!(store.ask("GET /v1/kv/more", "").await.status, 404);
}

#[tokio::test]
async fn waiting_readers_wake_for_their_own_keys_only() {
    let store = Store::start().await;
    store.ask("PUT /v1/kv/a/1", "x").await;
    let absent = store.wait("/v1/kv/later").await;
    let below = store.wait("/v1/kv/a/?recurse").await;
    let names = store.wait("/v1/kv/b?keys").await;
    store.ask("PUT /v1/kv/other", "x").await;
    store.ask("PUT /v1/kv/a/1", "x").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!absent.is_finished() && !below.is_finished() && !names.is_finished());
    store.ask("DELETE /v1/kv/a/1", "").await;
    store.ask("PUT /v1/kv/later", "now").await;
    store.ask("PUT /v1/kv/by", "now").await;
    let below = tokio::time::timeout(LONG, below).await.unwrap().unwrap();
    assert_eq!(below.status, 404);
    let absent = tokio::time::timeout(LONG, absent).await.unwrap().unwrap();
    assert_eq!(absent.json()[0]["Value"], "bm93");
    let names = tokio::time::timeout(LONG, names).await.unwrap().unwrap();
    assert_eq!(names.json(), json!(["by"]));
}

#[tokio::test]
async fn transactions_are_carried_out_entirely_or_not_at_all() {
    let store = Store::start().await;
    let set = r#"[{"KV":{"Verb":"set","Key":"t/1","Value":"aGk=","Flags":7}},{"kv":{"verb":"get","key":"t/1"}},{"KV":{"Verb":"delete","Key":"none"}}]"#;
    let done = store.ask("PUT /v1/txn", set).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let index = store.index_of("/v1/kv/t/1").await;
    let row = |value: &str| {
        format!(
            r#"{{"KV":{{"LockIndex":0,"Key":"t/1","Flags":7,"Value":{value},"CreateIndex":{index},"ModifyIndex":{index}}}}}"#
        )
    };
    assert_eq!(
        done.body,
        format!(
            r#"{{"Results":[{},{}],"Errors":null}}"#,
            row("null"),
            row("\"aGk=\"")
        )
    );
    let too_many = format!("[{}{{}}]", "{},".repeat(128));
    let too_long = format!(r#"[{{"KV":{{"Value":"{}"}}}}]"#, "A".repeat(512 * 1024));
    let refused = r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"no\" doesn't exist"}]}"#;
    store
        .check(&[
            ("PUT /v1/txn", "[]", 200, r#"{"Results":[],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#),
            (
                "PUT /v1/txn",
                r#"[{"KV":{"Verb":"set","Key":"t/2"}},{"KV":{"Verb":"get","Key":"no"}}]"#,
                409,
                refused,
            ),
            ("GET /v1/kv/t/2", "", 404, ""),
            (
                "PUT /v1/txn",
                r#"[{"KV":{"Verb":"twist","Key":"a"}}]"#,
                409,
                r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV verb \"twist\""}]}"#,
            ),
            (
                "PUT /v1/txn",
                &too_many,
                413,
                "Transaction contains too many operations (129 > 128)",
            ),
        ])
        .await;
    let long = store.ask("PUT /v1/txn", too_long).await;
    assert_eq!(long.status, 413);
    assert!(
        long.body.contains("too large, max size: 524288"),
        "{}",
        long.body
    );
    for bad in ["{", "{}", r#"[{"KV":{"Verb":"set","Value":"%"}}]"#] {
        let answer = store.ask("PUT /v1/txn", bad).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer.body.starts_with("Failed to parse body: "),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn transactions_that_only_read_write_nothing() {
    let store = Store::start().await;
    store.ask("PUT /v1/kv/a", "1").await;
    let before = store.server.api.server().snapshot().index;
    let body = r#"[{"KV":{"Verb":"get","Key":"a"}},{"KV":{"Verb":"get-or-empty","Key":"b"}}]"#;
    let answer = store.ask("PUT /v1/txn?stale", body).await;
    assert_eq!(answer.json()["Results"][0]["KV"]["Value"], "MQ==");
    assert_eq!(answer.json()["Results"][1]["KV"]["Value"], Value::Null);
    assert_eq!(answer.json()["KnownLeader"], true);
    assert_eq!(answer.header("x-consul-knownleader"), "true");
    assert_eq!(answer.header("x-consul-index"), "(absent)");
    assert_eq!(store.server.api.server().snapshot().index, before);
}

#[tokio::test]
async fn sessions_hold_locks_until_they_end() {
    let store = Store::start().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    let none = store.ask("PUT /v1/session/create", "").await;
    assert_eq!(
        (none.status.as_u16(), none.body.as_str()),
        (500, "Missing node registration")
    );
    store
        .server
        .add_node("00000000-0000-4000-8000-000000000001")
        .await;
    store
        .check(&[
            ("GET /v1/session/list", "", 200, "[]"),
            (&format!("GET /v1/session/info/{unknown}"), "", 200, "[]"),
            (
                "GET /v1/session/info/short",
                "",
                500,
                "failed session lookup: index error: UUID must be 36 characters",
            ),
            (
                &format!("PUT /v1/session/renew/{unknown}"),
                "",
                404,
                &format!("Session id '{unknown}' not found"),
            ),
            (
                &format!("PUT /v1/session/destroy/{unknown}"),
                "",
                200,
                "true",
            ),
            ("PUT /v1/session/destroy/", "", 400, "Missing session"),
            (
                "PUT /v1/session/create",
                r#"{"Node":"machine","TTL":"5s"}"#,
                500,
                "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]",
            ),
            (
                "PUT /v1/session/create",
                r#"{"Node":"machine","TTL":"abc"}"#,
                500,
                r#"Session TTL 'abc' invalid: time: invalid duration "abc""#,
            ),
            (
                "PUT /v1/session/create",
                r#"{"Node":"machine","Behavior":"abc"}"#,
                500,
                "Invalid Behavior setting 'abc'",
            ),
            (
                "PUT /v1/session/create",
                r#"{"Node":"machine"}"#,
                500,
                "Check 'serfHealth' is in critical state",
            ),
            (
                "PUT /v1/session/create",
                r#"{"Node":"machine","NodeChecks":["x"]}"#,
                500,
                "Missing check 'x' registration",
            ),
            (
                &format!("PUT /v1/kv/k?acquire={unknown}"),
                "x",
                500,
                &format!("invalid session \"{unknown}\""),
            ),
        ])
        .await;
    let wait = store.wait("/v1/session/node/machine").await;
    let body = r#"{"node":"machine","name":"s","ttl":"15s","lockdelay":0,"node_checks":[]}"#;
    let made = store.ask("PUT /v1/session/create", body).await.json();
    let id = made["ID"].as_str().unwrap();
    let woken = tokio::time::timeout(LONG, wait).await.unwrap().unwrap();
    assert_eq!(
        woken.body,
        format!(
            r#"[{{"ID":"{id}","Name":"s","Node":"machine","LockDelay":0,"Behavior":"release","TTL":"15s","NodeChecks":[],"ServiceChecks":null,"CreateIndex":{0},"ModifyIndex":{0}}}]"#,
            woken.header("x-consul-index")
        )
    );
    let renewed = store.ask(&format!("PUT /v1/session/renew/{id}"), "").await;
    assert_eq!(renewed.json()[0]["TTL"], "15s");
    store
        .check(&[
            (
                &format!("PUT /v1/kv/k?acquire={id}&flags=3"),
                "x",
                200,
                "true",
            ),
            (&format!("PUT /v1/kv/k?acquire={id}"), "y", 200, "true"),
            ("PUT /v1/kv/k", "z", 200, "true"),
        ])
        .await;
    let held = store.ask("GET /v1/kv/k", "").await.json();
    assert_eq!(
        (&held[0]["Session"], &held[0]["Value"]),
        (&json!(id), &json!("eg=="))
    );
    store
        .check(&[
            (&format!("PUT /v1/kv/k?release={unknown}"), "", 200, "false"),
            (&format!("PUT /v1/kv/k?acquire={id}"), "", 200, "true"),
            (&format!("PUT /v1/session/destroy/{id}"), "", 200, "true"),
        ])
        .await;
    let free = store.ask("GET /v1/kv/k", "").await.json();
    assert_eq!(free[0].get("Session"), None);
    // A write without a lock has set it back.
    assert_eq!(free[0]["LockIndex"], 0);
}

#[tokio::test]
async fn a_lock_is_delayed_after_its_session_was_ended() {
    let store = Store::start().await;
    store
        .server
        .add_node("00000000-0000-4000-8000-000000000001")
        .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let body = r#"{"Node":"machine","NodeChecks":[],"Behavior":"delete"}"#;
        let made = store.ask("PUT /v1/session/create", body).await.json();
        ids.push(made["ID"].as_str().unwrap().to_owned());
    }
    store
        .check(&[
            (&format!("PUT /v1/kv/k?acquire={}", ids[0]), "", 200, "true"),
            (
                &format!("PUT /v1/kv/k?acquire={}", ids[1]),
                "",
                200,
                "false",
            ),
            (
                &format!("PUT /v1/session/destroy/{}", ids[0]),
                "",
                200,
                "true",
            ),
            ("GET /v1/kv/k", "", 404, ""),
            (
                &format!("PUT /v1/kv/k?acquire={}", ids[1]),
                "",
                200,
                "false",
            ),
        ])
        .await;
}

#[tokio::test]
async fn configuration_is_checked_kept_and_listed() {
    let store = Store::start().await;
    let splitter = |subset: &str| {
        format!(
            r#"{{"Kind":"service-splitter","Name":"web","Splits":[{{"Weight":90}},{{"Weight":10,"ServiceSubset":"{subset}"}}]}}"#
        )
    };
    let (known, unknown) = (splitter("v1"), splitter("v2"));
    store
        .check(&[
            ("GET /v1/config/service-defaults", "", 200, "[]"),
            ("GET /v1/config/bogus", "", 500, "invalid config entry kind: bogus"),
            ("PUT /v1/config", r#"{"Kind":"bogus","Name":"x"}"#, 400, "Request decoding failed: invalid config entry kind: bogus"),
            ("PUT /v1/config", r#"{"Name":"x"}"#, 400, "Request decoding failed: Payload does not contain a kind/Kind key at the top level"),
            ("PUT /v1/config", r#"{"Kind":"service-defaults"}"#, 500, "Name is required"),
            (
                "PUT /v1/config",
                r#"{"Kind":"service-defaults","Name":"x","Nope":1}"#,
                400,
                "Request decoding failed: 1 error occurred:\n\t* invalid config key \"Nope\"\n\n",
            ),
            ("PUT /v1/config", r#"{"Kind":"proxy-defaults","Name":"x"}"#, 500, "invalid name (\"x\"), only \"global\" is supported"),
            (
                "PUT /v1/config",
                r#"{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":90},{"Weight":5,"Service":"o"}]}"#,
                500,
                "the sum of all split weights must be 100, not 95.000000",
            ),
            (
                "PUT /v1/config",
                r#"{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":100}]}"#,
                500,
                "discovery chain \"web\" uses a protocol \"tcp\" that does not permit advanced routing or splitting behavior",
            ),
            ("PUT /v1/config", r#"{"kind":"service-defaults","name":"web","protocol":"http","mesh_gateway":{"mode":"local"}}"#, 200, "true"),
            ("PUT /v1/config", r#"{"Kind":"service-resolver","Name":"web","Subsets":{"v1":{"Filter":"x"}}}"#, 200, "true"),
            ("PUT /v1/config", &unknown, 500, "service \"web\" does not have a subset named \"v2\""),
            ("PUT /v1/config", &known, 200, "true"),
            ("DELETE /v1/config/service-defaults/web", "", 500, "discovery chain \"web\" uses a protocol \"tcp\" that does not permit advanced routing or splitting behavior"),
            (
                "PUT /v1/config",
                r#"{"Kind":"service-router","Name":"web","Routes":[{"Match":{"HTTP":{"PathPrefix":"admin"}}}]}"#,
                500,
                "Route[0] PathPrefix doesn't start with '/': \"admin\"",
            ),
            ("PUT /v1/config", r#"{"Kind":"service-defaults","Name":"b","Protocol":"http"}"#, 200, "true"),
            (
                "PUT /v1/config",
                r#"{"Kind":"service-resolver","Name":"web","Redirect":{"Service":"b"},"Subsets":{"v1":{}}}"#,
                200,
                "true",
            ),
            (
                "PUT /v1/config",
                r#"{"Kind":"service-resolver","Name":"b","Redirect":{"Service":"web"}}"#,
                500,
                "detected circular resolver redirect: [b.default.default.dc1 -> web.default.default.dc1 -> b.default.default.dc1]",
            ),
            ("PUT /v1/config", r#"{"Kind":"mesh","TransparentProxy":{"MeshDestinationsOnly":true}}"#, 200, "true"),
            ("GET /v1/config/service-defaults/nope", "", 404, "Config entry not found for \"service-defaults\" / \"nope\""),
            ("DELETE /v1/config/service-defaults", "", 404, "Must provide both a kind and name to delete"),
            ("DELETE /v1/config/service-defaults/nope", "", 200, "{}"),
            ("DELETE /v1/config/mesh/mesh?cas=1", "", 200, "false"),
            ("PUT /v1/config?cas=1", r#"{"Kind":"service-defaults","Name":"web"}"#, 500, "discovery chain \"web\" uses inconsistent protocols; service \"b\" has \"http\" which is not \"tcp\""),
            ("PUT /v1/config?cas=7", r#"{"Kind":"service-defaults","Name":"new"}"#, 200, "false"),
            ("PUT /v1/config?cas=0", r#"{"Kind":"service-defaults","Name":"new"}"#, 200, "true"),
            ("PUT /v1/config?cas=x", r#"{"Kind":"service-defaults","Name":"new"}"#, 500, "strconv.ParseUint: parsing \"x\": invalid syntax"),
        ])
        .await;
    let web = store.ask("GET /v1/config/service-defaults/web", "").await;
    let mut entry: Value = serde_json::from_str(&web.body).unwrap();
    let index = entry["ModifyIndex"].as_u64().unwrap();
    assert_eq!(entry["CreateIndex"], index);
    for key in ["CreateIndex", "ModifyIndex"] {
        entry.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(
        entry,
        json!({
            "Kind": "service-defaults", "Name": "web", "Protocol": "http", "TransparentProxy": {},
            "MeshGateway": {"Mode": "local"}, "Expose": {},
        })
    );
    let waiting = store.wait("/v1/config/service-intentions").await;
    let intentions = r#"{"Kind":"service-intentions","Name":"db","Sources":[{"Name":"*","Action":"deny"},{"Name":"web","Action":"allow"}]}"#;
    store
        .check(&[("PUT /v1/config", intentions, 200, "true")])
        .await;
    let listed: Value = serde_json::from_str(&waiting.await.unwrap().body).unwrap();
    let sources = listed[0]["Sources"].clone();
    assert_eq!(
        sources,
        json!([
            {"Name": "web", "Action": "allow", "Precedence": 9, "Type": "consul"},
            {"Name": "*", "Action": "deny", "Precedence": 8, "Type": "consul"},
        ])
    );
}

#[tokio::test]
async fn intentions_are_kept_as_entries_and_decide_by_precedence() {
    let store = Store::start().await;
    let made = store
        .ask(
            "POST /v1/connect/intentions",
            r#"{"SourceName":"web","DestinationName":"db","Action":"deny","Meta":{"a":"b"}}"#,
        )
        .await;
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let id = made["ID"].as_str().unwrap().to_owned();
    let path = |verb: &str| format!("{verb} /v1/connect/intentions/{id}");
    let other = "/v1/connect/intentions/11111111-2222-3333-4444-555555555555";
    let missing = |verb: &str| format!("{verb} {other}");
    let gone = |verb: &str| {
        format!("Cannot {verb} non-existent intention: '11111111-2222-3333-4444-555555555555'")
    };
    let answer = format!(r#"{{"ID":"{id}"}}"#);
    let exact = "/v1/connect/intentions/exact";
    store
        .check(&[
            ("POST /v1/connect/intentions", r#"{"SourceName":"web","DestinationName":"db","Action":"allow"}"#, 500, "Sources[1] defines \"web\" more than once"),
            ("POST /v1/connect/intentions", r#"{"SourceName":"we*","DestinationName":"","Action":"x","SourceType":"y"}"#, 500, "4 errors occurred:\n\t* SourceName: wildcard character '*' cannot be used with partial values\n\t* DestinationName must be set\n\t* SourceType must be set to 'consul'\n\t* Action must be set to 'allow' or 'deny'\n\n"),
            (&missing("GET"), "", 404, "Intention not found"),
            ("GET /v1/connect/intentions/foo", "", 400, "failed config entry lookup: index error: UUID must be 36 characters"),
            (&missing("PUT"), r#"{"SourceName":"web","DestinationName":"db","Action":"allow"}"#, 500, &gone("modify")),
            (&missing("DELETE"), "", 500, &gone("delete")),
            (&path("PUT"), r#"{"SourceName":"web","DestinationName":"other","Action":"allow"}"#, 500, "Cannot modify Destination partition/namespace/name for an intention once it exists."),
            (&path("PUT"), r#"{"SourceName":"web","DestinationName":"db","Action":"allow"}"#, 200, &answer),
            ("GET /v1/connect/intentions/check?source=web&destination=db", "", 200, r#"{"Allowed":true}"#),
            (&path("DELETE"), "", 200, "true"),
            ("GET /v1/connect/intentions", "", 200, "[]"),
            ("GET /v1/config/service-intentions/db", "", 404, "Config entry not found for \"service-intentions\" / \"db\""),
            (&format!("PUT {exact}?source=*&destination=db"), r#"{"Action":"deny"}"#, 200, "true"),
            (&format!("PUT {exact}?source=default/api&destination=*"), r#"{"Action":"allow"}"#, 200, "true"),
            (&format!("PUT {exact}?source=x&destination=y"), r#"{"Action":"bad"}"#, 500, "Sources[0].Action must be set to 'allow' or 'deny'"),
            (&format!("PUT {exact}?source=l7&destination=db"), r#"{"Permissions":[{"Action":"allow","HTTP":{"PathPrefix":"/x"}}]}"#, 500, "service \"db\" has protocol \"tcp\", which is incompatible with L7 intentions permissions"),
            ("PUT /v1/config", r#"{"Kind":"service-defaults","Name":"db","Protocol":"http"}"#, 200, "true"),
            (&format!("PUT {exact}?source=l7&destination=db"), r#"{"Permissions":[{"Action":"allow","HTTP":{"PathPrefix":"/x"}}]}"#, 200, "true"),
            ("POST /v1/connect/intentions", r#"{"SourceName":"web","DestinationName":"db","Action":"allow"}"#, 500, "Cannot use legacy intention API to edit intentions with a destination of \"db\" after editing them via a service-intentions config entry"),
            (&format!("PUT {exact}?source=a/b/c/d&destination=db"), "{}", 500, "source \"a/b/c/d\" is invalid: input can contain at most two '/'"),
            (&format!("PUT {exact}?source=x"), "{}", 500, "required query parameter 'destination' not set"),
            (&format!("GET {exact}?source=nn&destination=mm"), "", 404, "Intention not found"),
            ("GET /v1/connect/intentions/match?by=foo&name=x", "", 500, "'by' parameter must be one of 'source' or 'destination'"),
            ("GET /v1/connect/intentions/match?by=source", "", 500, "required query parameter 'name' not set"),
            ("GET /v1/connect/intentions/check?source=zz&destination=db", "", 200, r#"{"Allowed":false}"#),
            ("GET /v1/connect/intentions/check?source=l7&destination=db", "", 200, r#"{"Allowed":false}"#),
            ("GET /v1/connect/intentions/check?source=zz&destination=none", "", 200, r#"{"Allowed":true}"#),
            ("GET /v1/connect/intentions/check?source=a&destination=b&source-type=x", "", 500, "unsupported SourceType: \"x\""),
            ("POST /v1/agent/connect/authorize", r#"{"Target":"","ClientCertURI":"foo"}"#, 400, "Target service must be specified"),
            ("POST /v1/agent/connect/authorize", r#"{"Target":"db","ClientCertURI":"foo"}"#, 400, "ClientCertURI not a valid Connect identifier"),
        ])
        .await;
    let listed = store.ask("GET /v1/connect/intentions", "").await.json();
    let order: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["SourceName"], row["Precedence"]))
        .collect();
    assert_eq!(order, [r#""l7" 9"#, r#""*" 8"#, r#""api" 6"#]);
    assert_eq!(listed[1].get("ID"), None, "{listed}");
    let filtered = store
        .ask("GET /v1/connect/intentions?filter=SourceName==api", "")
        .await
        .json();
    assert_eq!(filtered.as_array().unwrap().len(), 1);
    let matched = store
        .ask(
            "GET /v1/connect/intentions/match?by=destination&name=db&name=x",
            "",
        )
        .await
        .json();
    assert_eq!(matched["db"].as_array().unwrap().len(), 3);
    assert_eq!(matched["x"][0]["SourceName"], "api");
    store
        .check(&[
            (
                &format!("DELETE {exact}?source=api&destination=*"),
                "",
                200,
                "true",
            ),
            (
                &format!("DELETE {exact}?source=api&destination=*"),
                "",
                200,
                "true",
            ),
        ])
        .await;
    let none = store
        .ask("GET /v1/connect/intentions/match?by=destination&name=x", "")
        .await;
    assert_eq!(none.body, r#"{"x":null}"#);
}

#[tokio::test]
async fn the_chain_of_a_service_is_compiled_and_awaited() {
    let store = Store::start().await;
    let plain = store.ask("GET /v1/discovery-chain/web", "").await.json();
    let chain = &plain["Chain"];
    assert_eq!(chain["Default"], true);
    assert_eq!(chain["StartNode"], "resolver:web.default.default.dc1");
    assert_eq!(chain["AutoVirtualIPs"], Value::Null);
    let waiting = store.wait("/v1/discovery-chain/web").await;
    store
        .check(&[
            ("PUT /v1/config", r#"{"Kind":"proxy-defaults","Name":"global","Config":{"protocol":"http"}}"#, 200, "true"),
            ("PUT /v1/config", r#"{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":90},{"Weight":10,"Service":"web2"}]}"#, 200, "true"),
            ("PUT /v1/config", r#"{"Kind":"service-splitter","Name":"web2","Splits":[{"Weight":100,"Service":"web"}]}"#, 500, "detected circular reference: [splitter:web.default.default -> splitter:web2.default.default -> splitter:web.default.default]"),
        ])
        .await;
    waiting.await.unwrap();
    let split = store.ask("GET /v1/discovery-chain/web", "").await.json();
    let node = &split["Chain"]["Nodes"]["splitter:web.default.default"];
    assert_eq!(node["Splits"][1]["Weight"], 10, "{split}");
    let wishes = r#"{"OverrideProtocol":"tcp","OverrideConnectTimeout":"9s","OverrideMeshGateway":{"Mode":"remote"}}"#;
    let tcp = store
        .ask("POST /v1/discovery-chain/web", wishes)
        .await
        .json();
    let chain = &tcp["Chain"];
    let target = &chain["Targets"]["web.default.default.dc1"];
    assert_eq!(target["ConnectTimeout"], "9s");
    assert_eq!(target["MeshGateway"]["Mode"], "remote");
    assert_eq!(chain["CustomizationHash"].as_str().unwrap().len(), 8);
    let there = store
        .ask("GET /v1/discovery-chain/web?compile-dc=dc2", "")
        .await
        .json();
    assert_eq!(there["Chain"]["Datacenter"], "dc2");
}
