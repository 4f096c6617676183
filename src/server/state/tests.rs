//! Allocation, instance and node change in one entry.

use super::*;
use jobs::{
    model::{
        AllocDeploymentStatus, AllocatedPort, AutopilotConfig, ClientStatus, Deployment,
        DeploymentState, FlatMap, Id, Job, Node, NodeStatus, PlanResult, ServiceCheck, ServiceSpec,
        Span, StoppedAlloc, Task, TaskGroup, TaskPhase, TaskState,
    },
    state::{AllocUpdate, Command as JobsCommand, RegisterJob},
};
use mesh::{
    model::Status,
    state::{CheckResult, Command as MeshCommand, UpdateChecks},
};
use proptest::prelude::*;
use std::sync::Arc;

/// A state with its next index, and a catalog that replays what agents are sent.
#[derive(Default)]
struct World {
    state: State,
    replica: mesh::view::View,
    index: Index,
}

impl World {
    fn apply(&mut self, command: impl Into<Command>) {
        self.index += 1;
        let at = Stamp {
            index: self.index,
            now: Timestamp::from_nanos(i64::try_from(self.index).unwrap()),
        };
        let mut changes = Changes::default();
        self.state.apply(at, command.into(), &mut changes).unwrap();
        self.state.advance(at);
        for change in changes.mesh.into_iter().flat_map(|applied| applied.changes) {
            self.replica.apply(at.index, change);
        }
    }

    /// One ready node and the job `web` with a service of its task and one of its group.
    fn new() -> Self {
        let mut world = Self::default();
        world.apply(JobsCommand::UpsertNode(Box::new(node())));
        let register = RegisterJob {
            job: job(),
            ..RegisterJob::default()
        };
        world.apply(JobsCommand::RegisterJob(Box::new(register)));
        world
    }

    fn place(&mut self, alloc: Allocation) {
        self.apply(JobsCommand::ApplyPlans(vec![PlanResult {
            placements: vec![alloc],
            ..PlanResult::default()
        }]));
    }

    fn stop(&mut self, id: &str) {
        self.apply(JobsCommand::ApplyPlans(vec![PlanResult {
            stops: vec![StoppedAlloc {
                alloc_id: Id::named(id),
                node_id: Id::named("node-1"),
                description: "alloc not needed".into(),
                ..StoppedAlloc::default()
            }],
            ..PlanResult::default()
        }]));
    }

    fn report(&mut self, id: &str, status: ClientStatus, phase: TaskPhase, restarts: u64) {
        let state = TaskState {
            state: phase,
            restarts,
            ..TaskState::default()
        };
        self.apply(JobsCommand::UpdateAllocs {
            updates: vec![AllocUpdate {
                alloc_id: Id::named(id),
                client_status: status,
                task_states: FlatMap::from([("server".into(), state)]),
                ..AllocUpdate::default()
            }],
            evals: Vec::new(),
        });
    }

    fn runs(&mut self, id: &str) {
        self.report(id, ClientStatus::Running, TaskPhase::Running, 0);
    }

    /// Reports every check of the catalog as passing.
    fn all_pass(&mut self) {
        let checks = self.state.mesh.current().checks(None);
        let results = checks
            .map(|check| CheckResult {
                node: check.node.clone(),
                check_id: check.id.clone(),
                status: Status::Passing,
                output: String::new(),
            })
            .collect();
        self.apply(MeshCommand::UpdateChecks(UpdateChecks { results }));
    }

    /// Ids of the allocations whose `web` instance is in the catalog, with its tags and its status.
    fn listed(&self) -> Vec<(String, Vec<String>, Status)> {
        let instances = self.state.mesh.current().instances("web");
        instances
            .into_iter()
            .map(|instance| {
                let origin = instance.service.origin.clone().unwrap();
                (
                    origin.alloc_id.to_string(),
                    instance.service.tags.clone(),
                    instance.status,
                )
            })
            .collect()
    }

    /// Rows of the services table, draining ones included.
    fn rows(&self) -> Vec<Arc<mesh::model::Service>> {
        self.state.mesh.current().all_services().cloned().collect()
    }
}

