//! Agents that are lost and come back, as the pages show it.

use super::browser::Browser;
use crate::{
    cluster::Addresses,
    harness::{Agent, Echo, agent::Mode, eventually, http, load::Load},
};
use serde_json::json;
use std::time::Duration;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_a_page_that_could_not_be_loaded_is_asked_for_again() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    page.open("/jobs").await;
    let block = async |urls: &[&str]| {
        page.call("Network.setBlockedURLs", json!({"urls": urls}))
            .await;
    };
    block(&["*/ui/pages/services.js"]).await;
    page.press("Services").await;
    page.wait_text("This page could not be loaded").await;
    let is_of_it =
        |problem: &String| problem.contains("services.js") && problem.contains("Failed to fetch");
    eventually("the browser's own word of it", async || {
        let mut said = page.problems();
        said.extend(page.excused());
        match said.iter().any(is_of_it) {
            true => Ok(()),
            false => Err(format!("{said:#?}")),
        }
    })
    .await;
    // Another page does not wait for it.
    page.press("Evaluations").await;
    page.wait("document.querySelector('main h1').innerText === 'Evaluations'")
        .await;
    page.press("Services").await;
    page.wait_text("This page could not be loaded").await;
    block(&[]).await;
    page.wait("document.querySelector('main h1').innerText === 'Services'")
        .await;
    page.problems();
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_a_lost_agent_and_its_return_are_seen() {
    let server = Agent::start_with(
        Mode::Server,
        "server {\n  enabled = true\n  bootstrap_expect = 1\n}\n",
    )
    .await;
    let Some(page) = Browser::at(&server).await else {
        return;
    };
    let join = format!(
        "client {{\n  servers = [\"{}\"]\n}}\n",
        server.address("rpc")
    );
    let mut client = Agent::start_with(Mode::Client, &join).await;
    page.open("/topology?view=table").await;
    page.wait_text("ready").await;

    // The server's pages show what the ingress of the other agent counts.
    Echo::new("web", 1).run(&client).await;
    let load = Load::start(client.address("ingress"), "/web", 50, TIMEOUT);
    load.more(10).await;
    page.go("/jobs").await;
    page.wait("parseFloat(document.querySelector('[data-label=\"Requests/s\"]').innerText) > 1")
        .await;
    load.stop().await;

    // An agent that is gone is what fails first, and what ran there waits.
    client.kill().await;
    page.go("/").await;
    page.wait_text("is down").await;
    page.go("/topology?view=table").await;
    page.wait_text("down").await;
    client.start_again().await;
    page.wait("document.querySelector('main tbody').innerText.includes('ready')")
        .await;
    eventually("the instance again", async || {
        let url = client.url("catalog", "/v1/health/service/web?passing");
        match http::get(&url).await.as_array().map(Vec::len) {
            Some(1) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    page.go("/").await;
    page.wait_text("1 node, 1 ready").await;
    page.wait("!document.querySelector('main').innerText.includes('is down')")
        .await;
    page.end_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_servers_show_who_leads_and_who_is_gone() {
    let mut servers = Addresses::new().start().await;
    let Some(page) = Browser::at(&servers[0]).await else {
        return;
    };
    page.open("/servers").await;
    let rows = |wanted: &str| {
        format!(
            "[...document.querySelectorAll('main tbody tr')].filter((own) => /{wanted}/.test(own.innerText)).length"
        )
    };
    page.wait(&format!("{} === 1", rows("leader"))).await;
    page.wait(&format!("{} === 2", rows("follower"))).await;
    page.wait(&format!("{} === 3", rows("alive"))).await;
    page.wait_text("1 of them may fail and the rest goes on.")
        .await;
    page.wait_text("Log of the leader").await;
    // How far the log is, and how far each server is behind it.
    page.wait("Number([...document.querySelectorAll('dt')].find((own) => own.innerText === 'Last index').nextSibling.innerText.replaceAll(',', '')) > 0")
        .await;
    page.wait("[...document.querySelectorAll('main tbody tr')].every((own) => /^[\\d,]+$/.test(own.children[5].innerText))")
        .await;

    // Whoever else is killed, the page tells what is left.
    let leader = http::get(&servers[0].url("http", "/v1/status/leader")).await;
    let leads = |agent: &Agent| leader == agent.address("rpc").to_string();
    let other = if leads(&servers[1]) { 2 } else { 1 };
    servers[other].kill().await;
    page.wait(&format!("{} === 1", rows("failed"))).await;
    page.wait_text("None of them may fail any more").await;
    page.wait("document.querySelector('main .pills').innerText === 'unhealthy'")
        .await;
    servers[other].start_again().await;
    page.wait(&format!("{} === 3", rows("alive"))).await;
    page.wait("document.querySelector('main .pills').innerText === 'healthy'")
        .await;
    page.end_clean();
}
