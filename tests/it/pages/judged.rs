//! The deployment panel: a canary that goes through its steps, and what an operator does about it.

use super::browser::Browser;
use crate::{
    harness::{Agent, Echo, http, load::Load},
    walkthrough::targets,
};
use std::time::Duration;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_the_steps_of_a_canary_are_shown_and_moved() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let mut job = Echo::new("shop", 3);
    job.service =
        "meta {\n rollout_steps = \"10,50\"\n rollout_hold = \"10m\"\n rollout_warmup = \"0s\"\n}"
            .into();
    job.update =
        "canary = 1\nmax_parallel = 3\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
            .into();
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    targets(&agent, "shop", 3).await;
    let load = Load::start(agent.address("ingress"), "/shop", 50, TIMEOUT);
    job.text = "new".into();
    job.register(&agent).await;

    // Where it is, what is missing, and both versions side by side.
    page.open("/jobs/shop@default/deployments").await;
    page.wait_text("1 of 4 instances run the new version as a canary.")
        .await;
    page.wait_text("Step 1 of 2").await;
    page.wait("/Step 1 of 2, .*9m\\d+s left, .* good attempts needed/.test(document.querySelector('.judge').innerText)")
        .await;
    page.wait("document.querySelector('.steps .current').innerText === '10 %'")
        .await;
    let figure = |side: &str, name: &str| {
        format!(
            "[...document.querySelectorAll('.side{side} dl > div')].find((own) => own.querySelector('dt').innerText === '{name}')?.querySelector('dd').innerText"
        )
    };
    let new = |name: &str| figure(".new", name);
    let stable = |name: &str| figure(":not(.new)", name);
    page.wait(&format!("{} === '10 %'", new("Share configured")))
        .await;
    page.wait(&format!("{} === '90 %'", stable("Share configured")))
        .await;
    page.wait(&format!("{} === '10 %'", new("Share effective")))
        .await;
    for side in [new("Requests/s"), stable("Requests/s")] {
        page.wait(&format!("parseFloat({side}) > 0")).await;
    }
    for (figure, value) in [
        ("Success", "100 %"),
        ("Restarts", "0"),
        ("Healthy", "1 of 1"),
    ] {
        page.wait(&format!("{} === '{value}'", new(figure))).await;
    }
    for side in [new("p50"), new("p99"), stable("p50")] {
        page.wait(&format!("{side}.endsWith(' ms')")).await;
    }
    page.wait("document.querySelector('.judge .state').innerText === 'judging' && document.querySelector('.verdict').innerText !== ''")
        .await;

    // An operator sets the share, goes on, holds and fails it.
    page.press("Set the share").await;
    page.paste("dialog input[name=share]", "30").await;
    page.confirm("trivet rollout set-share -group web ", "Set")
        .await;
    page.wait(&format!("{} === '30 %'", new("Share configured")))
        .await;
    page.wait_text("the share was set by hand").await;
    page.press("Go on").await;
    page.confirm("trivet rollout resume -group web ", "Go on")
        .await;
    page.wait(&format!("{} === '10 %'", new("Share configured")))
        .await;
    page.press("Next step").await;
    page.confirm("trivet rollout next -group web ", "Next step")
        .await;
    page.wait_text("Step 2 of 2").await;
    page.wait(&format!("{} === '50 %'", new("Share configured")))
        .await;
    page.press("Step back").await;
    page.confirm("trivet rollout back -group web ", "Step back")
        .await;
    page.wait(&format!("{} === '10 %'", new("Share configured")))
        .await;
    page.wait("document.querySelector('.transitions').textContent.includes(' by web UI: ')")
        .await;
    page.press("Pause").await;
    page.confirm("trivet deployment pause ", "Pause").await;
    page.wait("document.querySelector('.panel-head .state').innerText === 'paused'")
        .await;
    page.press("Resume").await;
    page.confirm("trivet deployment resume ", "Resume").await;
    page.wait("document.querySelector('.panel-head .state').innerText === 'running'")
        .await;
    page.press("Fail").await;
    page.confirm("trivet deployment fail ", "Fail").await;
    page.wait("document.querySelector('.panel-head .state').innerText === 'failed'")
        .await;
    page.wait("document.querySelector('.judge .state').innerText === 'aborted'")
        .await;
    page.wait("document.querySelector('.verdict').innerText.includes('failed')")
        .await;
    load.stop().await;
    let deployment = http::get(&agent.url("http", "/v1/job/shop/deployment")).await;
    assert_eq!(deployment["Status"], "failed", "{deployment}");
    page.end_clean();
}