fn node() -> Node {
    Node {
        id: Id::named("node-1"),
        name: "one".into(),
        datacenter: "dc1".into(),
        http_addr: "10.0.0.1:4646".into(),
        status: NodeStatus::Ready,
        ..Node::default()
    }
}

fn service(name: &str) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        provider: "consul".into(),
        port_label: "http".into(),
        address_mode: "auto".into(),
        tags: vec!["stable".into()],
        canary_tags: vec!["canary".into()],
        checks: vec![ServiceCheck {
            name: "alive".into(),
            check_type: "tcp".into(),
            port_label: "http".into(),
            interval: Span::SECOND,
            timeout: Span::SECOND,
            ..ServiceCheck::default()
        }],
        ..ServiceSpec::default()
    }
}

fn job() -> Job {
    let task = Task {
        name: "server".into(),
        driver: "raw_exec".into(),
        services: vec![service("web")],
        ..Task::default()
    };
    let group = TaskGroup {
        name: "web".into(),
        count: 2,
        tasks: vec![task],
        services: vec![service("web-group")],
        ..TaskGroup::default()
    };
    Job {
        namespace: "default".into(),
        id: "web".into(),
        name: "web".into(),
        task_groups: vec![group].into(),
        ..Job::default()
    }
}

/// The id of an allocation as the catalog has it.
fn text(id: &str) -> String {
    AllocId::named(id).to_string()
}

fn alloc(id: &str) -> Allocation {
    let mut alloc = Allocation {
        id: Id::named(id),
        namespace: "default".into(),
        name: "web.web[0]".into(),
        node_id: Id::named("node-1"),
        node_name: "one".into(),
        job_id: "web".into(),
        task_group: "web".into(),
        ..Allocation::default()
    };
    alloc.allocated_resources.shared.ports = vec![AllocatedPort {
        label: "http".into(),
        value: 20_000,
        to: 0,
        host_ip: "10.0.0.1".into(),
    }]
    .into();
    alloc
}

#[test]
fn an_instance_enters_the_catalog_in_the_entry_that_says_its_task_runs() {
    let mut world = World::new();
    world.place(alloc("a"));
    assert!(world.rows().is_empty());
    world.runs("a");
    assert_eq!(world.rows().len(), 2);
    let snapshot = world.state.snapshot();
    assert_eq!(snapshot.mesh.service_index("web"), world.index);
    assert_eq!(
        snapshot.jobs.alloc(Id::named("a")).unwrap().modify_index,
        world.index
    );
    // Not passing before its first check.
    assert_eq!(world.listed()[0].2, Status::Critical);
    world.all_pass();
    assert_eq!(world.listed()[0].2, Status::Passing);
}

#[test]
fn a_stop_takes_the_instance_out_in_the_same_entry_and_its_end_removes_the_row() {
    let mut world = World::new();
    world.place(alloc("a"));
    world.runs("a");
    world.stop("a");
    let stopped_at = world
        .state
        .jobs
        .current()
        .alloc(Id::named("a"))
        .unwrap()
        .alloc_modify_index;
    assert_eq!(stopped_at, world.index);
    assert!(world.listed().is_empty());
    assert!(
        world
            .rows()
            .iter()
            .all(|row| row.draining && row.modify_index == stopped_at)
    );
    // It still runs while it is drained.
    world.runs("a");
    assert!(world.rows().iter().all(|row| row.draining));
    world.report("a", ClientStatus::Complete, TaskPhase::Dead, 0);
    assert!(world.rows().is_empty());
}

#[test]
fn promotion_changes_the_tags_and_keeps_the_check() {
    let mut world = World::new();
    let mut canary = alloc("a");
    canary.deployment_id = Some(Id::named("d"));
    canary.deployment_status = Some(Box::new(AllocDeploymentStatus {
        healthy: Some(true),
        canary: true,
        ..AllocDeploymentStatus::default()
    }));
    let progress = DeploymentState {
        placed_canaries: vec![Id::named("a")],
        desired_canaries: 1,
        desired_total: 1,
        healthy_allocs: 1,
        ..DeploymentState::default()
    };
    let job_create_index = world
        .state
        .jobs
        .current()
        .job(&job().key())
        .unwrap()
        .create_index;
    world.apply(JobsCommand::ApplyPlans(vec![PlanResult {
        deployment: Some(Deployment {
            id: Id::named("d"),
            namespace: "default".into(),
            job_id: "web".into(),
            job_create_index,
            task_groups: BTreeMap::from([("web".into(), progress)]),
            ..Deployment::default()
        }),
        placements: vec![canary],
        ..PlanResult::default()
    }]));
    world.runs("a");
    world.all_pass();
    assert_eq!(
        world.listed(),
        [(text("a"), vec!["canary".into()], Status::Passing)]
    );
    world.apply(JobsCommand::PromoteDeployment {
        deployment_id: Id::named("d"),
        groups: Vec::new(),
        eval: jobs::model::Evaluation::default(),
    });
    assert_eq!(
        world.listed(),
        [(text("a"), vec!["stable".into()], Status::Passing)]
    );
}

