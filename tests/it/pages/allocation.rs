//! An allocation, looked into: what happened to its tasks, its files, and a command in it.

use super::browser::Browser;
use crate::harness::{Agent, Echo};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_an_allocation_is_looked_into() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let web = Echo::new("web", 1);
    web.run(&agent).await;
    let running = web.running(&agent, 1).await;
    let id = running[0]["ID"].as_str().expect("an id");
    page.open(&format!("/allocations/{id}")).await;
    for text in ["Task started by client", "Usage", "Checks", "passing"] {
        page.wait_text(text).await;
    }

    page.wait("/^http: 127.0.0.1:\\d+$/.test([...document.querySelectorAll('dt')].find((own) => own.innerText === 'Addresses').nextSibling.innerText)")
        .await;

    // What it writes, as it writes it.
    page.go(&format!("/allocations/{id}/logs")).await;
    page.wait(
        "document.querySelector('.log-line')?.innerText.startsWith('listening on 127.0.0.1:')",
    )
    .await;

    // Files, down to what the task wrote.
    page.go(&format!("/allocations/{id}/files")).await;
    for name in ["alloc/", "logs/", "server.stdout.0"] {
        page.press(name).await;
    }
    page.wait_text("listening on 127.0.0.1").await;

    // A command with a terminal.
    page.go(&format!("/allocations/{id}/exec")).await;
    page.press("Start").await;
    page.wait("document.querySelector('.screen').innerText.trim() !== ''")
        .await;
    page.paste("main .terminal textarea", "echo it-is-$((40 + 2))")
        .await;
    page.key("Enter").await;
    page.wait("document.querySelector('.screen').innerText.includes('it-is-42')")
        .await;
    page.paste("main .terminal textarea", "exit 3").await;
    page.key("Enter").await;
    page.wait_text("ended with 3").await;
    page.end_clean();
}
