use axum::body::Body;
use proxy::route::{Table, parse};
use serde_json::json;

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
    assert_eq!(get(&fixture, "/health").await.body, "OK\n");
    assert_eq!(get(&fixture, "/api/version").await.body, "0.1.0");
    assert_eq!(
        get(&fixture, "/api/config").await.json(),
        json!({ "Strategy": "rr" })
    );
    assert_eq!(get(&fixture, "/api/problems").await.json(), json!([]));
}

#[tokio::test]
async fn an_agent_that_stops_says_so_first() {
    let fixture = Fixture::start().await;
    assert_eq!(get(&fixture, "/health").await.status.as_u16(), 200);
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