#[test]
fn a_withdrawn_instance_comes_back_only_with_a_new_process() {
    let mut world = World::new();
    world.place(alloc("a"));
    world.runs("a");
    world.all_pass();
    world.apply(Command::Withdraw {
        alloc_id: Id::named("a"),
        task: Some("server".into()),
    });
    assert!(world.listed().is_empty());
    world.runs("a");
    assert!(world.listed().is_empty());
    // The report in between was merged with the next one: only the count tells.
    world.report("a", ClientStatus::Running, TaskPhase::Running, 1);
    assert_eq!(world.listed()[0].2, Status::Critical);
}

#[test]
fn a_node_that_is_down_has_no_passing_instance() {
    let mut world = World::new();
    world.place(alloc("a"));
    world.runs("a");
    world.all_pass();
    world.apply(JobsCommand::UpdateNodeStatus {
        node_ids: vec![Id::named("node-1")],
        status: NodeStatus::Down,
        evals: Vec::new(),
    });
    assert_eq!(world.listed()[0].2, Status::Critical);
}

fn raise(to: Version) -> Command {
    Command::RaiseVersion { to }
}

fn labeled(rack: &str) -> Node {
    Node {
        meta: [("rack".into(), rack.into())].into(),
        ..node()
    }
}

impl World {
    /// The row of the node in the catalog: its labels, and the index of its last change.
    fn row(&self) -> (Vec<String>, Index) {
        let row = self.state.mesh.current().node("one").unwrap();
        let labels = row
            .meta
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        assert_eq!(self.replica.node("one"), Some(row), "what agents were sent");
        (labels.collect(), row.modify_index)
    }
}

#[test]
fn rows_of_nodes_are_derived_anew_when_the_rules_are_raised() {
    let mut world = World::default();
    world.apply(JobsCommand::UpsertNode(Box::new(labeled("r1"))));
    assert_eq!(world.row(), (vec![], 1));
    world.apply(JobsCommand::UpsertNode(Box::new(labeled("r2"))));
    assert_eq!(world.row(), (vec![], 1), "by the rules in force");
    world.apply(raise(Version::FIRST));
    assert_eq!(world.row(), (vec![], 1), "they were in force");

    world.apply(raise(Version::SECOND));
    let shown = |rack: &str| vec!["consul-network-segment=".into(), format!("rack={rack}")];
    assert_eq!(world.row(), (shown("r2"), 4));
    for older in [Version::SECOND, Version::FIRST] {
        world.apply(raise(older));
        assert_eq!(
            world.row(),
            (shown("r2"), 4),
            "{older} changes nothing any more"
        );
        assert_eq!(world.state.snapshot().version, Version::SECOND);
    }
    world.apply(JobsCommand::UpsertNode(Box::new(labeled("r3"))));
    assert_eq!(world.row(), (shown("r3"), 7));
}

#[test]
fn the_row_of_a_name_stays_with_its_holder_when_the_rules_are_raised() {
    let mut world = World::new();
    world.place(alloc("a"));
    world.runs("a");
    let down = |id: &str| JobsCommand::UpdateNodeStatus {
        node_ids: vec![Id::named(id)],
        status: NodeStatus::Down,
        evals: Vec::new(),
    };
    // Another machine takes the name over, and is gone too.
    world.apply(down("node-1"));
    let heir = Node {
        id: Id::named("node-2"),
        ..labeled("r2")
    };
    world.apply(JobsCommand::UpsertNode(Box::new(heir)));
    world.apply(down("node-2"));
    world.apply(raise(Version::SECOND));
    let (labels, index) = world.row();
    assert_eq!((labels.len(), index), (2, world.index));
    let holder = world.state.mesh.current().node("one").unwrap();
    assert_eq!(holder.id, NodeId::named("node-2").to_string());
}

