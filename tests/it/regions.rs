//! Regions with servers of their own that hear of each other.

use crate::harness::{Agent, Echo, agent::Mode, command::trivet, eventually, http};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use server::{MachineAuthority, MachineKey, MachineRole};
use std::path::Path;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "Hx4dHBsaGRgXFhUUExIREA==";

/// An agent that is a region of its own.
async fn start(region: &str, key: &str, more: &str) -> Agent {
    let config = format!(
        "region = {region:?}\nserver {{\n  enabled = true\n  encrypt = {key:?}\n}}\n{more}"
    );
    Agent::start_with(Mode::Durable, &config).await
}

/// Tells `agent` of another one.
async fn join(agent: &Agent, other: &Agent) -> crate::harness::command::Output {
    let at = other.address("serf").to_string();
    trivet(agent, &["server", "join", &at]).await
}

async fn knows(agent: &Agent, regions: &[&str]) {
    eventually("the regions", async || {
        let known = http::get(&agent.url("http", "/v1/regions")).await;
        (known == json!(regions))
            .then_some(())
            .ok_or_else(|| known.to_string())
    })
    .await;
}

/// Names of the members with their status.
async fn members(agent: &Agent) -> Vec<(String, String)> {
    let answer = http::get(&agent.url("http", "/v1/agent/members")).await;
    let members = answer["Members"].as_array().expect("members").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut members: Vec<_> = members
        .map(|member| (text(&member["Tags"]["region"]), text(&member["Status"])))
        .collect();
    members.sort();
    members
}

