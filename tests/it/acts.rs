//! What operators may do with a rollout in each of its states, by command line and by API: it is in
//! force at the ingress, and one entry says who asked and why.

use crate::{
    harness::{Agent, command::trivet, eventually, http, load::Load},
    rollout::{deployment_id, rollout, start, with_canary},
};
use futures_util::{StreamExt as _, stream};
use jobs::model::{Rollout, RolloutPhase, RolloutTransition, Share};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Jobs that are brought about at a time: an old instance and a canary each.
const AT_A_TIME: usize = 6;

/// A state, and the phase and share that `next`, `back`, a share of 12.5 % and `resume` bring about
/// in it; or why it is refused.
const MOVES: [(&str, [&str; 4]); 7] = [
    (
        "warming",
        ["judging 5 %", AT_FIRST, "held 12.5 %", "judging 5 %"],
    ),
    (
        "judging",
        ["judging 25 %", AT_FIRST, "held 12.5 %", "judging 5 %"],
    ),
    (
        "frozen",
        ["judging 25 %", AT_FIRST, "held 12.5 %", "judging 5 %"],
    ),
    (
        "held",
        ["judging 25 %", AT_FIRST, "held 12.5 %", "judging 5 %"],
    ),
    (
        "paused",
        ["judging 25 %", AT_FIRST, "held 12.5 %", "judging 5 %"],
    ),
    (
        "baking",
        [AT_LAST, "judging 25 %", "held 12.5 %", "judging 25 %"],
    ),
    (
        "passed",
        [AT_LAST, "judging 25 %", "held 12.5 %", "judging 25 %"],
    ),
];
const AT_FIRST: &str = "the rollout is at its first step";
const AT_LAST: &str = "the rollout has no step there";

/// A rollout in a state, and what is asked of it there.
struct Case {
    id: String,
    state: &'static str,
    act: &'static str,
    /// What becomes of it.
    expected: &'static str,
    is_by_api: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (state, moves) in MOVES {
        let moves = ["next", "back", "set-share", "resume"]
            .into_iter()
            .zip(moves);
        let deployments = ["pause", "promote", "fail"].map(|act| (act, ""));
        for (act, expected) in moves.chain(deployments) {
            cases.push(Case {
                id: format!("{state}-{act}"),
                state,
                act,
                expected,
                is_by_api: cases.len() % 2 == 1,
            });
        }
    }
    cases
}

/// A rollout in its state, and the requests that keep it there.
async fn bring(agent: &Agent, case: &Case) -> Option<Load> {
    let Case { id, state, .. } = case;
    let mut meta =
        "rollout_steps = \"5,25\"\nrollout_hold = \"1h\"\nrollout_warmup = \"0s\"\n".to_owned();
    match *state {
        "warming" => meta.push_str("rollout_gates = \"start\"\n"),
        "baking" => meta.push_str("rollout_bake = \"1h\"\n"),
        _ => {}
    }
    let job = with_canary(agent, id, 1, &meta, "canary = 1", |_| ()).await;
    let load = matches!(*state, "judging" | "paused").then(|| start(agent, id, 20));
    if let Some(load) = &load {
        load.more(10).await;
    }
    job.register(agent).await;
    if *state != "warming" {
        rollout(agent, id, |row| (row["Share"] == 500).then_some(())).await;
    }
    let deployment = deployment_id(agent, id).await;
    let next: &[&str] = &["rollout", "next", &deployment];
    let before: &[&[&str]] = match *state {
        "held" => &[&["rollout", "set-share", &deployment, "50"]],
        "paused" => &[&["deployment", "pause", &deployment]],
        "baking" | "passed" => &[next, next],
        _ => &[],
    };
    for words in before {
        trivet(agent, words).await.ok();
    }
    let phase = if *state == "paused" { "held" } else { state };
    let reason = match *state {
        "paused" => "the deployment is paused",
        "warming" => "the canaries are healthy; it waits for `trivet rollout next`",
        _ => "",
    };
    rollout(agent, id, |row| {
        let is_there = row["Phase"] == phase && row["Reason"].as_str()?.starts_with(reason);
        is_there.then_some(())
    })
    .await;
    load
}