#[test]
fn a_node_with_more_labels_than_the_catalog_takes_is_taken() {
    let mut world = World::default();
    world.apply(raise(Version::SECOND));
    let long = "x".repeat(4096);
    let labels = (0..2000).map(|at| (format!("label-{at:04}"), "value".to_owned()));
    let node = Node {
        meta: labels
            .chain([(long.clone(), "v".into()), ("a".into(), long)])
            .collect(),
        attributes: [("consul.version".into(), "1.22.0".into())].into(),
        ..node()
    };
    world.apply(JobsCommand::UpsertNode(Box::new(node)));
    let (labels, _) = world.row();
    assert_eq!(labels.len(), mesh::state::META_PAIRS_MAX);
    assert_eq!(
        labels[..3],
        [
            "consul-network-segment=",
            "consul-version=1.22.0",
            "label-0000=value",
        ]
    );
}

#[test]
fn a_node_that_the_catalog_refuses_is_in_no_table() {
    let mut world = World::new();
    let namesake = Node {
        id: Id::named("node-2"),
        ..node()
    };
    let command = JobsCommand::UpsertNode(Box::new(namesake));
    let at = world.state.stamp();
    let refused = world
        .state
        .apply(at, command.into(), &mut Changes::default());
    assert!(matches!(refused, Err(Rejected::Mesh(_))));
    assert!(
        world
            .state
            .jobs
            .current()
            .node(Id::named("node-2"))
            .is_none()
    );
}

#[test]
fn a_sequence_ends_at_its_first_rejected_command() {
    let mut world = World::new();
    let eligibility = |node_id: &str| {
        Command::from(JobsCommand::UpdateNodeEligibility {
            node_id: Id::named(node_id),
            eligibility: jobs::model::Eligibility::Ineligible,
            evals: Vec::new(),
        })
    };
    let sequence = Command::Sequence(vec![eligibility("nobody"), eligibility("node-1")]);
    let at = world.state.stamp();
    let outcome = world.state.apply(at, sequence, &mut Changes::default());
    assert!(outcome.is_err());
    assert!(
        world
            .state
            .jobs
            .current()
            .node(Id::named("node-1"))
            .unwrap()
            .is_ready()
    );
}

#[test]
fn a_saved_state_reads_back_the_same() {
    let mut world = World::new();
    world.place(alloc("a"));
    world.runs("a");
    let rows = |state: &State| {
        let rows = state.saved_rows();
        let encoded = rows.map(|row| rmp_serde::to_vec_named(&row).unwrap());
        encoded.collect::<Vec<_>>()
    };
    let mut loading = Loading::default();
    for row in rows(&world.state) {
        loading.add(rmp_serde::from_slice(&row).unwrap()).unwrap();
    }
    let read = loading.finish();
    assert_eq!(read.stamp(), world.state.stamp());
    assert_eq!(read.mesh, world.state.mesh);
    assert_eq!(rows(&read), rows(&world.state));
}

/// Something that happens to one of three allocations.
#[derive(Clone, Debug)]
enum Event {
    Stop,
    Withdraw,
    Report(ClientStatus, TaskPhase, u64),
}