async fn wait_members(agent: &Agent, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(region, status)| ((*region).to_owned(), (*status).to_owned()))
        .collect();
    eventually("the members", async || {
        let members = members(agent).await;
        (members == expected)
            .then_some(())
            .ok_or_else(|| format!("{members:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_another_region_is_answered_there() {
    let (north, mut south) = tokio::join!(start("north", KEY, ""), start("south", KEY, ""));
    join(&north, &south).await.ok();
    knows(&north, &["north", "south"]).await;
    knows(&south, &["north", "south"]).await;

    // By the command line, through an agent of the other region.
    let job = Echo::new("web", 1);
    std::fs::write(north.dir().join("web.hcl"), job.hcl()).expect("a file");
    let run = ["job", "run", "-region", "south", "web.hcl"];
    trivet(&north, &run).await.ok();
    job.passing(&south, 1).await;
    let status = ["job", "status", "-region", "south", "web"];
    let status = trivet(&north, &status).await.ok().stdout;
    assert!(status.contains("Status        = running"), "{status}");
    let absent = trivet(&north, &["job", "status", "web"]).await;
    assert_eq!(absent.code, 1, "{}", absent.text());

    // Files of its tasks, and commands in them.
    let path = "/v1/job/web/allocations?region=south";
    let allocs = http::get(&north.url("http", path)).await;
    let alloc = allocs[0]["ID"].as_str().expect("an allocation").to_owned();
    let exec = [
        "alloc",
        "exec",
        "-region",
        "south",
        &alloc,
        "/bin/echo",
        "there",
    ];
    let ran = trivet(&north, &exec).await.ok();
    assert_eq!(ran.stdout.trim(), "there");

    // By the region of the job itself.
    let mut other = Echo::new("api", 1);
    other.text = "two".into();
    let parse = north.url("http", "/v1/jobs/parse");
    let hcl = other.hcl().replacen("{", "{\n  region = \"south\"\n", 1);
    let parsed = http::put(&parse, &json!({ "JobHCL": hcl })).await;
    assert_eq!(parsed["Region"], "south");
    http::put(&north.url("http", "/v1/jobs"), &json!({ "Job": parsed })).await;
    other.passing(&south, 1).await;

    // Blocking queries and streams come from there too.
    let jobs = north.url("http", "/v1/jobs?region=south");
    let listed = http::get(&jobs).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let own = http::get(&north.url("http", "/v1/jobs")).await;
    assert_eq!(own, json!([]));

    let unknown = north.url("http", "/v1/jobs?region=west");
    let (status, text) = http::send(Method::GET, &unknown, None).await;
    assert_eq!(
        (status, text.trim()),
        (StatusCode::INTERNAL_SERVER_ERROR, "No path to region")
    );
    let listed = trivet(&north, &["server", "members"]).await.ok().stdout;
    for region in ["north", "south"] {
        assert!(listed.contains(region), "{listed}");
    }

    // A region that is gone is said to be.
    wait_members(&north, &[("north", "alive"), ("south", "alive")]).await;
    south.kill().await;
    wait_members(&north, &[("north", "alive"), ("south", "failed")]).await;
    let (status, text) = http::send(Method::GET, &jobs, None).await;
    assert_eq!(
        (status, text.trim()),
        (StatusCode::INTERNAL_SERVER_ERROR, "No path to region")
    );
    south.start_again().await;
    join(&south, &north).await.ok();
    wait_members(&north, &[("north", "alive"), ("south", "alive")]).await;
    let listed = http::get(&jobs).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_gossip_are_changed_in_all_regions_at_once() {
    let (mut north, south, west) = tokio::join!(
        start("north", KEY, ""),
        start("south", KEY, ""),
        start("west", OTHER, "")
    );
    join(&north, &south).await.ok();
    knows(&north, &["north", "south"]).await;
    // Who has another key is not heard.
    let refused = join(&west, &north).await;
    assert_eq!(refused.code, 1, "{}", refused.text());
    knows(&west, &["west"]).await;

    let keyring = async |agent: &Agent, words: &[&str]| {
        let words = [&["operator", "gossip", "keyring"], words].concat();
        trivet(agent, &words).await
    };
    let listed = keyring(&south, &["list"]).await.ok().stdout;
    assert!(listed.contains(KEY) && listed.contains("2/2"), "{listed}");
    let unknown = keyring(&north, &["use", OTHER]).await;
    assert_eq!(unknown.code, 1, "{}", unknown.text());
    keyring(&north, &["install", OTHER]).await.ok();
    keyring(&south, &["use", OTHER]).await.ok();
    let in_use = keyring(&north, &["remove", OTHER]).await;
    assert_eq!(in_use.code, 1, "{}", in_use.text());
    keyring(&north, &["remove", KEY]).await.ok();
    let listed = keyring(&north, &["list"]).await.ok().stdout;
    assert!(!listed.contains(KEY) && listed.contains("2/2"), "{listed}");

    // The catalog's API says the same.
    let pools = http::get(&north.url("catalog", "/v1/operator/keyring")).await;
    assert_eq!(pools[0]["PrimaryKeys"], json!({ OTHER: 2 }), "{pools}");

    // Now the third one is heard, and the keys are kept over a restart.
    join(&west, &north).await.ok();
    knows(&south, &["north", "south", "west"]).await;
    north.stop().await;
    north.start_again().await;
    join(&north, &south).await.ok();
    knows(&north, &["north", "south", "west"]).await;
    let file = std::fs::read_to_string(north.dir().join("data/server/serf.keyring"));
    assert_eq!(file.expect("its keys"), json!([OTHER]).to_string());
}

/// Certificates of a server of a region, and the configuration that names them.
fn secured(authority: &MachineAuthority, region: &str, dir: &Path) -> String {
    let key = MachineKey::generate().expect("a key");
    let own = authority.sign(MachineRole::Server, region, &key.public());
    let certificate = authority.certificate_pem().expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = dir.join(format!("{region}-{name}.pem"));
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    format!(
        "tls {{\n  rpc = true\n  ca_file = {:?}\n  cert_file = {:?}\n  key_file = {:?}\n}}\n",
        write("ca", &certificate),
        write("own", &own.expect("a certificate")),
        write("key", &key.private_pem()),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_another_region_are_known_by_their_certificates() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = MachineAuthority::generate().expect("an authority");
    let of = |region: &str| secured(&authority, region, dir.path());
    // Nobody else's certificates are taken, whatever they say of themselves.
    let stranger = MachineAuthority::generate().expect("an authority");
    let strange = secured(&stranger, "west", dir.path());
    let texts = [of("north"), of("south"), strange];
    let (north, south, west) = tokio::join!(
        start("north", KEY, &texts[0]),
        start("south", KEY, &texts[1]),
        start("west", KEY, &texts[2])
    );
    join(&north, &south).await.ok();
    join(&north, &west).await.ok();
    knows(&south, &["north", "south", "west"]).await;
    let job = Echo::new("web", 1);
    job.register(&south).await;
    let listed = http::get(&north.url("http", "/v1/jobs?region=south")).await;
    assert_eq!(listed[0]["ID"], "web", "{listed}");
    let strange = north.url("http", "/v1/jobs?region=west");
    let (status, text) = http::send(Method::GET, &strange, None).await;
    assert_eq!(
        (status, text.trim()),
        (StatusCode::INTERNAL_SERVER_ERROR, "No path to region")
    );
}
