//! The web UI in a browser, as people use it.

mod acted;
mod allocation;
mod browser;
mod chromium;
mod crowd;
mod drained;
mod edited;
mod judged;
mod looked;
mod lost;
mod smooth;
mod tour;

use crate::harness::{Agent, Echo, http, raw};
use browser::Browser;
use serde_json::json;

async fn put_key(agent: &Agent, key: &str, value: &str) {
    let (address, path) = (agent.address("catalog"), format!("/v1/kv/{key}"));
    let host = [("host", "localhost")];
    let answer = raw::send(address, "PUT", &path, &host, value).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Widths at which every page fits.
const WIDTHS: [u32; 2] = [1280, 360];
/// Where the text of a job is put.
const TEXT: &str = "#text textarea";

/// The job `web`, whose new versions begin with a canary.
fn with_canary(count: u32, text: &str) -> Echo {
    Echo {
        update:
            "canary = 1\nmax_parallel = 5\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
                .into(),
        text: text.into(),
        ..Echo::new("web", count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_the_walkthrough_is_done_in_a_browser() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    // From an empty page: paste, plan, run, running.
    page.open("/").await;
    page.wait_text("Nothing runs yet").await;
    page.press("Run a job").await;
    page.paste(TEXT, &with_canary(5, "one").hcl()).await;
    page.wait_text("No problems: job “web”.").await;
    page.wait("document.querySelector('main pre.warning').innerText.includes('shutdown_delay')")
        .await;
    page.press("Plan").await;
    page.wait_text("All of it can be placed.").await;
    page.wait_text("place 5").await;
    page.press("Run").await;
    page.wait("location.pathname === '/ui/jobs/web@default'")
        .await;
    page.wait("document.querySelector('main [aria-label=\"web: 5 running\"]')")
        .await;
    with_canary(5, "one")
        .deployment(&agent, 0, "successful")
        .await;

    // Scale to four.
    page.press("Scale").await;
    page.paste("dialog input[name=count]", "4").await;
    page.wait("document.querySelector('dialog code').textContent === 'trivet job scale web web 4'")
        .await;
    page.press("Scale").await;
    page.wait("document.querySelector('main [aria-label^=\"web: 4 running\"]')")
        .await;
    page.press("Scale").await;
    page.paste("dialog input[name=count]", "5").await;
    page.press("Scale").await;
    page.wait("document.querySelector('main [aria-label^=\"web: 5 running\"]')")
        .await;

    // A new version with a canary.
    page.open("/jobs/run").await;
    page.paste(TEXT, &with_canary(5, "two").hcl()).await;
    page.press("Plan").await;
    page.wait_text("place 1 as canary").await;
    page.press("Run").await;
    page.wait_text("1 of 6 instances run the new version as a canary.")
        .await;
    // A canary is promoted when it is well.
    page.wait_text("1 of 1 healthy").await;
    page.press("Promote").await;
    page.confirm("trivet deployment promote ", "Promote").await;
    page.open("/jobs/web@default/deployments").await;
    page.wait(
        "document.querySelector('section.panel h2').textContent === 'Version 3' \
         && document.querySelector('section.panel .state').textContent === 'successful'",
    )
    .await;

    // What changed from one version to the next, and the end.
    page.open("/jobs/web@default/versions").await;
    page.wait_text("Version 1").await;
    page.wait_text("\"one\" => \"two\"").await;
    page.press("Stop").await;
    page.confirm("trivet job stop web", "Stop").await;
    page.wait_text("stopped").await;
    page.wait(
        "[...document.querySelectorAll('main button')].some((own) => own.textContent === 'Purge')",
    )
    .await;
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_problems_stand_at_their_line() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    page.open("/jobs/run").await;
    for (text, lines) in [
        (
            "job \"web\" {\n  group \"g\" {\n    count = \n  }\n}\n",
            vec!["3"],
        ),
        (
            "job \"web\" {\n  foo = 1\n  group \"g\" {\n    task \"t\" {\n      driver = \"raw_exec\"\n      bar = 2\n    }\n  }\n}\n",
            vec!["2", "6"],
        ),
        (
            "job \"web\" {\n  group \"g\" {\n    count = -1\n    task \"t\" {\n      driver = \"raw_exec\"\n      config { command = \"true\" }\n    }\n  }\n}\n",
            vec!["3"],
        ),
    ] {
        page.paste(TEXT, text).await;
        let marked = "[...document.querySelectorAll('.editor-line.bad .number')].map((own) => own.textContent).join(' ')";
        page.wait(&format!("{marked} === {}", json!(lines.join(" "))))
            .await;
        page.wait("document.querySelector('section.problems') !== null")
            .await;
        page.wait("['key', 'string'].every((own) => document.querySelector(`.editor-line .t-${own}`) !== null)")
            .await;
        let is_off = "[...document.querySelectorAll('main button')].find((own) => own.textContent === 'Run').disabled";
        page.wait(is_off).await;
    }
    // Refusals are seen in the console, whatever the page does with them.
    let problems = page.problems();
    let others: Vec<&String> = problems
        .iter()
        .filter(|problem| !problem.contains("/v1/jobs/parse"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_logs_of_five_allocations_are_merged_and_followed() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let job = json!({"Job": {
        "ID": "chatty", "Type": "service",
        "TaskGroups": [{"Name": "g", "Count": 5, "Tasks": [{
            "Name": "t", "Driver": "raw_exec",
            "Config": {"command": "/bin/sh", "args": ["-c",
                "for second in 0 5; do echo 2020-01-01T00:00:0$((second + NOMAD_ALLOC_INDEX))Z dated; done; \
                 echo out-$NOMAD_ALLOC_INDEX; echo err-$NOMAD_ALLOC_INDEX >&2; \
                 while :; do sleep 0.3; echo again-$NOMAD_ALLOC_INDEX; done"]},
            "Resources": {"CPU": 20, "MemoryMB": 16},
        }]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    page.open("/jobs/chatty@default/logs").await;
    // Only what fits is in the page: what scrolls away on a slow machine is looked for by its text.
    let search = "main input[type=search]";
    for text in ["out", "again"] {
        page.paste(search, &format!("{text}-")).await;
        for at in 0..5 {
            page.wait_text(&format!("{text}-{at}")).await;
        }
    }
    // Lines that say when they were written stand in that order, whoever wrote them.
    page.paste(search, "dated").await;
    page.wait("[...document.querySelectorAll('.log-line bdi')].map((own) => own.innerText.slice(18, 19)).join('') === '0123456789'")
        .await;

    // Who looks at earlier lines is left there, and the end is followed again when that is wanted.
    page.paste(search, "again-").await;
    let at_end = "(() => { const log = document.querySelector('.log'); return log.scrollHeight - log.clientHeight - log.scrollTop < 40; })()";
    page.wait(&format!("document.querySelector('.log').scrollHeight > document.querySelector('.log').clientHeight + 200 && {at_end}"))
        .await;
    page.value("document.querySelector('.log').scrollTop = 0")
        .await;
    let follows = "[...document.querySelectorAll('main label.check')].find((own) => own.innerText.includes('follow')).querySelector('input')";
    page.wait(&format!("!{follows}.checked")).await;
    let height = page
        .value("document.querySelector('.log').scrollHeight")
        .await;
    page.wait(&format!(
        "document.querySelector('.log').scrollHeight > {height}"
    ))
    .await;
    assert_eq!(
        page.value("document.querySelector('.log').scrollTop").await,
        0
    );
    page.value(&format!("{follows}.click()")).await;
    page.wait(at_end).await;

    // Standard error only, then by text.
    page.choose("select[aria-label=Output]", "stderr").await;
    page.wait("!document.querySelector('main').innerText.includes('again-')")
        .await;
    page.paste(search, "-").await;
    for at in 0..5 {
        page.wait_text(&format!("err-{at}")).await;
    }
    assert!(!page.text().await.contains("again-"));
    page.paste(search, "err-3").await;
    page.wait("document.querySelectorAll('.log-line').length === 1")
        .await;
    page.value("document.querySelector('main .check input').click()")
        .await;
    page.paste(search, "^err-[13]$").await;
    page.wait("document.querySelectorAll('.log-line').length === 2")
        .await;
    page.end_clean();
}

/// Markup, colors of a terminal, and a mark that would turn what follows it.
const HOSTILE: &str = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>\u{1b}[31m\u{202e}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_hostile_texts_are_shown_as_text() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    // The longest line of a task has a megabyte, and there are colors, tricks and marks.
    let line = "head -c 1000000 /dev/zero | tr '\\0' 'x'; echo; \
                printf '\\033]0;title\\007\\033[31mred\\033[0m \\342\\200\\256turned <b>bold</b>\\n'; \
                echo after; sleep 1000";
    let wide = format!("{}{HOSTILE}", "w".repeat(990_000));
    let written = json!({"Source": wide, "Format": "json"});
    let job = json!({"Submission": written, "Job": {
        "ID": "evil", "Name": HOSTILE, "Type": "service", "Meta": {"m": HOSTILE},
        "UI": {"Links": [{"Label": HOSTILE, "URL": "javascript:document.title='broken'"}]},
        "TaskGroups": [{"Name": "g", "Count": 1,
            "Services": [{"Name": "evil", "Tags": [HOSTILE], "Provider": "consul"}],
            "Tasks": [{
                "Name": "t", "Driver": "raw_exec",
                "Config": {"command": "/bin/sh", "args": ["-c", line]},
                "Resources": {"CPU": 20, "MemoryMB": 32},
            }]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    // A task that cannot start says why in the same words, and so does a check.
    let failing = json!({"Job": {
        "ID": "<b>fails</b>", "Type": "batch", "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec", "Config": {"command": format!("/{HOSTILE}")},
            "Resources": {"CPU": 20, "MemoryMB": 16},
        }]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &failing).await;
    let told = json!({"Name": "told", "Tags": [HOSTILE], "Meta": {"m": HOSTILE},
        "Check": {"CheckID": "told", "Name": HOSTILE, "TTL": "10m"}});
    http::put(&agent.url("catalog", "/v1/agent/service/register"), &told).await;
    let output = json!({"Status": "warning", "Output": wide});
    http::put(
        &agent.url("catalog", "/v1/agent/check/update/told"),
        &output,
    )
    .await;
    let variable = json!({"Path": "evil", "Items": {"<i>name</i>": HOSTILE}});
    http::put(&agent.url("http", "/v1/var/evil"), &variable).await;
    let routes = "route add <b>svc</b> /<i>x</i> http://127.0.0.1:9/\n";
    let host = [("host", "localhost")];
    let written = raw::send(
        agent.address("http"),
        "PUT",
        "/v1/trivet/routes/overrides",
        &host,
        routes,
    )
    .await;
    assert_eq!(written.status, 200, "{written:?}");
    put_key(&agent, "%3Cb%3Ekey%3C/b%3E", HOSTILE).await;
    let wide = format!("{}{HOSTILE}", "w".repeat(500_000));
    put_key(&agent, "wide", &wide).await;

    page.open("/jobs/evil@default").await;
    page.wait_text("onerror").await;
    // Even what got into the page could neither run nor speak to anybody else.
    page.value("(() => { const own = document.createElement('script'); own.textContent = \"document.title = 'broken'\"; document.body.append(own); own.remove(); })()")
        .await;
    let beside = format!("http://{}/v1/agent/self", agent.address("catalog"));
    let reached = format!(
        "fetch({}, {{ mode: 'no-cors' }}).then(() => true, () => false)",
        json!(beside)
    );
    assert_eq!(page.value(&reached).await, false);
    let problems = page.problems();
    let refused = |own: &String| own.contains("Content Security Policy");
    assert!(
        problems.len() >= 2 && problems.iter().all(refused),
        "{problems:?}"
    );
    page.requests();
    let link = page
        .value("document.querySelectorAll('a[href^=\"javascript\"]').length")
        .await;
    assert_eq!(link, 0);
    page.open("/jobs/evil@default/logs").await;
    page.wait_text("after").await;
    page.wait_text("turned <b>bold</b>").await;
    page.wait_text("⟨202E⟩").await;
    assert_eq!(
        page.value("document.querySelectorAll('.log .a-red').length")
            .await,
        1
    );
    page.wait_text("more characters").await;
    page.open("/services").await;
    page.wait_text("onerror").await;
    for width in WIDTHS {
        page.size(width, 900).await;
        let beyond = page.beyond_window().await;
        assert!(beyond <= 0.0, "{beyond} px too wide at {width}");
    }
    page.size(WIDTHS[0], 900).await;
    page.go("/services/told").await;
    for text in ["<script>", "www"] {
        page.wait(&format!(
            "[...document.querySelectorAll('.check-row')].some((own) => own.innerText.includes('{text}'))"
        ))
        .await;
    }
    page.go("/routes").await;
    page.wait_text("/<i>x</i>").await;
    page.wait_text("<b>svc</b>").await;
    page.go("/variables/var/evil@default").await;
    page.wait_text("<i>name</i>").await;
    page.press("Show").await;
    page.wait_text("onerror").await;
    page.go("/jobs/%3Cb%3Efails%3C%2Fb%3E@default/allocations")
        .await;
    page.wait("document.querySelector('main [data-row]') !== null")
        .await;
    page.click("main [data-row]").await;
    page.wait_text("Driver Failure").await;
    page.wait_text("onerror").await;
    page.wait_text("<b>fails</b>").await;
    page.go("/evaluations").await;
    page.wait_text("<b>fails</b>").await;
    page.paste("#search", "<b>f").await;
    page.wait("document.querySelector('[role=option]')?.innerText.includes('<b>fails</b>')")
        .await;
    page.open("/kv/%3Cb%3Ekey%3C/b%3E?key=true").await;
    page.wait("document.querySelector('main textarea')?.value.includes('onerror')")
        .await;
    page.go("/kv/wide?key=true").await;
    page.wait("document.querySelector('main textarea')?.value.length > 500000")
        .await;
    page.go("/jobs").await;
    page.wait_text("evil").await;
    // The text of the job is as long as its longest line, and is text.
    page.go("/jobs/evil@default/definition").await;
    page.wait("document.querySelector('.editor').innerText.includes('wwww')")
        .await;
    let beyond = page.beyond_window().await;
    assert!(beyond <= 0.0, "{beyond} px too wide");
    assert_ne!(page.value("document.title").await, "broken");
    assert_eq!(
        page.value("document.querySelectorAll('main img, main script').length")
            .await,
        0
    );
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_keys_lead_through_the_pages_and_read_only_ones_change_nothing() {
    let more = "ingress {\n  enabled = false\n}\nui {\n  read_only = true\n  label {\n    text = \"staging\"\n  }\n}";
    let agent = Agent::start_with(crate::harness::agent::Mode::Dev, more).await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    for id in ["alpha", "beta"] {
        Echo::new(id, 1).run(&agent).await;
    }
    page.open("/jobs").await;
    page.wait_text("beta").await;
    page.wait("document.querySelector('header').innerText.includes('staging')")
        .await;
    page.wait("document.querySelector('header').innerText.includes('read-only')")
        .await;
    page.wait(
        "![...document.querySelectorAll('main a')].some((own) => own.textContent === 'Run a job')",
    )
    .await;
    // What the agent does not have is not in the menu.
    page.wait("/Services\\nTopology/.test(document.querySelector('nav').innerText)")
        .await;
    page.key("/").await;
    page.wait("document.activeElement.type === 'search'").await;
    page.value("document.activeElement.blur()").await;
    page.key("j").await;
    page.key("j").await;
    page.wait("document.activeElement.textContent === 'beta'")
        .await;
    page.key("k").await;
    page.wait("document.activeElement.textContent === 'alpha'")
        .await;
    page.key("?").await;
    page.wait(
        "document.querySelector('dialog[open]')?.innerText.includes('next and previous row')",
    )
    .await;
    page.press("Close").await;
    page.open("/jobs/alpha@default").await;
    page.wait_text("Task groups").await;
    let labels = "[...document.querySelectorAll('main button')].map((own) => own.textContent)";
    let labels = page.value(labels).await;
    for action in ["Stop", "Scale", "Restart"] {
        let list = labels.as_array().expect("labels");
        assert!(!list.contains(&json!(action)), "{labels}");
    }
    // Nowhere is anything that changes something: a button only copies, sorts or moves a view.
    let first = async |path: &str| {
        let rows = http::get(&agent.url("http", path)).await;
        rows[0]["ID"].as_str().expect("an id").to_owned()
    };
    let (alloc, node) = (first("/v1/allocations").await, first("/v1/nodes").await);
    put_key(&agent, "app/name", "trivet").await;
    let variable = json!({"Path": "app/db", "Items": {"user": "admin"}});
    http::put(&agent.url("http", "/v1/var/app/db"), &variable).await;
    for path in [
        "/",
        "/jobs/run",
        "/jobs/alpha@default/deployments",
        "/jobs/alpha@default/versions",
        "/jobs/alpha@default/definition",
        "/kv",
        "/kv/app/name?key=true",
        "/variables",
        "/variables/var/app/db@default",
        "/services/alpha",
        "/servers",
        &format!("/allocations/{alloc}"),
        &format!("/clients/{node}"),
    ] {
        page.go(path).await;
        let labels = "[...document.querySelectorAll('main button:not(.sort):not(.link), main a.button, main .tabs a')].map((own) => own.textContent)\
             .filter((own) => !['Copy', 'Test', 'Show', 'Logs', 'Overview', 'Allocations', 'Deployment', 'Versions', 'Evaluations', 'Definition', 'Files'].includes(own))";
        assert_eq!(page.value(labels).await, json!([]), "{path}");
        let fields = "document.querySelectorAll('main textarea:not([readonly])').length";
        assert_eq!(page.value(fields).await, 0, "{path}");
    }
    page.end_clean();
    drop(agent);

    // Neither where a rollout waits, nor where the routes are.
    let agent = Agent::start_with(
        crate::harness::agent::Mode::Dev,
        "ui {\n  read_only = true\n}",
    )
    .await;
    let page = Browser::at(&agent).await.expect("chromium is there");
    let web = with_canary(1, "one");
    web.run(&agent).await;
    web.deployment(&agent, 0, "successful").await;
    with_canary(1, "two").register(&agent).await;
    page.open("/jobs/web@default/deployments").await;
    page.wait_text("1 of 2 instances run the new version as a canary.")
        .await;
    page.wait_text("1 of 1 healthy").await;
    let buttons = "[...document.querySelectorAll('main button')].map((own) => own.textContent)";
    assert_eq!(page.value(buttons).await, json!(["Copy"]));
    page.go("/routes").await;
    page.wait_text("/web").await;
    let buttons =
        "[...document.querySelectorAll('main button:not(.link)')].map((own) => own.textContent)";
    assert_eq!(page.value(buttons).await, json!(["Test", "Copy"]));
    page.end_clean();
}
