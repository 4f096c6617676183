//! What is looked at and changed in the pages beside jobs and their rollouts.

use super::{browser::Browser, put_key};
use crate::harness::{Agent, Echo, dns, http};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_jobs_are_dispatched_and_launched_by_hand() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let task = json!({
        "Name": "t", "Driver": "raw_exec",
        "Config": {"command": "/bin/sh", "args": ["-c", "cat local/in; echo $NOMAD_META_color"]},
        "DispatchPayload": {"File": "in"}, "Resources": {"CPU": 20, "MemoryMB": 16},
    });
    let show = json!({"Job": {
        "ID": "show", "Type": "batch", "TaskGroups": [{"Name": "g", "Tasks": [task]}],
        "ParameterizedJob": {"Payload": "required", "MetaRequired": ["color"]},
    }});
    let tick = json!({"Job": {
        "ID": "tick", "Type": "batch",
        "Periodic": {"Enabled": true, "SpecType": "cron", "Spec": "0 0 1 1 *"},
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
            "Resources": {"CPU": 20, "MemoryMB": 16},
        }]}],
    }});
    for job in [show, tick] {
        http::put(&agent.url("http", "/v1/jobs"), &job).await;
    }

    // What is dispatched gets what it must have, and its page follows.
    page.open("/jobs/show@default").await;
    page.press("Dispatch").await;
    page.paste("dialog input", "red").await;
    page.paste("dialog textarea", "a <b>payload</b>\n").await;
    page.confirm("trivet job dispatch -meta color=red show -", "Dispatch")
        .await;
    page.wait("location.pathname.startsWith('/ui/jobs/show%2Fdispatch-')")
        .await;
    page.press("Logs").await;
    page.wait_text("a <b>payload</b>").await;
    page.wait_text("red").await;

    page.go("/jobs/tick@default").await;
    page.press("Launch now").await;
    page.confirm("trivet job periodic force tick", "Launch")
        .await;
    page.go("/jobs").await;
    page.wait_text("tick/periodic-").await;
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_names_routes_keys_and_variables_are_shown_and_edited() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let web = Echo::new("web", 2);
    web.run(&agent).await;

    // The name of a service with the answer that the name service gives.
    page.open("/services/web").await;
    page.wait_text("web.service.consul").await;
    let ports = dns::srv_ports(agent.address("dns"), "web.service.consul.").await;
    assert_eq!(ports.len(), 2);
    for port in ports {
        page.wait_text(&format!(" IN SRV 1 1 {port} ")).await;
    }
    let none = agent.url("http", "/v1/trivet/dns?name=none.service.consul&type=A");
    assert_eq!(http::get(&none).await["Code"], "NXDOMAIN");
    let wrong = agent.url("http", "/v1/trivet/dns?name=none.service.consul&type=LOUD");
    assert_eq!(http::send(Method::GET, &wrong, None).await.0, 400);

    // Where a request would go, and the operator's text over the routes.
    page.go("/routes").await;
    page.paste("input[aria-label=URL]", "/web").await;
    page.press("Test").await;
    page.wait(
        "document.querySelectorAll('[aria-label=\"Instances that may get it\"] tbody tr').length === 2",
    )
    .await;
    page.press("Edit the overrides").await;
    let text = "route add typed /typed http://127.0.0.1:9/\n";
    page.paste("dialog textarea", text).await;
    page.confirm("curl -X PUT --data-binary @FILE ", "Save")
        .await;
    page.wait(
        "[...document.querySelectorAll('.route')].some((own) => own.innerText.includes('/typed'))",
    )
    .await;

    // A key: made, changed and removed.
    page.go("/kv").await;
    page.wait_text("There are no keys").await;
    page.press("New key").await;
    page.paste("dialog input", "app/name").await;
    page.paste("dialog textarea", "trivet").await;
    page.confirm("trivet kv put -cas -modify-index 0 app/name trivet", "Put")
        .await;
    page.wait("document.querySelector('main textarea')?.value === 'trivet'")
        .await;
    page.paste("main textarea", "other").await;
    page.press("Save").await;
    page.confirm("trivet kv put -cas -modify-index ", "Put")
        .await;
    let key = http::get(&agent.url("catalog", "/v1/kv/app/name")).await;
    assert_eq!(key[0]["Value"], BASE64.encode("other"));
    // What is removed is what the page shows.
    page.wait_text(&format!("Changed at index\n{}", key[0]["ModifyIndex"]))
        .await;
    page.press("Delete").await;
    page.confirm("trivet kv delete -cas -modify-index ", "Delete")
        .await;
    page.wait_text("There are no keys below it").await;

    // A variable: made, shown when asked, changed and removed. Its change is an event.
    page.go("/variables").await;
    page.press("New variable").await;
    page.paste("dialog input", "app/db").await;
    page.paste("dialog textarea", "user = admin").await;
    page.confirm("trivet var put app/db ", "Put").await;
    page.wait_text("user").await;
    assert!(!page.text().await.contains("admin"));
    page.press("Show").await;
    page.wait_text("admin").await;
    page.press("Edit").await;
    page.paste("main form textarea", "root").await;
    page.press("Save").await;
    page.confirm("trivet var put -check-index ", "Put").await;
    let variable = http::get(&agent.url("http", "/v1/var/app/db")).await;
    assert_eq!(variable["Items"]["user"], "root");
    page.wait_text(&format!("Changed at index\n{}", variable["ModifyIndex"]))
        .await;
    page.press("Delete").await;
    page.confirm("trivet var purge -check-index ", "Delete")
        .await;
    page.wait_text("There are none").await;

    page.go("/events").await;
    let scale = json!({"Count": 1, "Target": {"Group": "web"}});
    http::put(&agent.url("http", "/v1/job/web/scale"), &scale).await;
    page.wait_text("JobRegistered").await;
    // Who stands on a row stays on it when others come on top.
    page.key("j").await;
    let row = "document.activeElement.getAttribute('href')";
    let stood = page.value(row).await;
    put_key(&agent, "app/more", "x").await;
    page.wait_text("app/more").await;
    page.wait(&format!("{row} === {stood}")).await;

    // Why something is not placed, in a sentence; and the server.
    let mut large = Echo::new("large", 1);
    large.memory = 10_000_000;
    large.register(&agent).await;
    page.go("/evaluations").await;
    page.wait_text("“web” is not placed: 1 node has too little memory left.")
        .await;
    page.click("main tbody [data-row]").await;
    page.wait("location.search.startsWith('?currentEval=')")
        .await;
    page.wait("document.querySelector('.placement .why').innerText.includes('has too little memory left')")
        .await;
    page.click(".placement summary").await;
    page.wait("document.querySelector('.placement table').innerText.includes('Exhausted: memory\\t1 node')")
        .await;
    page.go("/jobs/large@default/evaluations").await;
    page.wait("document.querySelectorAll('main tbody tr').length > 0 && document.querySelector('main tbody').innerText.includes('blocked')")
        .await;
    page.go("/jobs/large@default").await;
    page.wait("document.querySelector('section.warning') !== null")
        .await;
    page.wait_text("memory").await;
    page.go("/servers").await;
    page.wait_text("leader").await;

    // The node: what runs there, what is free, what it can do and what it is.
    page.go("/topology").await;
    page.wait("document.querySelectorAll('main .node .block.good[aria-label^=\"web.web[\"]').length === 1")
        .await;
    page.wait("/^CPU\\s+[\\d,]+ MHz free\\s+Memory\\s+[\\d.]+ GiB free$/.test(document.querySelector('main .node dl').innerText.trim())")
        .await;
    page.click("main .node [data-row]").await;
    page.wait("[...document.querySelectorAll('[aria-label=Drivers] tr')].some((own) => own.innerText.startsWith('raw_exec') && own.innerText.includes('healthy'))")
        .await;
    page.click("main details summary").await;
    page.wait(
        "document.querySelector('[aria-label=Attributes]').innerText.includes('kernel.name')",
    )
    .await;
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_the_table_of_the_ingress_keeps_itself_current() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let manual = agent.url("ingress_admin", "/api/manual");
    let first = "route add first /first http://127.0.0.1:9/\n";
    http::put(&manual, &json!({"value": first, "version": "0"})).await;
    // A bad address of the table leads to it.
    let place = agent.url("ingress_admin", "/nowhere");
    page.call("Page.navigate", json!({ "url": place })).await;
    let shows = |text: &str| format!("document.body.innerText.includes('{text}')");
    page.wait(&shows("/first")).await;
    page.wait("location.pathname === '/routes'").await;

    // What changes is there without a word, and the rows that are looked for stay.
    page.paste("#filter", "SECOND").await;
    page.wait(&shows("0 of 1 targets")).await;
    let now = http::get(&manual).await;
    let both = format!("{first}route add second /second http://127.0.0.1:9/\n");
    let body = json!({"value": both, "version": now["version"]});
    http::put(&manual, &body).await;
    page.wait(&shows("1 of 2 targets")).await;
    page.wait(&format!("{} && !{}", shows("/second"), shows("/first")))
        .await;
}
