//! What is done with a job and its allocations in their pages, each with its command line.

use super::{TEXT, browser::Browser};
use crate::harness::{Agent, Echo, http};
use serde_json::json;

/// Lines of measured usage that are drawn.
const DRAWN: &str = "document.querySelectorAll('section[aria-label=Usage] svg polyline').length";

/// Keeps what the page says in its corner, which is there for some seconds only.
const HEARD: &str = "
    window.heard = [];
    new MutationObserver(() => {
      const said = document.querySelector('#said')?.textContent;
      if (said) heard.push(said);
    }).observe(document, { subtree: true, childList: true, characterData: true });
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_a_job_goes_back_and_its_tasks_are_restarted() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let mut web = Echo::new("web", 1);
    web.run(&agent).await;
    web.deployment(&agent, 0, "successful").await;
    web.text = "two".into();
    web.register(&agent).await;
    web.deployment(&agent, 1, "successful").await;

    // The version before, again.
    let script = json!({"source": HEARD});
    page.call("Page.addScriptToEvaluateOnNewDocument", script)
        .await;
    page.open("/jobs/web@default/versions").await;
    page.wait_text("\"one\" => \"two\"").await;
    page.press("Revert to it").await;
    page.confirm("trivet job revert web 0", "Revert").await;
    page.wait("document.querySelector('main .pills').innerText.includes('version 2')")
        .await;
    web.deployment(&agent, 2, "successful").await;
    page.wait_text("\"two\" => \"one\"").await;

    // Its tasks once more, all of them and those of one allocation.
    page.press("Restart").await;
    page.confirm("for id in $(trivet job allocs ", "Restart")
        .await;
    page.wait("heard.includes('1 allocation of web restarted.')")
        .await;
    let running = web.running(&agent, 1).await;
    let id = running[0]["ID"].as_str().expect("an id");
    page.go(&format!("/allocations/{id}")).await;
    page.wait_text("User requested running tasks to restart")
        .await;
    // Between its end and its next start there is nobody to take a signal.
    let starts = "document.querySelector('main').innerText.split('Task started by client').length";
    page.wait(&format!("{starts} === 3")).await;
    page.press("Signal").await;
    page.paste("dialog input", "SIGCONT").await;
    page.confirm("trivet alloc signal -s SIGCONT ", "Send")
        .await;
    page.wait_text("Task being sent signal").await;
    page.wait(&format!("{DRAWN} === 2")).await;
    page.press("Restart").await;
    page.confirm("trivet alloc restart ", "Restart").await;
    page.wait("heard.includes('web.web[0] is restarted.')")
        .await;
    page.press("Stop").await;
    page.confirm("trivet alloc stop ", "Stop").await;
    page.wait(
        "[...document.querySelectorAll('dt')].some((own) => own.innerText === 'Replaced by')",
    )
    .await;

    // The end, a new beginning from what was submitted, and the end for good.
    page.go("/jobs/web@default").await;
    page.press("Stop").await;
    page.confirm("trivet job stop web", "Stop").await;
    page.press("Run again").await;
    page.wait("location.pathname === '/ui/jobs/run'").await;
    page.wait("document.querySelector('main textarea').value.includes('\"ID\": \"web\"')")
        .await;
    page.wait_text("No problems: job “web”.").await;
    page.go("/jobs/web@default").await;
    page.press("Purge").await;
    page.confirm("trivet job stop -purge web", "Purge").await;
    page.wait("location.pathname === '/ui/jobs'").await;
    page.wait_text("There are no jobs.").await;
    page.end_clean();
}

/// A job that has a count from outside and asks for much memory.
const ASKING: &str = r#"variable "count" {
  type = number
}
variable "memory" {
  type    = number
  default = 10
}
job "asks" {
  type = "batch"
  group "g" {
    count = var.count
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["1000"]
      }
      resources {
        cpu    = 10
        memory = var.memory
      }
    }
  }
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_a_plan_says_what_does_not_fit_and_what_would_change() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let variables = "main label.stacked textarea";
    page.open("/jobs/run").await;
    page.paste(TEXT, ASKING).await;
    page.wait_text("1 problem").await;
    page.press("Variables").await;
    page.paste(variables, "count = 2\nmemory = 10000000\n")
        .await;
    page.wait_text("No problems: job “asks”.").await;
    page.press("Plan").await;
    page.wait_text("“g” is not placed: 1 node has too little memory left")
        .await;
    let command = page
        .value("[...document.querySelectorAll('main .command code')].at(-1).textContent")
        .await;
    assert_eq!(command, "trivet job run -check-index 0 FILE");
    page.paste(variables, "count = 2\n").await;
    page.wait_text("No problems: job “asks”.").await;
    page.press("Plan").await;
    page.wait_text("All of it can be placed.").await;
    page.press("Run").await;
    page.wait("document.querySelector('main [aria-label=\"g: 2 running\"]')")
        .await;

    // The values of the variables come back with the text, and a plan shows the difference.
    page.go("/jobs/asks@default/definition").await;
    page.wait_text("count = 2").await;
    page.press("Edit").await;
    page.wait(&format!(
        "document.querySelector('{variables}')?.value.includes('count = 2')"
    ))
    .await;
    page.paste(variables, "count = 3\n").await;
    page.wait_text("No problems: job “asks”.").await;
    page.press("Plan").await;
    page.wait_text("place 1").await;
    page.wait_text("Count: \"2\" => \"3\"").await;

    // Somebody else was faster: what was looked at is run, or nothing.
    let scale = json!({"Count": 1, "Target": {"Group": "g"}});
    http::put(&agent.url("http", "/v1/job/asks/scale"), &scale).await;
    page.press("Run").await;
    page.wait("document.querySelector('main [role=alert]')?.innerText.includes('index')")
        .await;
    let job = http::get(&agent.url("http", "/v1/job/asks")).await;
    assert_eq!(job["TaskGroups"][0]["Count"], 1);

    // JSON is taken too, and its problems have a line.
    page.paste(TEXT, "{\n  \"ID\": \"j\",\n  oops\n}\n").await;
    page.wait("document.querySelector('.editor-line.bad .number')?.textContent === '3'")
        .await;
    page.problems();
    page.end_clean();
}
