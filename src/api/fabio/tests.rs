use axum::body::Body;
use futures_util::future::{BoxFuture, ready};
use proxy::route::{Table, parse};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio_util::sync::CancellationToken;

use super::{Alone, Texts, alone, only_metrics};
use crate::tests::{Answer, Fixture, ask};

async fn get(fixture: &Fixture, uri: &str) -> Answer {
    ask(&fixture.admin, "GET", uri, Body::empty()).await
}

fn put_table(fixture: &Fixture, text: &str) {
    let (definitions, problems) = parse::parse(text);
    assert_eq!(problems, []);
    let (table, _) = Table::build(definitions, Some(&fixture.proxy.table()));
    drop(fixture.proxy.swap(table));
}

#[tokio::test]
async fn the_table_is_shown_in_every_form() {
    let fixture = Fixture::start().await;
    assert_eq!(get(&fixture, "/api/routes").await.body, "null");
    put_table(
        &fixture,
        "route add todo /todo http://10.0.0.1:80/ tags \"a,b\"\n",
    );
    let rows = get(&fixture, "/api/routes").await.json();
    assert_eq!(rows[0]["service"], "todo");
    assert_eq!(rows[0]["tags"], json!(["a", "b"]));
    assert_eq!(rows[0]["weight"], 1.0);
    let raw = get(&fixture, "/api/routes?raw").await.body;
    assert!(
        raw.starts_with("route add todo /todo http://10.0.0.1:80/"),
        "{raw}"
    );
    let answer = get(&fixture, "/nowhere").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/routes")
    );
    let metrics = get(&fixture, "/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let line = "trivet_ingress_in_flight{route=\"/todo\",service=\"todo\",version=\"\",instance=\"10.0.0.1:80\"} 0\n";
    assert!(metrics.body.contains(line), "{}", metrics.body);
    assert_eq!(get(&fixture, "/api/version").await.body, "0.1.0");
    assert_eq!(
        get(&fixture, "/api/config").await.json(),
        json!({ "Strategy": "rr" })
    );
    assert_eq!(get(&fixture, "/api/problems").await.json(), json!([]));
}

#[tokio::test]
async fn an_agent_is_well_from_its_first_routes_until_it_stops() {
    let fixture = Fixture::start().await;
    let answer = get(&fixture, "/health").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (503, "there are no routes yet\n")
    );
    fixture.routed.cancel();
    assert_eq!(get(&fixture, "/health").await.body, "OK\n");
    fixture.stopping.cancel();
    let answer = get(&fixture, "/health").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (503, "stopping\n")
    );
    // The rest goes on.
    assert_eq!(get(&fixture, "/api/routes").await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_page_escapes_what_services_say() {
    let fixture = Fixture::start().await;
    put_table(
        &fixture,
        "route add <script>alert(1)</script> /x'y http://10.0.0.1:80/ tags \"<b>&'\"\n",
    );
    let page = get(&fixture, "/").await.body;
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{page}"
    );
    assert!(page.contains("&lt;b&gt;&amp;&#39;"), "{page}");
    assert!(
        !page.contains("<script>alert") && !page.contains("<b>&"),
        "{page}"
    );
    fixture.proxy.set_problems(vec!["line 1: <i>".into()]);
    let page = get(&fixture, "/routes").await.body;
    assert!(page.contains("<li>line 1: &lt;i&gt;</li>"), "{page}");
    assert_eq!(
        get(&fixture, "/api/problems").await.json(),
        json!(["line 1: <i>"])
    );
}