fn event() -> impl Strategy<Value = Event> {
    let status = prop_oneof![
        1 => Just(ClientStatus::Pending),
        3 => Just(ClientStatus::Running),
        1 => Just(ClientStatus::Failed),
        1 => Just(ClientStatus::Complete),
    ];
    let phase = prop_oneof![
        1 => Just(TaskPhase::Pending),
        3 => Just(TaskPhase::Running),
        1 => Just(TaskPhase::Dead),
    ];
    prop_oneof![
        1 => Just(Event::Stop),
        1 => Just(Event::Withdraw),
        5 => (status, phase, 0..2_u64).prop_map(|(status, phase, restarts)| {
            Event::Report(status, phase, restarts)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_are_no_ghosts(events in prop::collection::vec((0..3_usize, event()), 0..40)) {
        let ids = ["a", "b", "c"];
        let mut world = World::new();
        for id in ids {
            world.place(alloc(id));
        }
        for (at, event) in events {
            let id = ids[at];
            match event {
                Event::Stop => world.stop(id),
                Event::Withdraw => {
                    world.apply(Command::Withdraw { alloc_id: Id::named(id), task: None });
                }
                Event::Report(status, phase, restarts) => world.report(id, status, phase, restarts),
            }
            // What an agent replays gives what the server has.
            prop_assert_eq!(&world.replica, world.state.mesh.current().view());
            for id in ids {
                let alloc = world.state.jobs.current().alloc(Id::named(id)).unwrap();
                let running = alloc.task_states.get("server")
                    .is_some_and(|state| state.state == TaskPhase::Running);
                let wanted = running && !alloc.client_terminal();
                let rows: Vec<_> = world.rows().into_iter()
                    .filter(|row| row.origin.as_ref().is_some_and(|origin| origin.alloc_id == text(id)))
                    .collect();
                prop_assert!(wanted || rows.is_empty());
                if alloc.server_terminal() {
                    // What was stopped before it ran never enters.
                    prop_assert!(rows.iter().all(|row| row.draining));
                } else if wanted {
                    prop_assert_eq!(rows.len(), 2);
                }
            }
        }
    }
}

#[test]
fn a_plan_that_its_node_or_job_overtook_is_left_out() {
    let plan = |id: &str| {
        let eval = jobs::model::Evaluation {
            id: Id::named(&format!("eval-{id}")),
            namespace: "default".into(),
            job_id: "web".into(),
            status: jobs::model::EvalStatus::Complete,
            ..jobs::model::Evaluation::default()
        };
        vec![PlanResult {
            placements: vec![alloc(id)],
            evals: vec![eval],
            ..PlanResult::default()
        }]
    };
    let mut other = node();
    other.node_class = "other".into();
    let changed = JobsCommand::UpsertNode(Box::new(other));
    let mut other = job();
    other.priority += 1;
    let registered = JobsCommand::RegisterJob(Box::new(RegisterJob {
        job: other,
        ..RegisterJob::default()
    }));
    for overtaking in [changed, registered] {
        let mut world = World::new();
        let seen = world.index;
        world.apply(overtaking);
        let results = plan("a");
        world.apply(Command::Plans { seen, results });
        assert!(world.state.jobs.current().alloc(Id::named("a")).is_none());
        assert!(
            world
                .state
                .jobs
                .current()
                .eval(Id::named("eval-a"))
                .is_none()
        );
        // Made anew, it is taken.
        let (seen, results) = (world.index, plan("b"));
        world.apply(Command::Plans { seen, results });
        assert!(world.state.jobs.current().alloc(Id::named("b")).is_some());
    }
}

#[test]
fn a_plan_does_not_undo_what_was_asked_of_its_allocation_meanwhile() {
    let mut world = World::new();
    world.place(alloc("a"));
    let seen = world.index;
    let transition = jobs::model::DesiredTransition {
        migrate: Some(true),
        ..jobs::model::DesiredTransition::default()
    };
    world.apply(JobsCommand::TransitionAllocs {
        transitions: [(Id::named("a"), transition.clone())].into(),
        evals: Vec::new(),
    });
    let mut updated = alloc("a");
    updated.job_version = 1;
    let results = vec![PlanResult {
        placements: vec![updated],
        ..PlanResult::default()
    }];
    world.apply(Command::Plans { seen, results });
    let row = world.state.jobs.current().alloc(Id::named("a"));
    let row = row.expect("an allocation");
    assert_eq!((row.job_version, &row.desired_transition), (0, &transition));
}

#[test]
fn the_settings_of_autopilot_belong_to_the_third_rules() {
    let set = || {
        Command::from(JobsCommand::SetAutopilotConfig {
            config: AutopilotConfig::default(),
            expected: None,
        })
    };
    assert_eq!(set().version(), Version::THIRD);
    let hidden = Command::Sequence(vec![raise(Version::FIRST), set()]);
    assert_eq!(hidden.version(), Version::THIRD);
}
