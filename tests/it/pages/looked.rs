//! What is seen at a glance: what fails first, traffic by route, version and instance; and the ways
//! to it by search, keys and addresses.

use super::{browser::Browser, put_key};
use crate::{
    harness::{Agent, DEADLINE, Echo, http, load::Load},
    walkthrough::targets,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A job with one task that fails for good, or waits for room that no node has.
fn troubled(id: &str, memory: u32) -> Value {
    json!({"Job": {
        "ID": id, "Type": "batch",
        "TaskGroups": [{
            "Name": "g",
            "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
            "Tasks": [{
                "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/false"},
                "Resources": {"CPU": 20, "MemoryMB": memory},
            }],
        }],
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_what_fails_and_what_is_asked_is_seen_at_a_glance() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let mut shop = Echo::new("shop", 2);
    shop.service = "canary_tags = [\"urlprefix-/shop\", \"canary\"]".into();
    shop.update =
        "canary = 1\nmax_parallel = 2\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
            .into();
    shop.run(&agent).await;
    shop.deployment(&agent, 0, "successful").await;
    shop.text = "new".into();
    shop.args = vec!["-error-rate".into(), "1".into()];
    shop.register(&agent).await;
    shop.passing(&agent, 3).await;
    targets(&agent, "shop", 3).await;
    for job in [troubled("broken", 20), troubled("waiting", 10_000_000)] {
        http::put(&agent.url("http", "/v1/jobs"), &job).await;
    }
    // Before anything is judged the share is set at a route, by what only the canaries are tagged.
    page.open("/jobs/shop@default/deployments").await;
    let effective = |percent: u32| {
        format!(
            "[...document.querySelectorAll('.side.new dl > div')].some((own) => own.innerText === 'Share effective\\n{percent} %')"
        )
    };
    page.wait(&effective(33)).await;
    for (share, weight, percent) in [("20", "0.2", 20), ("0", "0", 33)] {
        page.press("Set the share").await;
        page.paste("dialog input", share).await;
        let command = format!("trivet route weight -tags canary shop /shop {weight}");
        page.confirm(&command, "Set").await;
        page.wait(&effective(percent)).await;
    }
    let load = Load::start(agent.address("ingress"), "/shop", 50, TIMEOUT);

    // Home: what is bad comes before what only needs a look; the rollout, the traffic, the room.
    page.open("/").await;
    page.wait_text("1 allocation failed and was not replaced")
        .await;
    page.wait_text("1 allocation cannot be placed").await;
    let tones =
        "[...document.querySelectorAll('.troubles li')].map((own) => own.className).join(' ')";
    page.wait(&format!("/^bad bad( busy)*$/.test({tones})"))
        .await;
    page.wait("document.querySelector('.rollouts').innerText.includes('waits for its promotion')")
        .await;
    let figure = |name: &str| {
        format!(
            "parseFloat([...document.querySelectorAll('.figure')].find((own) => own.querySelector('span').innerText === '{name}').querySelector('b').innerText)"
        )
    };
    page.wait(&format!(
        "{} > 10 && {} > 5",
        figure("requests/s"),
        figure("errors")
    ))
    .await;
    page.wait("document.querySelectorAll('svg.spark polyline').length === 2")
        .await;
    page.wait(
        "document.querySelectorAll('section[aria-label=Capacity] [role=meter]').length === 3",
    )
    .await;

    // Routes: shares and success by version, classes of answers, instances, and who would get one.
    page.go("/routes").await;
    let row = |version: &str| {
        format!(
            "[...document.querySelectorAll('.route-version')].find((own) => own.querySelector('.pill').innerText === '{version}')?.innerText"
        )
    };
    page.wait(&format!("/67 %|66 %/.test({})", row("v0"))).await;
    page.wait(&format!(
        "/2 instances, [\\d.]+ requests.s, 100 % success/.test({})",
        row("v0")
    ))
    .await;
    page.wait(&format!(
        "/33 %[^]*1 instance, [\\d.]+ requests.s, 0 % success/.test({})",
        row("v1")
    ))
    .await;
    page.wait("/2xx: [\\d.]+.s[^]*5xx: [\\d.]+.s/.test(document.querySelector('.route [role=img]').getAttribute('aria-label'))")
        .await;
    page.wait("/[1-9][\\d.]* requests.s, p50 [\\d.]+ ms, p99 [\\d.]+ ms/.test(document.querySelector('.route-head').innerText)")
        .await;
    page.click(".route-head button").await;
    page.wait(
        "document.querySelectorAll('.targets li a[href^=\"/ui/allocations/\"]').length === 3",
    )
    .await;
    page.paste("input[aria-label=URL]", "/shop/cart").await;
    page.paste("input[aria-label=Header]", "x-user: 1").await;
    page.press("Test").await;
    page.wait("document.querySelectorAll('[aria-label=\"Instances that may get it\"] tbody tr').length === 3")
        .await;
    // Which rule it is, why, and which versions may answer.
    page.wait("/^Route \\/shop: it is the first route that matches: .*, by their shares\\.$/.test(document.querySelector('.explained .fine').innerText)")
        .await;
    page.wait("[...document.querySelectorAll('.explained tbody tr')].map((own) => own.children[1].innerText).sort().join() === 'v0,v0,v1'")
        .await;
    let command = page
        .value("document.querySelector('section[aria-label=\"Test a URL\"] .command code').textContent")
        .await;
    assert_eq!(command, "trivet route test -H 'x-user: 1' /shop/cart");
    page.paste("input[aria-label=URL]", "/nowhere").await;
    page.press("Test").await;
    page.wait("document.querySelector('.explained .why') !== null")
        .await;

    // The same traffic where its job, one of its allocations and its service are.
    let running = shop.running(&agent, 3).await;
    let alloc = running[0]["ID"].as_str().expect("an id");
    for (path, least) in [
        ("/jobs/shop@default", 10),
        (&format!("/allocations/{alloc}"), 3),
        ("/services/shop", 10),
    ] {
        page.go(path).await;
        page.wait(&format!("{} > {least}", figure("requests/s")))
            .await;
    }
    page.wait_text("weight 1").await;
    page.wait(
        "[...document.querySelectorAll('.instances .tag')].some((own) => own.innerText === 'urlprefix-/shop')",
    )
    .await;
    page.wait("document.querySelectorAll('.instances > li').length === 3")
        .await;
    page.go("/jobs").await;
    page.wait("document.querySelectorAll('[aria-label^=\"Version \"]').length === 2")
        .await;
    page.wait("/^\\d+s ago promote\\?$|^\\d+m\\d+s ago promote\\?$/.test(document.querySelector('td.deploy .busy')?.closest('td').innerText)")
        .await;
    page.choose("select[aria-label=Type]", "batch").await;
    page.wait_text("2 of 3 jobs").await;
    page.wait("location.search === '?type=batch'").await;

    // What is suspect gets its share from who judges it.
    page.go("/jobs/shop@default/deployments").await;
    page.wait("[...document.querySelectorAll('.side.new dl > div')].some((own) => /^Requests\\/s\\n[1-9]/.test(own.innerText))")
        .await;
    page.press("Set the share").await;
    page.paste("dialog input", "20").await;
    page.confirm("trivet rollout set-share -group web ", "Set")
        .await;
    page.wait(&effective(20)).await;
    load.stop().await;
    page.end_clean();
}

/// How long a page must be silent. What is read once more after the stream opened may come late on
/// a slow machine, but who looks again and again is never silent for so long.
const SILENCE_MS: u32 = 4000;

/// Waits until a page asks for nothing any more where nothing happens.
async fn falls_silent(agent: &Agent, path: &str) {
    let page = Browser::at(agent).await.expect("chromium is there");
    page.open(path).await;
    page.wait("document.querySelector('main [aria-busy]') === null && document.querySelector('.light.connected') !== null")
        .await;
    let start = Instant::now();
    page.requests();
    loop {
        page.value(&format!(
            "new Promise((done) => setTimeout(done, {SILENCE_MS}))"
        ))
        .await;
        let asked = page.requests();
        if asked.is_empty() {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{path} goes on with {asked:?}");
    }
}

/// Counts the event streams that are open at the same time.
const STREAMS: &str = "
    window.streams = { open: 0, most: 0 };
    const ask = fetch;
    window.fetch = (path, options) => {
      if (path.startsWith('/v1/event/stream')) {
        streams.open += 1;
        streams.most = Math.max(streams.most, streams.open);
        options.signal.addEventListener('abort', () => { streams.open -= 1; });
      }
      return ask(path, options);
    };
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_pages_are_found_by_keys_search_and_address_and_ask_for_nothing_new() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let web = Echo::new("web", 1);
    web.run(&agent).await;
    web.deployment(&agent, 0, "successful").await;
    http::put(&agent.url("http", "/v1/jobs"), &troubled("alpha", 20)).await;
    put_key(&agent, "app/name", "trivet").await;
    let running = web.running(&agent, 1).await;
    let alloc = running[0]["ID"].as_str().expect("an id");

    // `g` and a letter lead to a page, Enter into a row, and typing finds what has a name.
    let script = json!({"source": STREAMS});
    page.call("Page.addScriptToEvaluateOnNewDocument", script)
        .await;
    page.open("/").await;
    for (key, path) in [
        ("s", "/ui/services"),
        ("r", "/ui/routes"),
        ("t", "/ui/topology"),
        ("e", "/ui/evaluations"),
        ("k", "/ui/kv"),
        ("v", "/ui/variables"),
        ("n", "/ui/jobs/run"),
        ("h", "/ui/"),
        ("j", "/ui/jobs"),
    ] {
        page.key("g").await;
        page.key(key).await;
        page.wait(&format!("location.pathname === '{path}'")).await;
    }
    page.wait_text("web").await;
    page.key("j").await;
    page.key("j").await;
    page.wait("document.activeElement.textContent === 'web'")
        .await;
    page.key("Enter").await;
    page.wait("location.pathname === '/ui/jobs/web@default'")
        .await;
    page.wait_text("Task groups").await;
    page.key("/").await;
    page.wait("document.activeElement.id === 'search'").await;
    page.paste("#search", "alp").await;
    page.wait(
        "document.querySelector('[role=option][aria-selected=true]')?.innerText.includes('alpha')",
    )
    .await;
    page.key("Enter").await;
    page.wait("location.pathname === '/ui/jobs/alpha@default'")
        .await;
    page.paste("#search", alloc.get(..8).expect("an id")).await;
    page.wait("document.querySelector('[role=option]')?.innerText.includes('allocation')")
        .await;
    page.key("Enter").await;
    page.wait(&format!("location.pathname === '/ui/allocations/{alloc}'"))
        .await;
    // All these pages had one stream, whatever each of them follows.
    page.wait("streams.open === 1").await;
    assert_eq!(page.value("streams.most").await, 1);

    // What was only searched for is followed when it is looked at.
    page.open("/kv").await;
    page.paste("#search", "web").await;
    let kinds =
        "[...document.querySelectorAll('[role=option] .kind')].map((own) => own.innerText).join()";
    page.wait(&format!("{kinds} === 'job,service'")).await;
    page.key("Escape").await;
    page.go("/jobs").await;
    page.wait_text("2 jobs").await;
    http::put(&agent.url("http", "/v1/jobs"), &troubled("later", 20)).await;
    page.wait_text("later").await;

    // Addresses that the command line prints lead to pages too.
    for path in ["/clients", "/variables/path/app", "/jobs/web/deployments"] {
        page.go(path).await;
        let text = page.text().await;
        assert!(!text.contains("There is no page"), "{path}: {text}");
    }
    http::send(
        reqwest::Method::DELETE,
        &agent.url("http", "/v1/job/later?purge=true"),
        None,
    )
    .await;

    // An address leads to the same sight, filters and all.
    for (path, said, count) in [
        ("/jobs?text=al&type=batch", "1 of 2 jobs", 1),
        ("/jobs?status=running", "1 of 2 jobs", 1),
        ("/jobs?status=failing", "1 of 2 jobs", 1),
        ("/services?text=web", "1 of ", 1),
        (
            "/jobs/web@default/allocations?status=failed",
            "0 of 1 allocation",
            0,
        ),
        ("/topology?view=table&status=ready", "1 node", 1),
        ("/kv/app", "1 entry", 1),
    ] {
        page.open(path).await;
        page.wait_text(said).await;
        page.wait(&format!(
            "document.querySelectorAll('main tbody tr').length === {count}"
        ))
        .await;
    }

    // There is one stream, and nobody looks again and again.
    let alloc = format!("/allocations/{alloc}");
    let paths = ["/", "/jobs", "/routes", "/servers", "/topology", &alloc];
    join_all(paths.map(|path| falls_silent(&agent, path))).await;
    page.end_clean();
}