#[tokio::test]
async fn a_certificate_that_ends_is_told_where_problems_are() {
    let fixture = Fixture::start().await;
    let mut wanted = rcgen::CertificateParams::new(["web.io".to_owned()]).unwrap();
    wanted.not_before = rcgen::date_time_ymd(2001, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(2001, 3, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let store = proxy::certs::Store::default();
    let unusable = store.replace(vec![proxy::certs::Pair {
        name: "<web>.pem".into(),
        chain: wanted.self_signed(&key).unwrap().pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    }]);
    assert_eq!(unusable, []);
    let source = ("own".to_owned(), Arc::new(store));
    fixture.proxy.set_certificates(vec![source]);
    let sentence = "the certificate `<web>.pem` of the source `own`, for `web.io`, ended on Thu, 01 Mar 2001 00:00:00 GMT";
    let problems = get(&fixture, "/api/problems").await.json();
    assert_eq!(problems, json!([sentence]));
    let page = get(&fixture, "/routes").await.body;
    let shown = "<b>Certificates</b><ul>\n<li>the certificate `&lt;web&gt;.pem` of";
    assert!(page.contains(shown), "{page}");
    let metrics = get(&fixture, "/metrics").await.body;
    let line = "trivet_ingress_certificate_expiry_timestamp_seconds{source=\"own\",certificate=\"<web>.pem\",host=\"web.io\"} 983404800\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn texts_at_paths_are_keys() {
    let fixture = Fixture::start().await;
    assert_eq!(get(&fixture, "/api/paths").await.body, "null");
    let put = |path: &'static str, value: &str, version: &str| {
        let body = json!({ "value": value, "version": version }).to_string();
        ask(&fixture.admin, "PUT", path, body)
    };
    let (one, two) = ("/api/manual/team/one", "/api/manual/two");
    assert_eq!(put(one, "route del a\n", "0").await.status, 200);
    assert_eq!(put(two, "route del b\n", "0").await.status, 200);
    assert_eq!(put(two, "route del c\n", "0").await.refusal().0, 409);
    assert_eq!(put(two, "nonsense", "0").await.refusal().0, 400);
    let read = get(&fixture, one).await.json();
    assert_eq!(read["value"], "route del a\n");
    let version = read["version"].as_str().unwrap().to_owned();
    assert_eq!(put(one, "route del d\n", &version).await.status, 200);
    assert_eq!(
        get(&fixture, "/api/paths").await.json(),
        json!(["team/one", "two"])
    );
    assert_eq!(
        put("/api/manual", "route del e\n", "0").await.refusal().0,
        409
    );
    // Agents get them with the rest of what lies over the routes, in the order of their keys.
    let catalog = &fixture.api.server().snapshot().mesh;
    let texts: Vec<&str> = catalog
        .route_overrides()
        .commands()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(texts, ["route del d\n", "route del b\n"]);
    let missing = get(&fixture, "/api/manual/none").await.json();
    assert_eq!(missing, json!({ "value": "", "version": "0" }));
    let deleted = ask(&fixture.admin, "DELETE", two, Body::empty()).await;
    assert_eq!(deleted.status, 405);
}

#[tokio::test]
async fn overrides_are_replaced_by_version() {
    let fixture = Fixture::start().await;
    let first = get(&fixture, "/api/manual").await.json();
    assert_eq!(first, json!({ "value": "", "version": "0" }));
    let put = |value: &str, version: &str| {
        let body = json!({ "value": value, "version": version }).to_string();
        ask(&fixture.admin, "PUT", "/api/manual", body)
    };
    let answer = put("route del todo\n", "0").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    let stale = put("route del other\n", "0").await;
    assert_eq!(stale.refusal(), (409, "version mismatch"));
    let bad = put("nonsense\n", "0").await;
    assert_eq!(bad.refusal().0, 400);
    assert!(bad.body.starts_with("line 1: "), "{}", bad.body);
    assert_eq!(put("", "x").await.refusal().0, 400);
    let now = get(&fixture, "/api/manual").await.json();
    assert_eq!(now["value"], "route del todo\n");
}

/// Texts in memory; the version of each counts its changes.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, (String, u64)>>);

impl Texts for Memory {
    fn paths(&self) -> BoxFuture<'_, Result<Vec<String>, String>> {
        let paths = self.0.lock().unwrap().keys().cloned().collect();
        Box::pin(ready(Ok(paths)))
    }

    fn text<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(String, u64), String>> {
        let text = self.0.lock().unwrap().get(path).cloned();
        Box::pin(ready(Ok(text.unwrap_or_default())))
    }

    fn set<'a>(
        &'a self,
        path: &'a str,
        text: String,
        version: u64,
    ) -> BoxFuture<'a, Result<bool, String>> {
        let mut all = self.0.lock().unwrap();
        let entry = all.entry(path.to_owned()).or_default();
        let is_same = entry.1 == version;
        if is_same {
            *entry = (text, version + 1);
        }
        Box::pin(ready(Ok(is_same)))
    }
}

/// The router of an ingress by itself.
fn by_itself(
    fixture: &Fixture,
    change: impl FnOnce(&mut Alone),
) -> (axum::Router, CancellationToken) {
    let routed = CancellationToken::new();
    let mut settings = Alone {
        proxy: fixture.proxy.clone(),
        version: "1".into(),
        config: Value::Null,
        texts: Some(Arc::new(Memory::default())),
        is_read_only: false,
        path: String::new(),
        title: String::new(),
        metrics_prefix: "edge".into(),
        metrics_bounds: vec![std::time::Duration::from_secs(1)],
        routed: routed.clone(),
        stopping: CancellationToken::new(),
    };
    change(&mut settings);
    (alone(settings), routed)
}

