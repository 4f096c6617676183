//! What holds for every history.

use super::world::{World, check_invariants, node_from};
use jobs::{control::triggers, ids::Ids};
use jobs::{
    model::{ClientStatus, JobKey, Node, Span, Trigger},
    scheduler::{self, Context},
    state::{Loading, SavedRow, Snapshot, State},
};
use proptest::prelude::*;

/// One command of a generated history.
#[derive(Clone, Debug)]
struct Step(String);

fn step() -> impl Strategy<Value = Step> {
    let job = prop_oneof!["web", "api", "sum"];
    let update = (
        job.clone(),
        0..6_u32,
        0..3_u32,
        0..3_u32,
        1..4_u32,
        any::<bool>(),
        prop_oneof![Just(20), Just(50), Just(80)],
    );
    prop_oneof![
        4 => update.prop_map(|(job, count, env, canary, parallel, fixed, prio)| {
            let kind = if job == "sum" { " batch".to_owned() } else {
                format!(" canary={canary} parallel={parallel}")
            };
            let port = if fixed && job == "api" { "static=http:8080" } else { "port=http" };
            Step(format!("job {job} count={count} env={env} prio={prio} cpu=300 {port}{kind}"))
        }),
        6 => (job.clone(), prop_oneof!["healthy", "running", "failed", "complete", "unhealthy"])
            .prop_map(|(job, what)| Step(format!("client {what} {job} wanted"))),
        4 => job.clone().prop_map(|job| Step(format!("client complete {job} stopping"))),
        4 => (job.clone(), 0..4_u32, prop_oneof!["healthy", "failed", "complete"])
            .prop_map(|(job, at, what)| Step(format!("client {what} {job} [{at}]"))),
        1 => (1..5_u32).prop_map(|n| Step(format!("down n{n}"))),
        2 => (1..5_u32).prop_map(|n| Step(format!("beat n{n}"))),
        1 => (1..5_u32).prop_map(|n| Step(format!("node n{n} cpu=1000 mem=2000"))),
        2 => (1..70_u32).prop_map(|s| Step(format!("tick {s}s"))),
        2 => job.clone().prop_map(|job| Step(format!("promote {job}"))),
        1 => job.clone().prop_map(|job| Step(format!("fail {job}"))),
        1 => job.clone().prop_map(|job| Step(format!("alloc-stop {job} [0]"))),
        1 => job.prop_map(|job| Step(format!("stop {job}"))),
        1 => Just(Step("gc".into())),
        1 => prop_oneof!["none", "service", "service,batch"]
            .prop_map(|types| Step(format!("config preempts={types}"))),
    ]
}

fn start(seed: u64) -> World {
    let mut world = World::new(seed);
    for name in ["n1", "n2", "n3"] {
        world.command(&format!("node {name} cpu=1000 mem=2000"));
    }
    world
}

fn play(seed: u64, steps: &[Step]) -> World {
    let mut world = start(seed);
    for Step(command) in steps {
        world.command(command);
    }
    world
}

/// What is written of a state.
fn saved(state: &Snapshot) -> String {
    let rows: Vec<SavedRow> = state.saved_rows().collect();
    serde_json::to_string(&rows).expect("rows are serializable")
}

/// A state as it is read back.
fn read_back(text: &str) -> Snapshot {
    let rows: Vec<SavedRow> = serde_json::from_str(text).expect("what was written can be read");
    let mut loading = Loading::default();
    for row in rows {
        loading.add(row);
    }
    loading.finish()
}

/// Two texts of states say the same.
fn check_alike(again: &str, text: &str) {
    let differs = again.bytes().zip(text.bytes()).position(|(a, b)| a != b);
    let around = |text: &str| {
        differs.map(|at| {
            text.chars()
                .skip(at.saturating_sub(200))
                .take(300)
                .collect::<String>()
        })
    };
    assert_eq!(around(again), around(text), "a restored state differs");
    assert_eq!(again.len(), text.len());
}

/// A saved state read back holds the same rows, counts and usage.
fn check_round_trip(state: &Snapshot) {
    let text = saved(state);
    let restored = read_back(&text);
    check_alike(&saved(&restored), &text);
    for node in state.nodes("") {
        assert_eq!(
            state.node_usage(node.id),
            restored.node_usage(node.id),
            "{}",
            node.id
        );
    }
    for alloc in state.allocs("") {
        let again = restored.alloc(alloc.id).expect("the allocation");
        assert_eq!(alloc.job.version, again.job.version);
        assert_eq!(alloc.job.task_groups, again.job.task_groups);
        let of_node = restored.allocs_of_node(alloc.node_id);
        assert_eq!(of_node.filter(|a| a.id == alloc.id).count(), 1);
    }
    check_invariants(&restored);
}

/// Nothing changed, so looking again changes nothing.
fn check_at_rest(world: &World) {
    for job in world.state.current().jobs(None, "") {
        let mut ids = Ids::from_seed(99);
        let eval = triggers::for_job(job, Trigger::JobRegister, world.now, &mut ids);
        // A little earlier, because what is due within a second counts as due.
        let mut cx = Context::new(world.now - Span::SECOND, 7);
        let outcome = scheduler::schedule(world.state.current(), &eval, &mut cx);
        assert!(
            outcome.plan.is_empty(),
            "{}: {:?} {:?} {:?}",
            job.id,
            outcome.plan.stops,
            outcome.plan.deployment_updates,
            outcome
                .plan
                .placements
                .values()
                .flatten()
                .map(|a| (a.name.clone(), a.node_id, a.previous_allocation))
                .collect::<Vec<_>>()
        );
    }
}