/// Asks for it, and says with what sentence it was refused if it was.
async fn ask(agent: &Agent, case: &Case, deployment: &str) -> Result<(), String> {
    let is_move = !case.expected.is_empty();
    if case.is_by_api {
        let (path, body) = match (is_move, case.act) {
            (true, act) => {
                let share = (act == "set-share").then_some("12.5");
                (
                    format!("/v1/trivet/rollout/{deployment}"),
                    json!({"Act": act, "Share": share, "Actor": "ada", "Reason": "a look"}),
                )
            }
            (false, act) => (
                format!("/v1/deployment/{act}/{deployment}"),
                json!({"DeploymentID": deployment, "Pause": true, "All": true}),
            ),
        };
        let url = agent.url("http", &path);
        let (status, text) = http::send(Method::PUT, &url, Some(&body)).await;
        return match status {
            StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST => Err(text),
            _ => panic!("{}: {status} {text}", case.id),
        };
    }
    let output = if is_move {
        let share: &[&str] = if case.act == "set-share" {
            &["12.5"]
        } else {
            &[]
        };
        let by = ["-actor", "ada", "-reason", "a look"];
        let words = [&["rollout", case.act], &by[..], &[deployment], share].concat();
        trivet(agent, &words).await
    } else {
        let is_brief = case.act == "pause";
        let detached: &[&str] = if is_brief { &[] } else { &["-detach"] };
        trivet(
            agent,
            &[&["deployment", case.act], detached, &[deployment]].concat(),
        )
        .await
    };
    match output.code {
        0 => Ok(()),
        1 => Err(output.stderr),
        _ => panic!("{}: {output:?}", case.id),
    }
}

async fn read(agent: &Agent, deployment: &str) -> (Value, Rollout) {
    let path = format!("/v1/deployment/{deployment}");
    let deployment = http::get(&agent.url("http", &path)).await;
    let row = deployment["TaskGroups"]["web"]["Rollout"].clone();
    (deployment, serde_json::from_value(row).expect("a rollout"))
}

/// What an operator had done to it.
fn of_ada(row: &Rollout) -> Vec<&RolloutTransition> {
    let transitions = row.transitions.iter();
    transitions.filter(|own| &*own.actor == "ada").collect()
}

/// Waits until the ingress gives the canary, or the instance that it became, this part of all
/// requests; nothing is the same as not being there.
async fn gives(agent: &Agent, id: &str, canary: &str, part: f64) {
    eventually("the share", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let all = routes.as_array().into_iter().flatten();
        let mut own = all.filter(|route| route["service"] == id && route["dst"] == canary);
        let weight = own
            .next()
            .map_or(0.0, |route| route["weight"].as_f64().unwrap_or(0.0));
        if (weight - part).abs() < 1e-6 {
            Ok(())
        } else {
            Err(format!("{id} has {weight}, not {part}: {routes}"))
        }
    })
    .await;
}

