//! Verdicts on canaries by what they answer: what is given up, what waits, and what passes. How
//! soon that is, is measured (`benches/drivers/rollouts.rs`); here it is what becomes of them, and
//! what is said.

use crate::{
    failures::{port, read_alloc, server_process},
    harness::{
        Agent, Echo,
        command::trivet,
        eventually, http,
        load::{self, Load},
    },
    judged::{NOBODY, beside},
    needs::need_root,
    rollout::{Hook, deployment_id, in_force, reasons, rollout, start, with_canary},
    walkthrough::targets,
};
use jobs::{
    control::rollout::time_of_day,
    model::{Deployment, Evidence, Rollout, RolloutCause, RolloutPhase, Share, Span, Timestamp},
};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};
use sys::clock;
use tokio::net::TcpListener;

/// No request takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One share that lasts, judged from the first request on.
fn judged(share: u32, more: &str) -> String {
    format!("rollout_steps = \"{share}\"\nrollout_hold = \"1h\"\nrollout_warmup = \"0s\"\n{more}")
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|word| (*word).to_owned()).collect()
}

/// An old instance with arguments, and a canary with others.
async fn one(agent: &Agent, id: &str, meta: String, args: [&[&str]; 2]) -> Echo {
    let old = |job: &mut Echo| job.args = words(args[0]);
    let mut job = with_canary(agent, id, 1, &meta, "canary = 1", old).await;
    job.args = words(args[1]);
    job
}

fn typed(rollout: &Value) -> Rollout {
    serde_json::from_value(rollout.clone()).expect("a rollout")
}

/// The rollout of the newest deployment of a job.
async fn newest(agent: &Agent, id: &str) -> Rollout {
    let path = format!("/v1/job/{id}/deployment");
    let deployment = http::get(&agent.url("http", &path)).await;
    typed(&deployment["TaskGroups"]["web"]["Rollout"])
}

/// Waits until a rollout is in a phase for a reason that begins so.
async fn reaches(agent: &Agent, id: &str, phase: &str, reason: &str) -> Rollout {
    rollout(agent, id, |row| {
        let said = row["Reason"].as_str()?;
        (row["Phase"] == phase && said.starts_with(reason)).then(|| typed(row))
    })
    .await
}

/// What the last transition rests on.
fn evidence(rollout: &Rollout) -> &Evidence {
    let last = rollout.transitions.last().expect("a transition");
    last.evidence.first().expect("evidence")
}

fn was_aborted(rollout: &Rollout) -> bool {
    let mut transitions = rollout.transitions.iter();
    transitions.any(|own| own.phase == RolloutPhase::Aborted)
}