fn check_counts(state: &Snapshot) {
    for job in state.jobs(None, "") {
        let key = job.key();
        for group in &job.task_groups {
            let mut names = std::collections::BTreeMap::<&str, usize>::new();
            for alloc in state.allocs_of_job(&key).filter(|a| !a.is_terminal()) {
                *names.entry(&alloc.name).or_default() += 1;
            }
            let wanted = if job.stop { 0 } else { group.count as usize };
            let canaries = group.update.as_ref().map_or(0, |u| u.canary as usize);
            assert!(names.len() <= wanted + canaries, "{}: {names:?}", job.id);
            // The old one, the new one beside it, and a canary of the same name.
            assert!(
                names.values().all(|copies| *copies <= 2),
                "{}: {names:?}",
                job.id
            );
        }
    }
}

/// Cases of each property, unless `PROPTEST_CASES` says how many.
const CASES: u32 = 96;

/// A history that found a bug is printed, to become a script; it is not kept in a file of seeds.
#[expect(
    clippy::disallowed_methods,
    reason = "the number of cases is the caller's"
)]
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => default.cases,
        Err(_) => CASES,
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_history_keeps_the_invariants(
        seed in 0..1_000_u64,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let world = play(seed, &steps);
        check_round_trip(world.state.current());
        check_at_rest(&world);
        check_counts(world.state.current());
    }

    #[test]
    fn the_same_history_gives_the_same_state(
        seed in 0..1_000_u64,
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let (one, two) = (play(seed, &steps), play(seed, &steps));
        prop_assert!(one.state.current().saved_rows().eq(two.state.current().saved_rows()));
    }

    #[test]
    fn a_state_that_was_restored_goes_on_as_one_that_was_not(
        seed in 0..1_000_u64,
        before in prop::collection::vec(step(), 1..25),
        after in prop::collection::vec(step(), 1..40),
    ) {
        let (mut one, mut other) = (play(seed, &before), play(seed, &before));
        other.state = State::restore(read_back(&saved(other.state.current())));
        for Step(command) in &after {
            one.command(command);
            other.command(command);
        }
        check_alike(&saved(other.state.current()), &saved(one.state.current()));
    }

    #[test]
    fn updates_keep_serving_and_leave_no_surplus(
        count in 1..7_u32,
        parallel in 1..4_u32,
        canary in 0..3_u32,
        room in 1..8_u32,
        seed in 0..1_000_u64,
    ) {
        let canary = canary.min(room);
        let mut world = World::new(seed);
        let cpu = (count + room) * 100;
        world.command(&format!("node n1 cpu={cpu} mem=8000"));
        let job = format!("job web count={count} parallel={parallel} canary={canary} cpu=100 mem=10 port=http");
        world.command(&format!("{job} env=1"));
        world.command("client healthy web");
        world.command(&format!("{job} env=2"));
        for _ in 0..40 {
            let serving = world.state.current().allocs("")
                .filter(|a| !a.is_terminal() && a.client_status == ClientStatus::Running)
                .filter(|a| a.healthy() == Some(true) && !a.is_canary())
                .count();
            prop_assert!(serving + parallel as usize >= count as usize, "serving {}", serving);
            if room >= parallel + canary {
                prop_assert!(serving >= count as usize, "serving {} with room", serving);
            }
            world.command("client healthy web undecided");
            world.command("promote web");
            world.command("client complete web stopping");
        }
        let key = JobKey::new("default", "web");
        let live: Vec<_> = world.state.current().allocs_of_job(&key).filter(|a| !a.is_terminal()).collect();
        prop_assert_eq!(live.len(), count as usize);
        prop_assert!(live.iter().all(|a| a.job_version == 1));
        let deployment = world.state.current().latest_deployment(&key).expect("a deployment");
        prop_assert_eq!(deployment.status.as_str(), "successful");
        prop_assert_eq!(deployment.task_groups["app"].healthy_allocs, count.max(canary));
        prop_assert!(world.state.current().job(&key).expect("the job").stable);
    }

    #[test]
    fn placements_satisfy_constraints_and_spreads(
        count in 1..40_u32,
        racks in 1..6_u32,
        seed in 0..1_000_u64,
    ) {
        let mut world = World::new(seed);
        for at in 0..12 {
            let rack = at % racks;
            let os = if at % 4 == 3 { "bsd" } else { "linux" };
            let words = format!("n{at} rack=r{rack} os={os}");
            let node: Node = node_from(&words.split(' ').collect::<Vec<_>>());
            world.add_node(node);
        }
        world.command(&format!(
            "job web count={count} cpu=10 mem=10 constraint=${{attr.os}},=,linux spread=${{attr.rack}}"
        ));
        let mut per_rack = std::collections::BTreeMap::<String, u32>::new();
        for node in world.state.current().nodes("") {
            if node.attributes["os"] == "linux" {
                per_rack.entry(node.attributes["rack"].clone()).or_default();
            }
        }
        for alloc in world.state.current().allocs("") {
            let node = world.state.current().node(alloc.node_id).expect("the node");
            prop_assert_eq!(&node.attributes["os"], "linux");
            *per_rack.entry(node.attributes["rack"].clone()).or_default() += 1;
        }
        let (min, max) = (per_rack.values().min().copied(), per_rack.values().max().copied());
        prop_assert_eq!(per_rack.values().sum::<u32>(), count);
        prop_assert!(max.unwrap_or(0) - min.unwrap_or(0) <= 2, "{:?}", per_rack);
    }
}