#[tokio::test]
async fn a_read_only_address_keeps_texts_to_itself() {
    let fixture = Fixture::start().await;
    let (router, _) = by_itself(&fixture, |alone| alone.is_read_only = true);
    let body = json!({ "value": "", "version": "0" }).to_string();
    for (method, path, expected) in [
        ("GET", "/api/manual", 403),
        ("PUT", "/api/manual", 403),
        ("GET", "/api/manual/a/b", 403),
        ("PUT", "/api/manual/a/b", 403),
        ("DELETE", "/api/manual", 403),
        ("GET", "/api/paths", 403),
        ("POST", "/api/paths", 403),
        ("GET", "/manual", 403),
        ("GET", "/api/routes", 200),
        ("GET", "/api/config", 200),
        ("GET", "/api/version", 200),
        ("GET", "/metrics", 200),
        ("GET", "/routes", 200),
    ] {
        let answer = ask(&router, method, path, body.clone()).await;
        assert_eq!(answer.status.as_u16(), expected, "{method} {path}");
    }
    let answer = ask(&router, "PUT", "/api/manual", body).await;
    let text = "this address changes nothing: `admin_access` (`ui.access`) is `ro`";
    assert_eq!(answer.refusal(), (403, text));
}

#[tokio::test]
async fn an_ingress_by_itself_keeps_its_texts_elsewhere() {
    let fixture = Fixture::start().await;
    let (router, routed) = by_itself(&fixture, |alone| {
        alone.path = "/fabio".into();
        alone.title = "edge <1>".into();
    });
    let get = |path: &'static str| ask(&router, "GET", path, Body::empty());
    let put = |path: &'static str, value: &str, version: &str| {
        let body = json!({ "value": value, "version": version }).to_string();
        ask(&router, "PUT", path, body)
    };
    // It is not well before there are routes.
    assert_eq!(get("/health").await.status, 503);
    routed.cancel();
    assert_eq!(get("/health").await.body, "OK\n");
    assert_eq!(get("/fabio/health").await.body, "OK\n");
    assert_eq!(get("/fabio/api/paths").await.body, "null");
    let answer = put("/fabio/api/manual/a/b", "route del x\n", "0").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    let stale = put("/fabio/api/manual/a/b", "route del y\n", "0").await;
    assert_eq!(stale.refusal(), (409, "version mismatch"));
    assert_eq!(
        put("/fabio/api/manual", "nonsense", "0").await.refusal().0,
        400
    );
    let read = get("/fabio/api/manual/a/b").await.json();
    assert_eq!(read, json!({ "value": "route del x\n", "version": "1" }));
    assert_eq!(get("/fabio/api/paths").await.json(), json!(["a/b"]));
    for path in ["/", "/fabio", "/fabio/x"] {
        let answer = ask(&router, "GET", path, Body::empty()).await;
        let seen = (answer.status.as_u16(), answer.header("location").to_owned());
        let is_led = seen == (303, "/fabio/routes".to_owned());
        let is_page = seen.0 == 200 && path == "/fabio";
        assert!(is_led || is_page, "{path}: {seen:?}");
    }
    let page = get("/fabio/routes").await.body;
    assert!(page.contains("<title>edge &lt;1&gt;</title>"), "{page}");
    assert!(!page.contains("href=\"/ui\""), "{page}");
    // Without a place for them there are none.
    let (router, _) = by_itself(&fixture, |alone| alone.texts = None);
    let body = json!({ "value": "", "version": "0" }).to_string();
    assert_eq!(ask(&router, "PUT", "/api/manual", body).await.status, 400);
    assert_eq!(
        ask(&router, "GET", "/api/paths", Body::empty()).await.body,
        "null"
    );
}

#[tokio::test]
async fn published_names_of_metrics_are_there_for_those_who_ask() {
    let fixture = Fixture::start().await;
    put_table(&fixture, "route add todo /todo http://10.0.0.1:80/\n");
    let line = |prefix: &str| format!("\n{prefix}_requests_count{{service=\"todo\"}} 0\n");
    let plain = get(&fixture, "/metrics").await.body;
    assert!(!plain.contains("fabio_"), "{plain}");
    let asked = get(&fixture, "/metrics?names=fabio").await.body;
    assert!(
        asked.starts_with(&plain) && asked.contains(&line("fabio")),
        "{asked}"
    );
    let (router, _) = by_itself(&fixture, |_| ());
    let own = ask(&router, "GET", "/metrics", Body::empty()).await.body;
    assert!(own.contains(&line("edge")), "{own}");
}

#[tokio::test]
async fn metrics_are_shown_at_any_path() {
    let fixture = Fixture::start().await;
    let router = only_metrics(fixture.proxy.clone(), "/m/x", ("edge", &[]));
    let answer = ask(&router, "GET", "/", Body::empty()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (308, "/m/x")
    );
    assert_eq!(ask(&router, "GET", "/m/x", Body::empty()).await.status, 200);
    let router = only_metrics(fixture.proxy.clone(), "", ("edge", &[]));
    assert_eq!(ask(&router, "GET", "/", Body::empty()).await.status, 200);
}
