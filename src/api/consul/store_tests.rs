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
use crate::tests::{Answer, Fixture, LONG, ask};

/// A server with its catalog API.
pub(super) struct Store {
    router: Router,
    server: Fixture,
    _cluster: watch::Sender<Cluster>,
    /// The agent's copy of the catalog; nobody but tests feeds it.
    view: watch::Sender<Arc<View>>,
}

impl Store {
    pub(super) async fn start() -> Self {
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
            view,
        }
    }

    pub(super) async fn ask(&self, line: &str, body: impl Into<Body>) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        ask(&self.router, method, path, body).await
    }

    /// Brings the agent's copy of the catalog up to date.
    pub(super) fn copy(&self) {
        let snapshot = self.server.api.server().snapshot();
        let copy = Arc::new(snapshot.mesh.view().clone());
        self.view.send_replace(copy);
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
            ("PUT /v1/kv//a", "x", 307, ""),
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
        (500, "apply failed: Missing node registration")
    );
    store
        .server
        .add_node("00000000-0000-4000-8000-000000000001")
        .await;
    store
        .check(&[
            ("GET /v1/session/list", "", 200, "[]"),
            (&format!("GET /v1/session/info/{unknown}"), "", 200, "[]"),
            ("GET /v1/session/info/short", "", 200, "[]"),
            (
                "PUT /v1/session/renew/short",
                "",
                404,
                "Session id 'short' not found",
            ),
            ("PUT /v1/session/destroy/short", "", 200, "true"),
            (
                "PUT /v1/kv/k?acquire=short",
                "x",
                500,
                "raft apply failed: invalid session \"short\"",
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
                "apply failed: Check 'serfHealth' is in critical state",
            ),
            (
                "PUT /v1/session/create",
                r#"{"Node":"machine","NodeChecks":["x"]}"#,
                500,
                "apply failed: Missing check 'x' registration",
            ),
            (
                &format!("PUT /v1/kv/k?acquire={unknown}"),
                "x",
                500,
                &format!("raft apply failed: invalid session \"{unknown}\""),
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

/// The published Go client reads all three limits wherever there are defaults.
#[tokio::test]
async fn the_limits_of_a_gateway_are_all_answered() {
    let store = Store::start().await;
    let entry = |defaults: Value| {
        json!({"kind": "ingress-gateway", "name": "in", "defaults": defaults}).to_string()
    };
    for (written, kept) in [
        (
            json!({"max_connections": 2048, "MaxPendingRequests": null,
                "passive_health_check": {"interval": "500ms", "max_failures": 20}}),
            json!({"MaxConnections": 2048, "MaxPendingRequests": 0, "MaxConcurrentRequests": 0,
                "PassiveHealthCheck": {"Interval": 500_000_000, "MaxFailures": 20}}),
        ),
        (Value::Null, Value::Null),
    ] {
        store
            .check(&[("PUT /v1/config", &entry(written), 200, "true")])
            .await;
        let read = store.ask("GET /v1/config/ingress-gateway/in", "").await;
        assert_eq!(read.json()["Defaults"], kept, "{}", read.body);
        assert_eq!(read.json()["TLS"], json!({"Enabled": false}));
    }
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

#[tokio::test]
async fn the_authority_signs_leaves_and_rotates_its_root() {
    let store = Store::start().await;
    let roots = store.ask("GET /v1/connect/ca/roots", "").await;
    let first = roots.json();
    let domain = first["TrustDomain"].as_str().unwrap().to_owned();
    assert!(domain.len() == 43 && domain.ends_with(".consul"), "{first}");
    assert_eq!(first["Roots"][0]["ID"], first["ActiveRootID"]);
    assert_eq!(first["Roots"][0]["IntermediateCerts"], Value::Null);
    assert!(!roots.body.contains("PRIVATE"), "{}", roots.body);
    let pem = store.ask("GET /v1/connect/ca/roots?pem=true", "").await;
    assert_eq!(
        pem.header("content-type"),
        "application/pem-certificate-chain"
    );
    assert!(
        pem.body.starts_with("-----BEGIN CERTIFICATE-----\n"),
        "{}",
        pem.body
    );
    let agent = store.ask("GET /v1/agent/connect/ca/roots", "").await;
    assert_eq!(
        (agent.json(), agent.header("x-cache")),
        (first.clone(), "HIT")
    );

    let leaf = store.ask("GET /v1/agent/connect/ca/leaf/web", "").await;
    assert_eq!(leaf.header("x-cache"), "MISS");
    let uri = format!("spiffe://{domain}/ns/default/dc/dc1/svc/web");
    assert_eq!(leaf.json()["ServiceURI"], uri);
    let again = store.ask("GET /v1/agent/connect/ca/leaf/web", "").await;
    assert_eq!(
        (again.json(), again.header("x-cache")),
        (leaf.json(), "HIT")
    );
    assert_eq!(leaf.header("cache-control"), "no-store");
    let chain = store.ask("GET /v1/discovery-chain/web", "").await.json();
    let target = &chain["Chain"]["Targets"]["web.default.default.dc1"];
    assert_eq!(target["SNI"], format!("web.default.dc1.internal.{domain}"));

    let config = store
        .ask("GET /v1/connect/ca/configuration", "")
        .await
        .json();
    assert_eq!(config["Config"]["LeafCertTTL"], "72h");
    let path = "PUT /v1/connect/ca/configuration";
    store
        .check(&[
            (
                path,
                r#"{"Provider":"bogus"}"#,
                500,
                "could not initialize provider: unknown CA provider \"bogus\"",
            ),
            (
                path,
                r#"{"Provider":"consul","Config":{"LeafCertTTL":"30m"}}"#,
                500,
                "error configuring provider: leaf cert TTL must be greater or equal than 1h0m0s",
            ),
            (
                path,
                r#"{"Provider":"consul","Config":{"LeafCertTTL":"24h"}}"#,
                200,
                "",
            ),
        ])
        .await;
    assert_eq!(
        store.ask("GET /v1/connect/ca/roots", "").await.json(),
        first
    );
    let (waiting_roots, waiting_leaf) = (
        store.wait("/v1/connect/ca/roots").await,
        store.wait("/v1/agent/connect/ca/leaf/web").await,
    );
    let rotate = r#"{"Provider":"consul","Config":{"LeafCertTTL":"24h","PrivateKeyBits":384}}"#;
    store.check(&[(path, rotate, 200, "")]).await;
    let rotated = waiting_roots.await.unwrap().json();
    assert_eq!(rotated["TrustDomain"], first["TrustDomain"]);
    assert_eq!(rotated["Roots"].as_array().unwrap().len(), 2, "{rotated}");
    assert_eq!(rotated["Roots"][0]["PrivateKeyBits"], 384);
    assert_eq!(
        rotated["Roots"][0]["IntermediateCerts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(rotated["Roots"][1]["ID"], first["ActiveRootID"]);
    assert_eq!(rotated["Roots"][1]["Active"], false);
    let renewed = waiting_leaf.await.unwrap().json();
    let certificates = renewed["CertPEM"].as_str().unwrap();
    assert_eq!(certificates.matches("BEGIN CERTIFICATE").count(), 2);
    assert_ne!(renewed["SerialNumber"], leaf.json()["SerialNumber"]);
    assert_eq!(
        store
            .ask("GET /v1/agent/connect/ca/leaf/", "")
            .await
            .status
            .as_u16(),
        400
    );
}

#[tokio::test]
async fn transactions_write_nodes_instances_and_checks_together() {
    let store = Store::start().await;
    let posted = json!([
        {"Node": {"Verb": "set", "Node": {"Node": "x1", "Address": "192.0.2.1", "Meta": {"a": "b"}}}},
        {"Service": {"Verb": "set", "Node": "x1", "Service": {"ID": "s1", "Service": "svc", "Port": 1}}},
        {"Check": {"Verb": "set", "Check": {"Node": "x1", "CheckID": "c1", "Name": "c", "ServiceID": "s1", "Status": "passing"}}},
        {"KV": {"Verb": "set", "Key": "k"}},
    ]);
    let done = store.ask("PUT /v1/txn", posted.to_string()).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let rows = &done.json()["Results"];
    let index = &rows[0]["Node"]["ModifyIndex"];
    assert_eq!(rows[0]["Node"]["Meta"], json!({"a": "b"}));
    assert_eq!(rows[1]["Service"]["Tags"], Value::Null);
    assert_eq!(rows[1]["Service"]["ModifyIndex"], *index);
    assert_eq!(rows[2]["Check"]["ServiceName"], "svc");
    assert_eq!(rows[2]["Check"]["ServiceTags"], Value::Null);
    assert_eq!(rows[3]["KV"]["ModifyIndex"], *index);
    let refused = |failures: &[(u64, &str)]| {
        let errors = failures
            .iter()
            .map(|(at, what)| json!({"OpIndex": at, "What": what}));
        json!({"Results": null, "Errors": errors.collect::<Vec<_>>()}).to_string()
    };
    let cases = [
        (
            json!([
                {"Node": {"Verb": "get", "Node": {"Node": "x9"}}},
                {"Service": {"Verb": "get", "Node": "x1", "Service": {"ID": "s9"}}},
                {"Check": {"Verb": "get", "Check": {"Node": "x1", "CheckID": "c9"}}},
            ]),
            refused(&[
                (0, "node \"x9\" doesn't exist"),
                (1, "service \"s9\" on node \"x1\" doesn't exist"),
                (2, "check \"c9\" on node \"x1\" doesn't exist"),
            ]),
        ),
        (
            json!([
                {"Node": {"Verb": "cas", "Node": {"Node": "x1", "ModifyIndex": 1}}},
                {"Service": {"Verb": "cas", "Node": "x1", "Service": {"ID": "s1", "Service": "svc", "ModifyIndex": 1}}},
                {"Check": {"Verb": "delete-cas", "Check": {"Node": "x1", "CheckID": "c1", "ModifyIndex": 1}}},
                {"KV": {"Verb": "set", "Key": "never"}},
            ]),
            refused(&[
                (0, "failed to set node \"x1\", index is stale"),
                (
                    1,
                    "failed to set service \"s1\" on node \"x1\", index is stale",
                ),
                (
                    2,
                    "failed to delete check \"c1\" on node \"x1\", index is stale",
                ),
            ]),
        ),
        (
            json!([
                {"Node": {"Verb": "twist", "Node": {"Node": "x9"}}},
                {"Service": {"Verb": "twist", "Node": "x1", "Service": {"ID": "s9"}}},
                {"Check": {"Verb": "twist", "Check": {"Node": "x1", "CheckID": "c9"}}},
                {"Node": {"Verb": "set", "Node": {"Address": "192.0.2.1"}}},
                {"Node": {"Verb": "set", "Node": {"Node": "x2", "ID": "abc"}}},
                {"Service": {"Verb": "delete", "Node": "x1", "Service": {"ID": "s9"}}},
                {"Service": {"Verb": "set", "Node": "x1", "Service": {"Service": "s", "Address": "0.0.0.0"}}},
            ]),
            refused(&[
                (0, "unknown node operation: twist"),
                (1, "unknown service operation: twist"),
                (2, "unknown check operation: twist"),
                (3, "Must provide node"),
                (4, "Bad node ID: uuid string is wrong length"),
                (
                    5,
                    "Must provide service name (Service.Service) when service ID is provided",
                ),
                (6, "Invalid service address"),
            ]),
        ),
        (
            json!([
                {"Service": {"Verb": "set", "Node": "x7", "Service": {"Service": "svc"}}},
                {"Check": {"Verb": "set", "Check": {"Node": "x7", "CheckID": "c1"}}},
                {"Check": {"Verb": "set", "Check": {"Node": "x1", "CheckID": "c1", "ServiceID": "none"}}},
            ]),
            refused(&[
                (0, "Missing node registration"),
                (1, "Missing node registration"),
                (2, "Missing service registration"),
            ]),
        ),
    ];
    for (posted, expected) in cases {
        let answer = store.ask("PUT /v1/txn", posted.to_string()).await;
        assert_eq!(answer.status, 409, "{posted}");
        assert_eq!(answer.body, expected, "{posted}");
    }
    store
        .check(&[
            ("GET /v1/kv/never", "", 404, ""),
            (
                "PUT /v1/txn",
                r#"[{"Session":{"Verb":"delete"}}]"#,
                400,
                "Failed to parse body: json: unknown field \"Session\"",
            ),
            (
                "PUT /v1/txn",
                r#"[{"Node":{"Verb":"delete","Node":{"Node":"x1"}}}]"#,
                200,
                r#"{"Results":[],"Errors":null}"#,
            ),
        ])
        .await;
    let gone = store.server.api.server().snapshot();
    assert!(gone.mesh.node("x1").is_none());
    assert_eq!(gone.mesh.checks_of_node("x1").count(), 0);
}

#[tokio::test]
async fn prepared_queries_are_written_rendered_and_executed() {
    let store = Store::start().await;
    let register = |node: &str, status: &str| {
        json!({
            "Node": node, "Address": "192.0.2.1",
            "Service": {"ID": "web", "Service": "web", "Port": 80, "Tags": ["v1"]},
            "Check": {"Node": node, "CheckID": "c", "ServiceID": "web", "Status": status},
        })
        .to_string()
    };
    for (node, status) in [("a", "passing"), ("b", "warning"), ("c", "critical")] {
        let body = register(node, status);
        store.ask("PUT /v1/catalog/register", body).await;
    }
    let made = store
        .ask(
            "POST /v1/query",
            r#"{"Name":"web","Service":{"Service":"web","Near":"a"},"DNS":{"TTL":"10s"}}"#,
        )
        .await;
    let id = made.json()["ID"].as_str().unwrap().to_owned();
    let template = r#"{"Name":"t-","Template":{"Type":"name_prefix_match","Regexp":"^t-(.*)$"},"Service":{"Service":"${match(1)}","OnlyPassing":true}}"#;
    assert_eq!(store.ask("POST /v1/query", template).await.status, 200);
    let unknown = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
    let no_id = "failed prepared query lookup: index error: UUID must be 36 characters";
    let no_such = format!("Cannot modify non-existent prepared query: '{unknown}'");
    let of_unknown = |method: &str| format!("{method} /v1/query/{unknown}");
    let posted = r#"{"Name":"x","Service":{"Service":"web"}}"#;
    store
        .check(&[
            (
                "POST /v1/query",
                "{}",
                500,
                "Invalid prepared query: Must be bound to a session",
            ),
            (
                "POST /v1/query",
                r#"{"Name":"WEB","Service":{"Service":"a"}}"#,
                500,
                "raft apply failed: name 'WEB' aliases an existing query name",
            ),
            (
                "POST /v1/query",
                r#"{"Session":"abc","Service":{"Service":"a"}}"#,
                500,
                "raft apply failed: invalid session \"abc\"",
            ),
            (
                "POST /v1/query",
                r#"{"Name":"b","Service":{"Service":"a"},"DNS":{"TTL":"abc"}}"#,
                500,
                "Invalid prepared query: Bad DNS TTL 'abc': time: invalid duration \"abc\"",
            ),
            (
                "POST /v1/query",
                r#"{"Name":"b","Service":{"Service":"a"},"DNS":{"TTL":"-1s"}}"#,
                500,
                "Invalid prepared query: DNS TTL '-1000000000', must be >=0",
            ),
            (
                "POST /v1/query",
                r#"{"ID":"b","Name":"b","Service":{"Service":"a"}}"#,
                500,
                "ID must be empty when creating a new prepared query",
            ),
            (&of_unknown("GET"), "", 404, "Query not found"),
            (&of_unknown("PUT"), posted, 500, &no_such),
            (&of_unknown("DELETE"), "", 500, &no_such),
            ("GET /v1/query/nope", "", 500, no_id),
            (
                "DELETE /v1/query/nope",
                "",
                500,
                &format!("Prepared Query lookup failed: {no_id}"),
            ),
            ("GET /v1/query/nope/execute", "", 404, "Query not found"),
            ("GET /v1/query/nope/explain", "", 404, "Query not found"),
            (
                "GET /v1/query/web/execute?limit=abc",
                "",
                500,
                "Bad limit: strconv.Atoi: parsing \"abc\": invalid syntax",
            ),
            ("PATCH /v1/query", "", 405, "method PATCH not allowed"),
        ])
        .await;
    let listed = store.ask("GET /v1/query", "").await;
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
    let one = store.ask(&format!("GET /v1/query/{id}"), "").await;
    assert_eq!(one.json()[0]["Service"]["Tags"], Value::Null);
    assert_eq!(one.json()[0]["Session"], "");
    let executed = store.ask("GET /v1/query/web/execute", "").await;
    assert_eq!(executed.header("x-consul-index"), "1");
    let executed = executed.json();
    assert_eq!(executed["DNS"], json!({"TTL": "10s"}));
    assert_eq!(executed["Failovers"], 0);
    let names = |executed: &Value| -> Vec<String> {
        let nodes = executed["Nodes"].as_array().unwrap().iter();
        let names = nodes.map(|row| row["Node"]["Node"].as_str().unwrap().to_owned());
        names.collect()
    };
    let mut found = names(&executed);
    found.sort();
    assert_eq!(found, ["a", "b"]);
    let limited = store.ask("GET /v1/query/web/execute?limit=1", "").await;
    assert_eq!(names(&limited.json()).len(), 1);
    let rendered = store.ask("GET /v1/query/t-web/explain", "").await.json();
    assert_eq!(rendered["Query"]["Service"]["Service"], "web");
    let of_template = store.ask("GET /v1/query/T-web/execute", "").await.json();
    assert_eq!(names(&of_template).len(), 0);
    let of_template = store.ask("GET /v1/query/t-web/execute", "").await.json();
    assert_eq!(names(&of_template), ["a"]);
    let waiting = store.wait("/v1/query").await;
    let updated = store.ask(&format!("PUT /v1/query/{id}"), posted).await;
    assert_eq!((updated.status.as_u16(), updated.body.as_str()), (200, ""));
    let woken = tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
    assert_eq!(woken.status, 200);
    let deleted = store.ask(&format!("DELETE /v1/query/{id}"), "").await;
    assert_eq!((deleted.status.as_u16(), deleted.body.as_str()), (200, ""));
    assert_eq!(store.ask("GET /v1/query/x/execute", "").await.status, 404);
}

#[tokio::test]
async fn a_snapshot_brings_back_what_users_wrote_and_no_index_goes_back() {
    let store = Store::start().await;
    store
        .server
        .add_node("00000000-0000-4000-8000-000000000001")
        .await;
    let external = r#"{"Node":"ext","Address":"192.0.2.9","Service":{"Service":"db","Port":5}}"#;
    let entry = r#"{"Kind":"service-defaults","Name":"web","Protocol":"http"}"#;
    let query = r#"{"Name":"q","Service":{"Service":"db"}}"#;
    for (line, body) in [
        ("PUT /v1/kv/kept", "old"),
        ("PUT /v1/kv/gone", "x"),
        ("PUT /v1/catalog/register", external),
        ("PUT /v1/config", entry),
        ("POST /v1/query", query),
    ] {
        let answer = store.ask(line, body).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
    }
    let router = store.router.clone();
    let request = http::Request::get("/v1/snapshot");
    let saved = tower::ServiceExt::oneshot(router, request.body(Body::empty()).unwrap());
    let saved = saved.await.unwrap();
    assert_eq!(saved.headers()["content-type"], "application/x-gzip");
    let archive = axum::body::to_bytes(saved.into_body(), 1 << 20)
        .await
        .unwrap();

    store.ask("DELETE /v1/kv/gone", "").await;
    store.ask("PUT /v1/kv/kept", "new").await;
    store.ask("PUT /v1/kv/later", "x").await;
    store
        .ask("PUT /v1/catalog/deregister", r#"{"Node":"ext"}"#)
        .await;
    store
        .ask("DELETE /v1/config/service-defaults/web", "")
        .await;
    let before = store.server.api.server().snapshot();
    let waiting = store.wait("/v1/kv/kept").await;
    let restored = store.ask("PUT /v1/snapshot", archive.clone()).await;
    assert_eq!(
        (restored.status.as_u16(), restored.body.as_str()),
        (200, "")
    );
    let woken = tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
    assert_eq!(woken.json()[0]["Value"], "b2xk");
    store
        .check(&[
            ("GET /v1/kv/kept?raw", "", 200, "old"),
            ("GET /v1/kv/gone?raw", "", 200, "x"),
            ("GET /v1/kv/later", "", 404, ""),
        ])
        .await;
    let after = store.server.api.server().snapshot();
    assert!(after.mesh.index() > before.mesh.index());
    assert!(after.mesh.key_index("later") > before.mesh.key_index("later"));
    assert_eq!(after.mesh.instances("db").len(), 1);
    assert_eq!(after.mesh.config_entries().count(), 1);
    assert_eq!(after.mesh.prepared_queries().count(), 1);
    // The agent's node is its agent's.
    assert_eq!(after.mesh.nodes().count(), before.mesh.nodes().count() + 1);

    let cut = archive.slice(..archive.len() / 2);
    for bad in [Body::from("junk\n"), Body::from(cut), Body::empty()] {
        let refused = store.ask("PUT /v1/snapshot", bad).await;
        assert_eq!(refused.status, 500);
        assert!(
            refused.body.starts_with("failed to decompress snapshot: ")
                || refused.body.starts_with("failed to read snapshot: "),
            "{}",
            refused.body
        );
    }
    assert_eq!(store.server.api.server().snapshot().index, after.index);
}

#[tokio::test]
async fn an_agent_that_failed_is_taken_out_and_one_that_lives_stays() {
    let store = Store::start().await;
    let with = |node: &str, status: &str| {
        json!({"Node": node, "Address": "192.0.2.1", "Check": {
            "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": status}})
        .to_string()
    };
    let register = "PUT /v1/catalog/register";
    store
        .check(&[
            (register, &with("dead", "critical"), 200, "true"),
            (register, &with("well", "passing"), 200, "true"),
            (
                register,
                r#"{"Node": "bare", "Address": "192.0.2.1"}"#,
                200,
                "true",
            ),
        ])
        .await;
    store.copy();
    let unknown = |name: &str| format!("agent: No node found with name '{name}'");
    store
        .check(&[
            ("PUT /v1/agent/force-leave/dead", "", 200, ""),
            ("PUT /v1/agent/force-leave/well?prune", "", 200, ""),
            ("PUT /v1/agent/force-leave/bare", "", 500, &unknown("bare")),
            ("PUT /v1/agent/force-leave/none", "", 500, &unknown("none")),
        ])
        .await;
    store.copy();
    let nodes = store.ask("GET /v1/catalog/nodes", "").await.json();
    let nodes = nodes.as_array().unwrap().iter();
    let names: Vec<&Value> = nodes.map(|node| &node["Node"]).collect();
    assert_eq!(names, ["bare", "well"]);
}

#[tokio::test]
async fn an_agent_meets_itself_alone_and_its_log_can_be_followed() {
    let store = Store::start().await;
    store
        .check(&[
            ("PUT /v1/agent/join/one", "", 200, ""),
            (
                "PUT /v1/agent/join/",
                "",
                500,
                "1 error occurred:\n\t* Failed to resolve : lookup : no such host\n\n",
            ),
            (
                "GET /v1/agent/monitor?loglevel=bogus",
                "",
                400,
                "Unknown log level: bogus",
            ),
            ("PUT /v1/agent/reload", "", 503, "the agent is stopping"),
        ])
        .await;
    let other = store.ask("PUT /v1/agent/join/192.0.2.7", "").await;
    assert_eq!(other.status, 500);
    assert!(
        other.body.contains("no server answers there"),
        "{}",
        other.body
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_readers_wait_and_only_those_concerned_wake() {
    const READERS: usize = 10_000;
    let store = Store::start().await;
    store.ask("PUT /v1/kv/quiet", "1").await;
    store.ask("PUT /v1/kv/loud", "1").await;
    // Longer than it takes until all of them wait, however busy the machine is.
    let path = |key: &str, index: u64| format!("/v1/kv/{key}?index={index}&wait=600s");
    let quiet = path("quiet", store.index_of("/v1/kv/quiet").await);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let (router, quiet) = (store.router.clone(), quiet.clone());
        waiting.spawn(async move { ask(&router, "GET", &quiet, "").await.status });
    }
    let loud = store.wait("/v1/kv/loud").await;
    store.ask("PUT /v1/kv/loud", "2").await;
    let woken = tokio::time::timeout(LONG, loud).await.unwrap().unwrap();
    assert_eq!(woken.status, 200);
    assert!(waiting.try_join_next().is_none(), "nobody else is woken");
    store.ask("PUT /v1/kv/quiet", "2").await;
    let all = tokio::time::timeout(4 * LONG, waiting.join_all())
        .await
        .unwrap();
    assert_eq!(all.len(), READERS);
    assert!(all.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn what_one_server_without_tokens_cannot_do_is_said() {
    let store = Store::start().await;
    let refused = |line: &'static str, status, text| (line, "", status, text);
    store
        .check(&[
            refused("GET /v1/acl/tokens", 401, "ACL support disabled"),
            refused("PUT /v1/acl/bootstrap", 401, "ACL support disabled"),
            refused("PUT /v1/agent/token/default", 401, "ACL support disabled"),
            refused(
                "GET /v1/operator/utilization",
                404,
                "operator utilization requires Consul Enterprise",
            ),
            refused(
                "DELETE /v1/operator/raft/peer?address=192.0.2.1:1",
                500,
                "address \"192.0.2.1:1\" was not found in the Raft configuration",
            ),
            refused("GET /v1/operator/raft/peer", 405, "method GET not allowed"),
            (
                "PUT /v1/operator/autopilot/configuration",
                r#"{"RedundancyZoneTag":"zone","MinQuorum":3,"DisableUpgradeMigration":true}"#,
                501,
                "2 errors occurred:\n\t* RedundancyZoneTag is \"\" here and cannot be changed: servers are not told apart by zones\n\t* DisableUpgradeMigration is false here and cannot be changed: new servers never wait for others of their version\n\n",
            ),
            (
                "PUT /v1/operator/autopilot/configuration?cas=x",
                "{}",
                400,
                "Error parsing cas value: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "PUT /v1/operator/autopilot/configuration",
                r#"{"Nope":1}"#,
                400,
                "Error parsing autopilot config: json: unknown field \"Nope\"",
            ),
            refused(
                "GET /v1/operator/keyring",
                500,
                "1 error occurred:\n\t* one: Keyring is empty (encryption not enabled)\n\n",
            ),
            refused(
                "POST /v1/operator/raft/transfer-leader",
                500,
                "cannot find peer: there is one server, and it leads",
            ),
            refused(
                "GET /v1/config/service-resolver?filter=Name==x",
                500,
                "filtering not supported for config entry kind=service-resolver",
            ),
            refused(
                "GET /v1/config/service-defaults?filter=Nope==x",
                500,
                "Failed to create boolean expression evaluator: Selector \"Nope\" is not valid",
            ),
        ])
        .await;
    for (name, protocol) in [("web", "http"), ("api", "tcp")] {
        let entry = json!({"Kind": "service-defaults", "Name": name, "Protocol": protocol, "Meta": {"of": name}});
        store.ask("PUT /v1/config", entry.to_string()).await;
    }
    for filter in [
        "Protocol==http",
        "Meta.of==web",
        "Name==web%20and%20Mode==%22%22",
    ] {
        let found = store
            .ask(
                &format!("GET /v1/config/service-defaults?filter={filter}"),
                "",
            )
            .await;
        assert_eq!(
            found.json().as_array().unwrap().len(),
            1,
            "{filter}: {}",
            found.body
        );
        assert_eq!(found.json()[0]["Name"], "web");
    }
    let usage = store.ask("GET /v1/operator/usage", "").await.json();
    assert_eq!(usage["Usage"]["dc1"]["BillableServiceInstances"], 0);
}

/// The published Go client sends two zeros.
#[tokio::test]
async fn clients_that_say_nothing_of_weights_register_in_the_catalog() {
    let store = Store::start().await;
    let service = |id: &str| {
        let weights = json!({"Passing": 0, "Warning": 0});
        json!({"ID": id, "Service": "web", "Weights": weights, "EnableTagOverride": true})
    };
    let body = json!({"Node": "n1", "Address": "192.0.2.9", "Service": service("a")});
    let answer = store
        .ask("PUT /v1/catalog/register", body.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let set = json!({"Verb": "set", "Node": "n1", "Service": service("b")});
    let get = json!({"Verb": "get", "Node": "n1", "Service": {"ID": "a"}});
    let body = json!([{"Service": set}, {"Service": get}]).to_string();
    let answer = store.ask("PUT /v1/txn", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let rows = &answer.json()["Results"];
    for at in 0..2 {
        let weights = json!({"Passing": 1, "Warning": 1});
        assert_eq!(rows[at]["Service"]["Weights"], weights, "{rows}");
        assert_eq!(rows[at]["Service"]["EnableTagOverride"], true, "{rows}");
    }
}

#[tokio::test]
async fn the_definition_of_a_check_in_the_catalog_is_shown_again() {
    let store = Store::start().await;
    let definition = json!({
        "Interval": "5s", "Timeout": 1_000_000_000, "DeregisterCriticalServiceAfter": "30s",
        "Header": {"a": ["b"]}, "TCP": "192.0.2.21:8080", "HTTP": "",
    });
    let check = json!({"Name": "c", "Status": "passing", "Definition": definition});
    let body = json!({"Node": "n1", "Address": "192.0.2.9", "Check": check});
    let answer = store
        .ask("PUT /v1/catalog/register", body.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let get = json!([{"Check": {"Verb": "get", "Check": {"Node": "n1", "CheckID": "c"}}}]);
    let answer = store.ask("PUT /v1/txn", get.to_string()).await;
    let shown = &answer.json()["Results"][0]["Check"];
    let expected = json!({
        "Interval": "5s", "Timeout": "1s", "DeregisterCriticalServiceAfter": "30s",
        "Header": {"a": ["b"]}, "TCP": "192.0.2.21:8080",
    });
    assert_eq!(shown["Definition"], expected, "{shown}");
    assert_eq!(
        (&shown["Type"], &shown["Interval"]),
        (&json!("tcp"), &json!(""))
    );
}

#[tokio::test]
async fn a_transaction_locks_for_a_session_only() {
    let store = Store::start().await;
    for verb in ["lock", "unlock"] {
        let lock = json!({"Verb": verb, "Key": "k", "Value": ""});
        let body = json!([{"KV": lock}, {"KV": {"Verb": "get", "Key": "k"}}]);
        let answer = store.ask("PUT /v1/txn", body.to_string()).await;
        assert_eq!(answer.status, 409);
        let errors = &answer.json()["Errors"];
        assert_eq!(errors[0]["What"], "missing session", "{errors}");
        assert_eq!(errors[1]["OpIndex"], 1, "{errors}");
    }
}

#[tokio::test]
async fn a_read_finds_what_was_written_before_it() {
    let store = Store::start().await;
    let body = r#"{"Node":"a","Address":"192.0.2.1","Service":{"Service":"web","Port":80}}"#;
    let written = store.ask("PUT /v1/catalog/register", body).await;
    assert_eq!(written.body, "true");
    let path = "/v1/catalog/service/web";
    // Who takes an old answer gets one at once.
    let stale = store.ask(&format!("GET {path}?stale"), "").await;
    assert_eq!(stale.body, "[]");
    let router = store.router.clone();
    let read = tokio::spawn(async move { ask(&router, "GET", path, "").await });
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
    store.copy();
    let read = tokio::time::timeout(LONG, read).await.unwrap().unwrap();
    assert_eq!(read.json()[0]["ServicePort"], 80);
}

#[tokio::test]
async fn both_apis_show_and_set_how_the_servers_look_after_their_group() {
    let store = Store::start().await;
    let uri = "/v1/operator/autopilot/configuration";
    let put = |cas: &str| format!("PUT {uri}{cas}");
    let body = r#"{"CleanupDeadServers":false,"MinQuorum":3}"#;
    // Not every server of the cluster may know the command.
    let early = store.ask(&put(""), body).await;
    assert_eq!(early.status, 500);
    assert!(early.body.contains("every server has to be updated first"));
    let shown = store.ask(&format!("GET {uri}"), "").await.json();
    assert_eq!(shown["CleanupDeadServers"], true, "{shown}");
    assert_eq!(
        (&shown["CreateIndex"], &shown["ModifyIndex"]),
        (&json!(1), &json!(1))
    );

    let raise = json!({ "RaiseVersion": { "to": 3 } });
    let raise: server::Command = serde_json::from_value(raise).unwrap();
    store
        .server
        .api
        .server()
        .propose(raise)
        .await
        .unwrap()
        .1
        .unwrap();
    assert_eq!(store.ask(&put("?cas=2"), body).await.body, "false");
    assert_eq!(store.ask(&put("?cas=1"), body).await.body, "true");
    let shown = store.ask(&format!("GET {uri}"), "").await.json();
    let index = shown["ModifyIndex"].as_u64().unwrap();
    assert!(index > 1, "{shown}");
    let expected = json!({
        "CleanupDeadServers": false,
        "LastContactThreshold": "200ms",
        "MaxTrailingLogs": 250,
        "MinQuorum": 3,
        "ServerStabilizationTime": "10s",
        "RedundancyZoneTag": "",
        "DisableUpgradeMigration": false,
        "UpgradeVersionTag": "",
        "CreateIndex": index,
        "ModifyIndex": index,
    });
    assert_eq!(shown, expected);

    // The same from the other API.
    let jobs = &store.server.jobs;
    let of_jobs = ask(jobs, "GET", uri, Body::empty()).await.json();
    for name in [
        "CleanupDeadServers",
        "MinQuorum",
        "CreateIndex",
        "ModifyIndex",
    ] {
        assert_eq!(of_jobs[name], shown[name], "{of_jobs}");
    }
    assert_eq!(of_jobs["EnableRedundancyZones"], false);
    let set = async |cas: u64, body: &'static str| {
        let uri = format!("{uri}?cas={cas}");
        ask(jobs, "PUT", &uri, Body::from(body)).await
    };
    let body = r#"{"MinQuorum":5,"ServerStabilizationTime":"1s"}"#;
    assert_eq!(set(index + 1, body).await.body, "false");
    assert_eq!(set(index, body).await.body, "true");
    let shown = store.ask(&format!("GET {uri}"), "").await.json();
    assert_eq!(
        (&shown["MinQuorum"], &shown["ServerStabilizationTime"]),
        (&json!(5), &json!("1s"))
    );
    assert_eq!(
        shown["CleanupDeadServers"], true,
        "what is not named has its default"
    );
    assert_eq!(shown["CreateIndex"], index);
    let refused = set(index, r#"{"EnableCustomUpgrades":true}"#).await;
    assert_eq!(refused.status, 501, "{}", refused.body);
}

/// The datacenters of the region share one store, and a registration says where its node is.
#[tokio::test]
async fn nodes_are_registered_in_a_datacenter_of_the_region() {
    let store = Store::start().await;
    let register = "PUT /v1/catalog/register";
    let of = |node: &str, datacenter: &str| {
        let body = json!({
            "Node": node, "Address": "192.0.2.9", "Datacenter": datacenter,
            "Service": {"Service": "ext", "Port": 80},
        });
        body.to_string()
    };
    let (here, far) = (of("here", ""), of("far", "dc2"));
    let nowhere = "No path to datacenter";
    let gone = r#"{"Node":"far","Datacenter":"dc2"}"#;
    store
        .check(&[
            ("PUT /v1/kv/a?dc=dc2", "1", 500, nowhere),
            (register, &here, 200, "true"),
            // No agent of the region is there, so nobody answers for it.
            (register, &far, 500, nowhere),
            ("PUT /v1/catalog/deregister", gone, 500, nowhere),
            ("GET /v1/catalog/datacenters", "", 200, r#"["dc1"]"#),
        ])
        .await;
    for (number, datacenter) in [(2, "dc2"), (3, "dc3")] {
        let id = format!("00000000-0000-4000-8000-00000000000{number}");
        let name = format!("agent{number}");
        let server = &store.server;
        server.add_node_in(&id, &name, datacenter).await;
    }
    store
        .check(&[
            (register, &far, 200, "true"),
            (
                "GET /v1/catalog/datacenters",
                "",
                200,
                r#"["dc1","dc2","dc3"]"#,
            ),
            ("PUT /v1/kv/a?dc=dc2", "1", 200, "true"),
            ("GET /v1/kv/a?raw&dc=dc1", "", 200, "1"),
            ("GET /v1/kv/a?raw&dc=dc9", "", 500, "No path to datacenter"),
            ("GET /v1/session/list?dc=dc2", "", 200, "[]"),
        ])
        .await;
    let places = async || {
        store.copy();
        let nodes = store.ask("GET /v1/catalog/nodes", "").await.json();
        let nodes = nodes.as_array().unwrap().iter();
        let place = |row: &Value| {
            let (node, datacenter) = (row["Node"].as_str()?, row["Datacenter"].as_str()?);
            (!node.starts_with("agent")).then(|| format!("{node}:{datacenter}"))
        };
        nodes.filter_map(place).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(places().await, "far:dc2 here:dc1");
    // A parameter says it where the body does not, and one that names neither means the agent's.
    let moved = r#"{"Node":"here","Address":"192.0.2.9"}"#;
    store
        .check(&[("PUT /v1/catalog/register?dc=dc2", moved, 200, "true")])
        .await;
    assert_eq!(places().await, "far:dc2 here:dc2");
    let kept = r#"{"Node":"far","Datacenter":"dc1","SkipNodeUpdate":true}"#;
    let set = r#"[{"Node":{"Verb":"set","Node":{"Node":"txn","Address":"192.0.2.9","Datacenter":"dc3"}}},
        {"Node":{"Verb":"set","Node":{"Node":"txn2","Address":"192.0.2.9"}}}]"#;
    store
        .check(&[
            (register, moved, 200, "true"),
            (register, kept, 200, "true"),
        ])
        .await;
    assert_eq!(store.ask("PUT /v1/txn", set).await.status.as_u16(), 200);
    let bad = r#"[{"Node":{"Verb":"set","Node":{"Node":"bad","Address":"192.0.2.9","Datacenter":"dc4"}}}]"#;
    let refused = store.ask("PUT /v1/txn", bad).await;
    assert_eq!(refused.status.as_u16(), 409, "{}", refused.body);
    assert!(refused.body.contains(nowhere), "{}", refused.body);
    assert_eq!(places().await, "far:dc2 here:dc1 txn:dc3 txn2:dc1");

    // A query of one datacenter, which has others to fall back on.
    let query =
        r#"{"Name":"q","Service":{"Service":"ext","Failover":{"Datacenters":["dc3","dc2"]}}}"#;
    let written = store.ask("POST /v1/query", query).await;
    assert_eq!(written.status.as_u16(), 200, "{}", written.body);
    for (query, datacenter, failovers, count) in [
        ("", "dc1", 0, 2),
        ("?dc=dc1", "dc1", 0, 1),
        ("?dc=dc3", "dc2", 1, 1),
    ] {
        let line = format!("GET /v1/query/q/execute{query}");
        let answer = store.ask(&line, "").await.json();
        assert_eq!(answer["Datacenter"], datacenter, "{line}");
        assert_eq!(answer["Failovers"], failovers, "{line}");
        assert_eq!(answer["Nodes"].as_array().unwrap().len(), count, "{line}");
    }

    // What is in another datacenter is not there to be removed.
    let remove = |datacenter: &str| json!({"Node": "far", "Datacenter": datacenter}).to_string();
    let deregister = "PUT /v1/catalog/deregister";
    store
        .check(&[(deregister, &remove("dc1"), 200, "true")])
        .await;
    assert_eq!(places().await, "far:dc2 here:dc1 txn:dc3 txn2:dc1");
    store
        .check(&[(deregister, &remove("dc2"), 200, "true")])
        .await;
    assert_eq!(places().await, "here:dc1 txn:dc3 txn2:dc1");
    let known = store.ask("GET /v1/catalog/datacenters", "").await;
    assert_eq!(known.body, r#"["dc1","dc2","dc3"]"#);
}
