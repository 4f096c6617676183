//! How much the pages load, and how long they are held up by what changes.
//!
//! `TRIVET_TEST_UPDATES=1` does it in full, with 10,000 allocations and on every page that lists
//! something, prints a table and keeps to the bounds of a machine that does nothing else.

use super::browser::Browser;
use crate::harness::{Agent, Echo, http, load::Load};
use serde_json::json;
use std::time::Duration;

/// The longest that an update may hold the page, at the 95th of 100, in milliseconds.
const UPDATE_MS_MAX: f64 = 16.0;
/// On a machine that others use too, only a bound many times as large tells anything.
const BUSY: f64 = 20.0;
/// Bytes that come over the wire until the first page is there.
const LOAD_BYTES_MAX: f64 = 150_000.0;
/// Until the first page shows something, in milliseconds.
const FIRST_CONTENT_MS_MAX: f64 = 300.0;

const JOBS: usize = 1000;
const UPDATES: usize = 60;

/// Measures tasks from before the first of the page: reading answers, and drawing with the layout
/// that follows from it.
const MEASURE: &str = "
    window.took = { read: [], draw: [] };
    window.shift = 0;
    const parse = JSON.parse;
    JSON.parse = (text, ...rest) => {
      const start = performance.now();
      const value = parse(text, ...rest);
      if (text.length > 5000) took.read.push(performance.now() - start);
      return value;
    };
    const frame = requestAnimationFrame;
    window.requestAnimationFrame = (draw) => frame((at) => {
      const start = performance.now();
      draw(at);
      document.body.offsetHeight;
      took.draw.push(performance.now() - start);
    });
    new PerformanceObserver((list) => {
      for (const own of list.getEntries()) if (!own.hadRecentInput) shift += own.value;
    }).observe({ type: 'layout-shift' });
";

fn job(at: usize, meta: usize, is_full: bool) -> serde_json::Value {
    // Without allocations nothing is placed: no node has that much.
    let (count, memory) = if is_full { (10, 10) } else { (1, 10_000_000) };
    json!({"Job": {
        "ID": format!("job-{at:04}"), "Type": "batch", "Meta": {"n": meta.to_string()},
        "TaskGroups": [{"Name": "g", "Count": count, "Tasks": [{
            "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
            "Resources": {"CPU": 1, "MemoryMB": memory},
        }]}],
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_a_thousand_jobs_stay_smooth() {
    let is_full = std::env::var_os("TRIVET_TEST_UPDATES").is_some();
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let script = json!({"source": MEASURE});
    page.call("Page.addScriptToEvaluateOnNewDocument", script)
        .await;
    loads_little(&page, is_full).await;

    let url = agent.url("http", "/v1/jobs");
    for chunk in (0..JOBS).collect::<Vec<usize>>().chunks(50) {
        let puts = chunk.iter().map(|at| {
            let (url, body) = (url.clone(), job(*at, 0, is_full));
            async move { http::put(&url, &body).await }
        });
        futures_util::future::join_all(puts).await;
    }
    let web = Echo::new("web", 2);
    web.run(&agent).await;
    if is_full {
        all_ran(&agent).await;
    }
    page.open("/jobs").await;
    page.wait_text("1,001 jobs").await;
    // Only rows in view exist, and scrolling brings the others.
    let rows = page
        .value("document.querySelectorAll('main tbody tr').length")
        .await;
    assert!(rows.as_u64().expect("a number") < 300, "{rows}");
    page.value("scrollTo(0, document.body.scrollHeight)").await;
    page.wait_text("job-0999").await;
    page.value("scrollTo(0, 0)").await;
    page.wait_text("job-0000").await;

    let pages: &[&str] = match is_full {
        false => &["/jobs"],
        true => &[
            "/jobs",
            "/",
            "/jobs/job-0000@default",
            "/topology",
            "/evaluations",
            "/services",
            "/routes",
            "/events",
        ],
    };
    let load = Load::start(
        agent.address("ingress"),
        "/web",
        20,
        Duration::from_secs(10),
    );
    let mut table = String::from("| page | updates | read p95 | draw p95 | draw max | shift |\n");
    let mut beyond = Vec::new();
    for path in pages {
        page.go(path).await;
        page.value("(took.read = [], took.draw = [], shift = 0)")
            .await;
        for update in 0..UPDATES {
            let at = update * 7 % 100;
            http::put(&url, &job(at, update + 1, false)).await;
        }
        page.wait("took.draw.length > 5").await;
        let measured = page
            .value(
                "(() => { const at = (all, part) => [...all].sort((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * part))] ?? 0; \
                 return [took.draw.length, at(took.read, 0.95), at(took.draw, 0.95), Math.max(0, ...took.draw), shift]; })()",
            )
            .await;
        let figure = |at: usize| measured[at].as_f64().expect("a number");
        let (count, read, draw, most, shift) =
            (figure(0), figure(1), figure(2), figure(3), figure(4));
        table.push_str(&format!(
            "| {path} | {count} | {read:.1} ms | {draw:.1} ms | {most:.1} ms | {shift:.3} |\n"
        ));
        let bound = if is_full {
            UPDATE_MS_MAX
        } else {
            UPDATE_MS_MAX * BUSY
        };
        if read > bound || draw > bound || shift >= 0.01 {
            beyond.push(format!(
                "{path}: {read:.1} ms, {draw:.1} ms, shift {shift:.3}"
            ));
        }
    }
    load.stop().await;
    eprintln!("{table}");
    assert!(beyond.is_empty(), "{beyond:#?}");
    page.end_clean();
}

/// The first page comes with few bytes, compressed, and soon.
async fn loads_little(page: &Browser, is_full: bool) {
    // The second time the browser itself has started, and has nothing of the page yet.
    let cache = |is_off: bool| json!({"cacheDisabled": is_off});
    page.call("Network.setCacheDisabled", cache(true)).await;
    for _ in 0..2 {
        page.open("/").await;
        page.wait("document.querySelector('main [aria-busy]') === null")
            .await;
    }
    page.call("Network.setCacheDisabled", cache(false)).await;
    let bytes = page
        .value(
            "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))\
             .filter((own) => !own.name.includes('/v1/')).reduce((sum, own) => sum + own.encodedBodySize, 0)",
        )
        .await;
    let bytes = bytes.as_f64().expect("a number");
    assert!(bytes > 10_000.0 && bytes < LOAD_BYTES_MAX, "{bytes} bytes");
    page.wait("performance.getEntriesByName('first-contentful-paint').length === 1")
        .await;
    let first = page
        .value("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        .await;
    let first = first.as_f64().expect("a time");
    // Who waits for a processor shows nothing, however little there is to do.
    assert!(!is_full || first < FIRST_CONTENT_MS_MAX, "{first} ms");
}

/// Waits until every allocation has run.
async fn all_ran(agent: &Agent) {
    let start = tokio::time::Instant::now();
    loop {
        let jobs = http::get(&agent.url("http", "/v1/trivet/jobs")).await;
        let counts = jobs.as_array().expect("jobs").iter();
        let complete = counts.map(|job| job["Counts"]["Complete"].as_u64().unwrap_or(0));
        let complete: u64 = complete.sum();
        if complete >= 10 * JOBS as u64 {
            return;
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(600), "{complete} after {took:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