/// Where the canary answers, as the ingress lists it.
async fn canary_of(agent: &Agent, id: &str) -> String {
    let allocs = http::get(&agent.url("http", &format!("/v1/job/{id}/allocations"))).await;
    let all = allocs.as_array().into_iter().flatten();
    let mut canaries = all.filter(|own| own["DeploymentStatus"]["Canary"] == true);
    let canary = canaries.next().expect("a canary")["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let alloc = http::get(&agent.url("http", &format!("/v1/allocation/{canary}"))).await;
    let port = &alloc["AllocatedResources"]["Shared"]["Ports"][0]["Value"];
    format!("http://127.0.0.1:{port}/")
}

/// Asks for it and looks what became of it.
async fn shows(agent: &Agent, case: &Case) {
    let deployment = deployment_id(agent, &case.id).await;
    let canary = canary_of(agent, &case.id).await;
    let (_, before) = read(agent, &deployment).await;
    let answer = ask(agent, case, &deployment).await;
    let (now, row) = read(agent, &deployment).await;
    let made = of_ada(&row);
    if [AT_FIRST, AT_LAST].contains(&case.expected) {
        let said = answer.expect_err("it is refused");
        assert!(said.contains(case.expected), "{}: {said}", case.id);
        assert!(made.is_empty(), "{}: {made:?}", case.id);
        return gives(agent, &case.id, &canary, part(before.share)).await;
    }
    assert_eq!(answer, Ok(()), "{}", case.id);
    let status = match case.act {
        "promote" => "successful",
        "fail" => "failed",
        "pause" => "paused",
        _ if case.state == "paused" => "paused",
        _ => "running",
    };
    if case.act == "promote" {
        // Its last instances are placed before it is over.
        let path = format!("/v1/deployment/{deployment}");
        let is_over = |own: &Value| (own["Status"] == status).then_some(());
        agent.wait(&path, is_over).await;
    } else {
        assert_eq!(now["Status"], status, "{}", case.id);
    }
    match case.act {
        "promote" => {
            assert_eq!(row.phase, RolloutPhase::Passed, "{}", case.id);
            gives(agent, &case.id, &canary, 1.0).await;
        }
        "fail" => {
            assert_eq!(row.phase, RolloutPhase::Aborted, "{}", case.id);
            gives(agent, &case.id, &canary, 0.0).await;
        }
        "pause" => {
            assert_eq!(row.share, before.share, "{}", case.id);
            let words = ["deployment", "resume", "-detach", &deployment];
            trivet(agent, &words).await.ok();
            let (now, _) = read(agent, &deployment).await;
            assert_eq!(now["Status"], "running", "{}", case.id);
        }
        _ => {
            let [one] = made[..] else {
                panic!("{}: {made:?}", case.id);
            };
            let became = format!("{} {}", one.phase.as_str(), one.share);
            assert_eq!(became, case.expected, "{}", case.id);
            assert!(one.reason.ends_with(": a look"), "{}: {one:?}", case.id);
            let share = part(one.share);
            gives(agent, &case.id, &canary, share).await;
        }
    }
    // The command line tells what the row says.
    let status = trivet(agent, &["rollout", "status", &deployment])
        .await
        .ok();
    let said = format!("{}", row.share);
    assert!(
        status.stdout.contains(&said),
        "{}: {}",
        case.id,
        status.stdout
    );
}

/// Both versions side by side, and what would make it pass.
async fn is_told(agent: &Agent, id: &str) {
    let deployment = deployment_id(agent, id).await;
    eventually("the versions side by side", || async {
        let words = ["deployment", "status", &deployment];
        let shown = trivet(agent, &words).await.ok().stdout;
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let columns = ["Version", "Requests", "Success", "p50", "p99", "Restarts"];
        let is_row = |name: &str| {
            // Name, requests, "100.00%", two times and restarts.
            let is_it = |own: &&Vec<&str>| own.len() == columns.len() && own[0] == name;
            let mut rows = lines.iter().filter(is_it);
            rows.any(|own| own[2] == "100.00%" && own[3].ends_with("ms") && own[5] == "0")
        };
        let is_whole = lines.iter().any(|own| *own == columns)
            && is_row("canary")
            && is_row("stable")
            && shown.contains("5 % (effective 5 %)")
            && shown.contains("more good attempts, ")
            && shown.contains(" more seconds of this step");
        if is_whole { Ok(()) } else { Err(shown) }
    })
    .await;
}

fn part(share: Share) -> f64 {
    f64::from(share.ten_thousandths()) / 10_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_act_in_every_state_by_command_line_and_by_api() {
    let agent = Agent::start().await;
    let cases = cases();
    let agent = &agent;
    stream::iter(&cases)
        .for_each_concurrent(AT_A_TIME, async |case| {
            let load = bring(agent, case).await;
            shows(agent, case).await;
            if case.id == "judging-resume" {
                is_told(agent, &case.id).await;
            }
            if let Some(load) = load {
                load.stop().await;
            }
            trivet(agent, &["job", "stop", "-purge", "-detach", &case.id])
                .await
                .ok();
        })
        .await;
}