/// What the record of a rollout would have come to, judged again.
async fn replayed(agent: &Agent, id: &str, settings: &[&str]) -> String {
    let record = trivet(agent, &["rollout", "record", id]).await.ok().stdout;
    let file = format!("{id}.record");
    std::fs::write(agent.dir().join(&file), record).expect("a file");
    let words = [&["rollout", "replay", &file], settings].concat();
    trivet(agent, &words).await.ok().stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_answers_are_named_and_end_or_hold_a_rollout() {
    let agent = Agent::start().await;
    let by_setting = judged(25, "rollout_answers = \"fail\"");
    let observed = judged(25, "rollout_judge = \"observe\"");
    let broken = async {
        let cart = |job: &mut Echo| job.group = beside("broken", "http", "/cart");
        let mut job = with_canary(&agent, "broken", 1, &judged(25, ""), "canary = 1", cart).await;
        job.args = words(&["-error-rate", "1", "-only", "/cart"]);
        job
    };
    let jobs = tokio::join!(
        one(
            &agent,
            "few",
            judged(25, ""),
            [&[], &["-error-rate", "0.02"]]
        ),
        one(
            &agent,
            "missing",
            judged(25, ""),
            [&[], &["-status", "404"]]
        ),
        one(&agent, "moved", by_setting, [&[], &["-status", "302"]]),
        one(&agent, "seen", observed, [&[], &["-error-rate", "1"]]),
        broken,
    );
    // A tenth of the requests goes where it is broken.
    let loads = [
        ("few", 120),
        ("missing", 40),
        ("moved", 40),
        ("seen", 40),
        ("broken", 72),
        ("cart", 8),
    ]
    .map(|(path, per_second)| start(&agent, path, per_second));
    for load in &loads {
        load.more(5).await;
    }
    for job in [&jobs.0, &jobs.1, &jobs.2, &jobs.3, &jobs.4] {
        job.register(&agent).await;
    }

    let moved = reaches(&agent, "moved", "aborted", "canary answered 3xx ").await;
    assert_eq!(moved.cause, RolloutCause::Answers);
    let broken = reaches(&agent, "broken", "aborted", "canary failed ").await;
    assert!(broken.reason.ends_with(" on /cart"), "{}", broken.reason);
    assert_eq!(evidence(&broken).route, "/cart");
    let why = trivet(&agent, &["deployment", "why", "broken"]).await.ok();
    for part in [broken.reason.as_str(), "failed  /cart"] {
        assert!(why.stdout.contains(part), "{part}: {}", why.stdout);
    }
    let few = reaches(&agent, "few", "aborted", "canary failed ").await;
    let found = evidence(&few);
    // Not because nearly everything failed.
    let is_few = found.canary_bad >= 3 && found.canary_bad * 10 < found.canary_attempts;
    assert!(is_few, "{found:?}");
    // Other answers only hold it, however long they last.
    let missing = reaches(&agent, "missing", "held", "suspect: canary answered 4xx ").await;
    assert!(!was_aborted(&missing), "{missing:?}");
    assert_eq!(
        (missing.cause, missing.share),
        (RolloutCause::Answers, Share::of_percent(25))
    );
    let said = "would have aborted: canary failed ";
    let seen = rollout(&agent, "seen", |row| {
        let is_told = reasons(row).iter().any(|own| own.starts_with(said));
        is_told.then(|| typed(row))
    })
    .await;
    assert!(!was_aborted(&seen), "{seen:?}");
    for load in loads {
        load.stop().await;
    }

    // What was recorded comes to the same, with the same words at the same time.
    let would_have = |row: &Rollout, said: &str| {
        let mut transitions = row.transitions.iter();
        let told = transitions.find(|own| own.reason.starts_with(said));
        let told = told.expect("a transition");
        let what = told.reason.trim_start_matches("would have aborted: ");
        format!("would have aborted {}: {what}\n", time_of_day(told.at))
    };
    for (id, row, begins) in [
        ("broken", &broken, "canary failed "),
        ("few", &few, "canary failed "),
        ("moved", &moved, "canary answered "),
        ("seen", &seen, said),
    ] {
        let (again, wanted) = (replayed(&agent, id, &[]).await, would_have(row, begins));
        assert!(again.contains(&wanted), "{id}: {wanted} {again}");
    }
    let other = replayed(&agent, "broken", &["errors=+99pt"]).await;
    assert!(other.ends_with("would not have aborted\n"), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_canaries_are_given_up_by_either_quantile_and_a_little_slower_passes() {
    let agent = Agent::start().await;
    let limit = |limit: &str| format!("rollout_latency = \"{limit}\"");
    let near = "rollout_steps = \"25\"\nrollout_hold = \"8s\"\nrollout_warmup = \"0s\"\nrollout_latency = \"p50<1.3x\"";
    let delays = |old, new| [["-delay", old], ["-delay", new]];
    let (half, tail, close) = (
        delays("40ms", "80ms"),
        delays("100ms", "200ms"),
        delays("100ms", "115ms"),
    );
    let jobs = tokio::join!(
        one(
            &agent,
            "half",
            judged(5, &limit("p50<1.3x")),
            [&half[0], &half[1]]
        ),
        one(
            &agent,
            "tail",
            judged(5, &limit("p99<1.3x")),
            [&tail[0], &tail[1]]
        ),
        one(&agent, "near", near.to_owned(), [&close[0], &close[1]]),
    );
    let loads = [("half", 80), ("tail", 120), ("near", 60)]
        .map(|(path, per_second)| start(&agent, path, per_second));
    for (load, job) in loads.iter().zip([&jobs.0, &jobs.1, &jobs.2]) {
        load.more(20).await;
        job.register(&agent).await;
    }
    for (id, quantile, metric) in [("half", "p50", "slow-p50"), ("tail", "p99", "slow-p99")] {
        let slow = reaches(&agent, id, "aborted", "canary took longer than ").await;
        let limit = format!(" (1.3 x stable {quantile}) for ");
        assert!(slow.reason.contains(&limit), "{}", slow.reason);
        let found = evidence(&slow);
        assert_eq!(
            (found.metric.as_str(), slow.cause),
            (metric, RolloutCause::Slow)
        );
        assert!(found.slow_us > 40_000 && found.canary_bad >= 3, "{found:?}");
    }
    reaches(&agent, "near", "passed", "all steps passed").await;
    for load in loads {
        let requests = load.stop().await;
        let failures = load::failures(&requests);
        assert!(failures.is_empty(), "{:?}", failures.first());
    }
}

/// How long a rollout was judged, going on from step to step.
fn judged_for(rollout: &Rollout) -> Span {
    let pairs = rollout.transitions.windows(2);
    let judged = pairs.filter(|pair| pair[0].phase == RolloutPhase::Judging);
    judged.fold(Span::ZERO, |sum, pair| sum + (pair[1].at - pair[0].at))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubt_and_silence_stop_the_clock_and_a_few_requests_suffice() {
    let agent = Agent::start().await;
    let (hook, deaf) = (Hook::start().await, TcpListener::bind("127.0.0.1:0").await);
    // Nobody takes what comes here.
    let deaf = deaf.expect("a port");
    let nobody = deaf.local_addr().expect("an address");
    let bad = agent.dir().join("bad");
    let at_times = [
        "-error-rate",
        "0.5",
        "-while",
        bad.to_str().expect("a path"),
    ];
    let dead: [&[&str]; 2] = [&[], &["-error-rate", "1"]];
    let short = format!(
        "rollout_steps = \"25\"\nrollout_hold = \"3s\"\nrollout_warmup = \"0s\"\nrollout_notify = \"{}\"",
        hook.url
    );
    let notify = format!("rollout_notify = \"http://{nobody}/x\"");
    let jobs = tokio::join!(
        one(&agent, "both", judged(25, &notify), [&at_times, &at_times]),
        one(&agent, "silent", short, [&[], &[]]),
        one(&agent, "quiet", judged(25, ""), dead),
        one(&agent, "rare", judged(25, ""), dead),
    );
    let (both, silent, quiet, rare) = jobs;
    let loads = [start(&agent, "both", 60), start(&agent, "silent", 60)];
    for load in &loads {
        load.more(30).await;
    }
    for job in [&both, &silent, &quiet] {
        job.register(&agent).await;
    }
    for (id, load) in [("both", &loads[0]), ("silent", &loads[1])] {
        reaches(&agent, id, "judging", "step 1 of 1: 25 %").await;
        load.more(30).await;
    }
    let [load, silence] = loads;
    silence.stop().await;
    std::fs::write(&bad, "").expect("a file");
    reaches(&agent, "both", "held", "both failing: canary ").await;
    reaches(&agent, "silent", "frozen", "no requests since ").await;
    reaches(&agent, "quiet", "frozen", "no requests since ").await;

    // As many requests as come in two minutes at 20 a minute are more than enough.
    let ingress = agent.address("ingress");
    let seldom = Load::every(ingress, "/rare", Duration::from_millis(250), TIMEOUT);
    rare.register(&agent).await;
    let given_up = reaches(&agent, "rare", "aborted", "canary failed ").await;
    let found = evidence(&given_up);
    assert!(
        found.canary_attempts + found.stable_attempts <= 40,
        "{found:?}"
    );
    seldom.stop().await;

    // Both are well again.
    assert!(!was_aborted(&newest(&agent, "both").await));
    std::fs::remove_file(&bad).expect("a file");
    let again = reaches(&agent, "both", "judging", "step 1 of 1 goes on: 25 %").await;
    assert!(!was_aborted(&again), "{again:?}");
    load.stop().await;

    // Time without requests was none of the step's, and it goes on by itself.
    assert_eq!(newest(&agent, "silent").await.phase, RolloutPhase::Frozen);
    let load = start(&agent, "silent", 60);
    let passed = reaches(&agent, "silent", "passed", "all steps passed").await;
    load.stop().await;
    // A look's time may be lost at each transition.
    let judged = judged_for(&passed);
    assert!(
        judged >= Span::from_nanos(2_500_000_000),
        "{judged}: {passed:?}"
    );
    let transitions = passed.transitions.iter();
    let said: BTreeSet<String> = transitions.map(|own| own.reason.clone()).collect();
    hook.hears(&said).await;

    // One that nobody asks never failed anybody, and never passes.
    let quiet = newest(&agent, "quiet").await;
    assert_eq!(quiet.phase, RolloutPhase::Frozen, "{quiet:?}");
    assert!(!was_aborted(&quiet));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_say_how_long_the_steps_take() {
    let agent = Agent::start().await;
    let meta = "rollout_steps = \"5,25\"\nrollout_hold = \"2m\"";
    let job = with_canary(&agent, "shop", 1, meta, "canary = 1", |_| ()).await;
    let plan = job.command(&agent, &["job", "plan"]).await;
    let text = "- Canaries of group \"web\": nobody sends requests now; each step takes 52 requests at the canaries, and 2m0s.";
    assert!(plan.stdout.contains(text), "{}", plan.text());
    load::spread(&agent.url("ingress", "/shop"), 20).await;
    agent
        .wait("/v1/trivet/traffic?service=shop", |told| {
            let rows = told["Rows"].as_array()?.iter();
            let answers = rows.filter_map(|row| row["Answers"][1].as_u64());
            (answers.sum::<u64>() == 20).then_some(())
        })
        .await;
    let plan = job.command(&agent, &["job", "plan"]).await;
    let text =
        "- Canaries of group \"web\": 5 %: about 52 min; 25 %: about 10 min at 20 requests/min.";
    assert!(plan.stdout.contains(text), "{}", plan.text());
}

/// Old instances and as many canaries, of which those fail for which there is a file.
async fn some_bad(agent: &Agent, id: &str, bad: &[u32]) -> Echo {
    let meta = "rollout_steps = \"30\"\nrollout_hold = \"1s\"\nrollout_warmup = \"0s\"".to_owned();
    let mut job = with_canary(agent, id, 3, &meta, "canary = 3", |_| ()).await;
    for index in bad {
        let file = agent.dir().join(format!("{id}-{index}"));
        std::fs::write(file, "").expect("a file");
    }
    let file = format!("{}/{id}-${{NOMAD_ALLOC_INDEX}}", agent.dir().display());
    job.args = words(&["-error-rate", "1", "-while", &file]);
    "new-${NOMAD_ALLOC_INDEX}".clone_into(&mut job.text);
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_canary_among_good_ones_is_left_out_and_two_are_too_many() {
    let agent = Agent::start().await;
    let (single, double) = tokio::join!(
        some_bad(&agent, "single", &[0]),
        some_bad(&agent, "double", &[0, 1])
    );
    let loads = [start(&agent, "single", 90), start(&agent, "double", 90)];
    for (load, job) in loads.iter().zip([&single, &double]) {
        load.more(20).await;
        job.register(&agent).await;
    }
    reaches(&agent, "double", "aborted", "canary ").await;
    let passed = reaches(&agent, "single", "passed", "all steps passed").await;
    for load in loads {
        load.stop().await;
    }
    let mut transitions = passed.transitions.iter();
    let left_out = transitions.find(|own| own.ejects.is_some());
    let left_out = left_out.expect("one is left out");
    let id = left_out.ejects.expect("one").to_string();
    let sentence = format!("canary {} failed ", &id[..8]);
    assert!(left_out.reason.starts_with(&sentence), "{left_out:?}");
    assert!(left_out.reason.ends_with("; it gets no more requests"));
    let alloc = http::get(&agent.url("http", &format!("/v1/allocation/{id}"))).await;
    assert_eq!(alloc["Name"], "single.web[0]", "the bad one");
    // What it would get, the old version does.
    let seen = load::spread(&agent.url("ingress", "/single"), 100).await;
    let count = |text: &str| seen.get(text).copied().unwrap_or(0);
    assert_eq!(count("new-0"), 0, "{seen:?}");
    let new = count("new-1") + count("new-2");
    assert!((19..=21).contains(&new), "{seen:?}");
    let shown = trivet(&agent, &["rollout", "status", "single"]).await.ok();
    let share = "30 % (effective 20 %)";
    assert!(shown.stdout.contains(share), "{}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_stands_by_and_takes_everything_back() {
    let agent = Agent::start().await;
    let meta = "rollout_steps = \"0,100\"\nrollout_hold = \"1s\"\nrollout_bake = \"1h\"\nrollout_warmup = \"0s\"";
    let bad = agent.dir().join("bad");
    let later = ["-error-rate", "1", "-while", bad.to_str().expect("a path")];
    let job = one(&agent, "green", meta.to_owned(), [&[], &later]).await;
    let load = start(&agent, "green", 60);
    job.register(&agent).await;
    reaches(
        &agent,
        "green",
        "baking",
        "all steps passed; the old version stands by",
    )
    .await;
    let placed = job.running(&agent, 2).await;
    assert_eq!(load.failed(), 0, "nobody noticed the switch");
    let seen = load::spread(&agent.url("ingress", "/green"), 20).await;
    assert_eq!(seen.get("new"), Some(&20), "{seen:?}");
    // With nobody to compare with, what it does is enough.
    std::fs::write(&bad, "").expect("a file");
    let given_up = reaches(&agent, "green", "aborted", "canary failed ").await;
    assert_eq!(evidence(&given_up).stable_attempts, 0, "{given_up:?}");
    targets(&agent, "green", 1).await;
    let seen = load::spread(&agent.url("ingress", "/green"), 20).await;
    assert_eq!(seen.get("old"), Some(&20), "{seen:?}");
    load.stop().await;
    // Nothing was placed for the way back.
    let old = job.running(&agent, 1).await;
    assert!(
        placed.iter().any(|alloc| alloc["ID"] == old[0]["ID"]),
        "{old:?}"
    );
}

/// A canary whose deployment has to make progress soon.
async fn in_a_hurry(agent: &Agent, id: &str, more: &str) {
    let mut job = one(agent, id, judged(25, more), [&[], &[]]).await;
    job.update = "canary = 1\nmax_parallel = 1\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"7s\"\nprogress_deadline = \"8s\"".into();
    job.register(agent).await;
}

/// Until when the deployment of a job must have made progress.
async fn progress_by(agent: &Agent, id: &str) -> Timestamp {
    let path = format!("/v1/job/{id}/deployment");
    let deployment = http::get(&agent.url("http", &path)).await;
    let deployment: Deployment = serde_json::from_value(deployment).expect("a deployment");
    deployment
        .task_groups
        .values()
        .next()
        .expect("a group")
        .require_progress_by
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_warms_up_may_answer_badly_and_who_is_held_has_time() {
    let agent = Agent::start().await;
    let bad = agent.dir().join("bad");
    std::fs::write(&bad, "").expect("a file");
    let at_first = ["-error-rate", "1", "-while", bad.to_str().expect("a path")];
    let refused = async {
        let meta = "rollout_steps = \"25\"\nrollout_hold = \"1h\"\nrollout_warmup = \"1h\"";
        let none = |job: &mut Echo| job.group = beside("refused", "http", "/none");
        let mut job = with_canary(&agent, "refused", 1, meta, "canary = 1", none).await;
        job.group = beside("refused", NOBODY, "/none");
        job
    };
    // Ten seconds, unless somebody says more.
    let warm = "rollout_steps = \"50\"\nrollout_hold = \"1s\"".to_owned();
    let jobs = tokio::join!(
        one(&agent, "warm", warm, [&[], &at_first]),
        refused,
        in_a_hurry(&agent, "gated", "rollout_gates = \"start\""),
        in_a_hurry(&agent, "paused", ""),
        in_a_hurry(&agent, "moved", ""),
    );
    let loads = [start(&agent, "warm", 60), start(&agent, "none", 40)];
    jobs.0.register(&agent).await;
    jobs.1.register(&agent).await;
    let gate = "the canaries are healthy; it waits for `trivet rollout next`";
    reaches(&agent, "gated", "warming", gate).await;
    for (id, words) in [
        ("paused", &["deployment", "pause"][..]),
        ("moved", &["rollout", "set-share"]),
    ] {
        rollout(&agent, id, |row| (row["Share"] == 2500).then_some(())).await;
        let deployment = deployment_id(&agent, id).await;
        let share: &[&str] = if id == "moved" { &["30"] } else { &[] };
        let words = [words, &[&deployment], share].concat();
        trivet(&agent, &words).await.ok();
        reaches(&agent, id, "held", "the ").await;
    }

    eventually("fifteen bad answers", || async {
        let failed = loads[0].failed();
        if failed >= 15 {
            Ok(())
        } else {
            Err(failed.to_string())
        }
    })
    .await;
    std::fs::remove_file(&bad).expect("a file");
    let given_up = reaches(&agent, "refused", "aborted", "canary failed ").await;
    let found = evidence(&given_up);
    assert!(found.canary_bad >= 3 && found.stable_bad == 0, "{found:?}");
    let passed = reaches(&agent, "warm", "passed", "all steps passed").await;
    let causes: BTreeSet<RolloutCause> = passed.transitions.iter().map(|own| own.cause).collect();
    assert!(!causes.contains(&RolloutCause::Failed), "{passed:?}");
    for load in loads {
        load.stop().await;
    }

    // Time at a gate, in a pause and with a share by hand is none of the deadline's.
    for (id, words, said) in [
        ("gated", &["rollout", "next"][..], "step 1 of 1: 25 %"),
        (
            "paused",
            &["deployment", "resume", "-detach"],
            "step 1 of 1 goes on",
        ),
        ("moved", &["rollout", "resume"], "step 1 of 1: 25 %"),
    ] {
        let by = progress_by(&agent, id).await + Span::from_nanos(500_000_000);
        eventually("the deadline", async || {
            let now = clock::now();
            if now > by {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
        let deployment = deployment_id(&agent, id).await;
        trivet(&agent, &[words, &[&deployment]].concat()).await.ok();
        rollout(&agent, id, |row| {
            let is_said = reasons(row).last().is_some_and(|own| own.starts_with(said));
            let is_frozen = row["Phase"] == "frozen";
            (is_said || is_frozen).then_some(())
        })
        .await;
    }
}

/// An old instance, and a canary that fails from the first request on and gets its turn.
async fn unasked(agent: &Agent, id: &str, meta: &str, update: &str) -> Echo {
    let update = format!("canary = 1\n{update}");
    let mut job = with_canary(agent, id, 1, meta, &update, |_| ()).await;
    job.args = words(&["-error-rate", "1"]);
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_steps_suspicion_only_holds_back_what_goes_by_itself() {
    let agent = Agent::start().await;
    let now = "rollout_warmup = \"0s\"";
    let off = "rollout_judge = \"off\"";
    let (mut shop, mut cart, back) = tokio::join!(
        unasked(&agent, "shop", now, "auto_promote = true"),
        unasked(&agent, "cart", off, "auto_promote = true"),
        unasked(&agent, "back", now, "auto_revert = true"),
    );
    // Canaries get requests some time before they are healthy.
    for job in [&mut shop, &mut cart] {
        job.update = job.update.replace("\"0s\"", "\"5s\"");
    }
    let loads = ["shop", "cart", "back"].map(|id| start(&agent, id, 40));
    for (load, job) in loads.iter().zip([&shop, &cart, &back]) {
        load.more(20).await;
        job.register(&agent).await;
    }
    // With `auto_revert` it is given up, and the version before comes back.
    let path = "/v1/job/back/deployments";
    let failed = agent
        .wait(path, |all| {
            let mut all = all.as_array()?.iter();
            let own = all.find(|own| own["JobVersion"] == 1 && own["Status"] == "failed")?;
            Some(own["StatusDescription"].as_str()?.to_owned())
        })
        .await;
    let said = "Failed due to rollout: canary failed ";
    assert!(failed.starts_with(said), "{failed}");
    back.deployment(&agent, 2, "successful").await;
    // Where nobody judges, it is the original: healthy by its checks is enough.
    cart.deployment(&agent, 1, "successful").await;
    // Where somebody does, it is not promoted, as long as it fails.
    agent
        .wait("/v1/job/shop/deployment", |deployment| {
            (deployment["TaskGroups"]["web"]["HealthyAllocs"] == 1).then_some(())
        })
        .await;
    reaches(&agent, "shop", "held", "").await;
    let deployment = shop.deployment(&agent, 1, "running").await;
    let row = &deployment["TaskGroups"]["web"];
    assert_eq!(row["Promoted"], false, "{row}");
    let told = reasons(&row["Rollout"]);
    assert!(
        told.iter().any(|own| own.contains("canary failed ")),
        "{told:?}"
    );
    loads[0].more(40).await;
    assert_eq!(newest(&agent, "shop").await.phase, RolloutPhase::Held);
    for load in loads {
        load.stop().await;
    }
}

/// A check at a path of its own.
fn deep() -> String {
    "check {\n type = \"http\"\n name = \"deep\"\n path = \"/deep\"\n interval = \"1s\"\n timeout = \"1s\"\n }".into()
}

/// An old instance and a canary with that check.
async fn checked(agent: &Agent, id: &str) -> Echo {
    let check = |job: &mut Echo| job.service = format!("{}\n{}", job.service, deep());
    with_canary(agent, id, 1, &judged(25, ""), "canary = 1", check).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canaries_that_are_not_well_are_judged_without_statistics() {
    let agent = Agent::start().await;
    let bad = agent.dir().join("bad");
    let (crashed, mut sick, mut never) = tokio::join!(
        one(&agent, "crashed", judged(25, ""), [&[], &[]]),
        checked(&agent, "sick"),
        checked(&agent, "never"),
    );
    // Never healthy: its deployment fails, and its share was 0 all the time.
    never.args = words(&["-error-rate", "1", "-only", "/deep"]);
    never.update = "canary = 1\nmax_parallel = 1\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"2s\"\nprogress_deadline = \"0s\"".into();
    never.register(&agent).await;
    sick.args = words(&[
        "-error-rate",
        "1",
        "-only",
        "/deep",
        "-while",
        bad.to_str().expect("a path"),
    ]);
    sick.register(&agent).await;
    crashed.register(&agent).await;

    // One that is critical leaves its part to the old version, until it is well again.
    rollout(&agent, "sick", |row| (row["Share"] == 2500).then_some(())).await;
    targets(&agent, "sick", 2).await;
    std::fs::write(&bad, "").expect("a file");
    let held = reaches(&agent, "sick", "held", "canary ").await;
    assert!(
        held.reason.ends_with(" is critical: deep"),
        "{}",
        held.reason
    );
    assert_eq!(
        (held.cause, held.share),
        (RolloutCause::Unhealthy, Share::of_percent(25))
    );
    targets(&agent, "sick", 1).await;
    let seen = load::spread(&agent.url("ingress", "/sick"), 20).await;
    assert_eq!(seen.get("old"), Some(&20), "{seen:?}");
    std::fs::remove_file(&bad).expect("a file");
    targets(&agent, "sick", 2).await;
    let seen = load::spread(&agent.url("ingress", "/sick"), 40).await;
    assert!((9..=11).contains(&seen["new"]), "{seen:?}");

    // One that is restarted twice.
    let canary = agent
        .wait("/v1/job/crashed/allocations", |all| {
            let mut all = all.as_array()?.iter();
            let own = all.find(|own| own["JobVersion"] == 1)?;
            (own["ClientStatus"] == "running").then(|| own.clone())
        })
        .await;
    let canary = read_alloc(&agent, &canary).await;
    let id = canary["ID"].as_str().expect("an id");
    for restarts in 1..=2 {
        kill(server_process(&agent, port(&canary)), Signal::SIGKILL).expect("it runs");
        agent
            .wait(&format!("/v1/allocation/{id}"), |alloc| {
                let state = &alloc["TaskStates"]["server"];
                let is_again = state["Restarts"] == restarts && state["State"] == "running";
                let is_over = alloc["DesiredStatus"] == "stop";
                (is_again || is_over).then_some(())
            })
            .await;
    }
    let sentence = format!("task server of canary {} was restarted 2 times", &id[..8]);
    reaches(&agent, "crashed", "aborted", &sentence).await;

    let failed = never.deployment(&agent, 1, "failed").await;
    assert_eq!(
        failed["StatusDescription"],
        "Failed due to unhealthy allocations"
    );
    let row = typed(&failed["TaskGroups"]["web"]["Rollout"]);
    assert_eq!(
        (row.phase, row.cause),
        (RolloutPhase::Aborted, RolloutCause::Deployment)
    );
    assert!(
        row.transitions.iter().all(|own| own.share == Share::NONE),
        "{row:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_with_a_warning_gets_what_its_weights_say() {
    let agent = Agent::start().await;
    let mut job = Echo::new("shop", 2);
    "${NOMAD_ALLOC_INDEX}".clone_into(&mut job.text);
    job.service = format!("{}\nweights {{\n passing = 4\n warning = 1\n }}", deep());
    let file = format!("{}/warned-${{NOMAD_ALLOC_INDEX}}", agent.dir().display());
    job.args = words(&["-status", "429", "-only", "/deep", "-while", &file]);
    job.run(&agent).await;
    targets(&agent, "shop", 2).await;
    std::fs::write(agent.dir().join("warned-0"), "").expect("a file");
    eventually("the weight of a warning", || async {
        let seen = load::spread(&agent.url("ingress", "/shop"), 50).await;
        let is_it = seen.get("0") == Some(&10) && seen.get("1") == Some(&40);
        is_it.then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
}

/// A task beside the server that runs a script and may have little memory.
fn beside_it(script: &str) -> String {
    format!(
        "task \"beside\" {{\n driver = \"exec\"\n config {{\n command = \"sh\"\n args = [\"-c\", \"{script}\"]\n }}\n resources {{\n cpu = 20\n memory = 32\n }}\n }}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_canary_that_is_killed_for_memory_is_given_up() {
    if !need_root() {
        return;
    }
    let agent = Agent::start().await;
    let small = |job: &mut Echo| job.group = beside_it("while :; do sleep 1000; done");
    let mut job = with_canary(&agent, "shop", 1, &judged(25, ""), "canary = 1", small).await;
    job.group = beside_it("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
    job.register(&agent).await;
    let given_up = reaches(&agent, "shop", "aborted", "task beside of canary ").await;
    let reason = &given_up.reason;
    assert!(reason.ends_with(" was killed for memory"), "{reason}");
    assert_eq!(given_up.cause, RolloutCause::Unhealthy);
}

/// A job file with a second group, the same but for its name and its service.
fn with_second_group(job: &Echo) -> String {
    let text = job.hcl();
    let begins = text.find("  group \"web\"").expect("a group");
    let ends = text.rfind('}').expect("an end");
    let second = text[begins..ends]
        .replace("group \"web\"", "group \"api\"")
        .replace("name = \"shop\"", "name = \"api\"")
        .replace("urlprefix-/shop", "urlprefix-/api");
    format!("{}{second}}}\n", &text[..ends])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_go_their_own_ways_and_what_is_over_stays_so() {
    let agent = Agent::start().await;
    let mut job = Echo::new("shop", 1);
    "old".clone_into(&mut job.text);
    job.service = "meta {\n rollout_steps = \"10,50\"\n rollout_hold = \"1h\"\n rollout_sticky = \"header:x-user\"\n }".into();
    job.update =
        "canary = 1\nmax_parallel = 1\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
            .into();
    agent.register(&with_second_group(&job)).await;
    let over = job.deployment(&agent, 0, "successful").await;
    for service in ["shop", "api"] {
        targets(&agent, service, 1).await;
    }
    // There is nothing to give up, and nothing to move.
    let id = over["ID"].as_str().expect("an id");
    for words in [["deployment", "fail", id], ["rollout", "next", id]] {
        let refused = trivet(&agent, &words).await;
        assert_ne!(refused.code, 0, "{}", refused.text());
        let text = "has terminal status";
        assert!(refused.text().contains(text), "{}", refused.text());
    }
    let path = format!("/v1/deployment/{id}");
    assert_eq!(
        http::get(&agent.url("http", &path)).await,
        over,
        "nothing changed"
    );

    "new".clone_into(&mut job.text);
    agent.register(&with_second_group(&job)).await;
    let shares = async |web: u64, api: u64| {
        agent
            .wait("/v1/job/shop/deployment", |row| {
                let share = |group: &str| &row["TaskGroups"][group]["Rollout"]["Share"];
                (*share("web") == web && *share("api") == api).then_some(())
            })
            .await;
    };
    shares(1000, 1000).await;
    let refused = trivet(&agent, &["rollout", "next", "shop"]).await;
    assert!(refused.text().contains("name one"), "{}", refused.text());
    in_force(&agent, 0.1).await;
    let few = [users(&agent, "shop").await, users(&agent, "api").await];
    trivet(&agent, &["rollout", "next", "-group", "api", "shop"])
        .await
        .ok();
    shares(1000, 5000).await;
    in_force(&agent, 0.5).await;
    let (web, api) = (users(&agent, "shop").await, users(&agent, "api").await);
    assert_eq!(web, few[0], "the other group stays where it is");
    // Who has the canary keeps it while its share grows.
    assert!(
        api.is_superset(&few[1]) && api.len() > few[1].len(),
        "{few:?} {api:?}"
    );
    assert!((80..=120).contains(&api.len()), "{}", api.len());

    let id = deployment_id(&agent, "shop").await;
    let words = ["deployment", "promote", "-detach", "-group", "api", &id];
    trivet(&agent, &words).await.ok();
    let row = agent
        .wait("/v1/job/shop/deployment", |row| {
            let groups = &row["TaskGroups"];
            (groups["api"]["Promoted"] == true).then(|| row.clone())
        })
        .await;
    let web = &row["TaskGroups"]["web"];
    assert_eq!(
        (&web["Promoted"], &web["Rollout"]["Share"]),
        (&false.into(), &1000.into())
    );
    trivet(&agent, &["deployment", "fail", "-detach", &id])
        .await
        .ok();
    eventually("everybody of the one group has the old version", || async {
        let users = users(&agent, "shop").await;
        if users.is_empty() {
            Ok(())
        } else {
            Err(format!("{users:?}"))
        }
    })
    .await;
}

/// The users of two hundred, told apart by a header, who get the new version.
async fn users(agent: &Agent, service: &str) -> BTreeSet<u32> {
    let client = http::client();
    let url = agent.url("ingress", &format!("/{service}"));
    let mut users = BTreeSet::new();
    for user in 0..200 {
        let request = client.get(&url).header("x-user", format!("u{user}"));
        let answer = request.send().await.expect("an answer");
        if answer.text().await.expect("a text") == "new" {
            users.insert(user);
        }
    }
    users
}
