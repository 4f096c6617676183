//! From an allocation to the instances of its services.

use jobs::{
    environment::TaskEnvironment,
    model::{AllocId, Allocation, Node, ServiceCheck, ServiceSpec, Task, TaskName, TaskPhase},
};
use mesh::model::{Check, Origin, Service, ServiceAddress, Status, Weights, bound_output};
use sha1::{Digest, Sha1};
use std::{collections::BTreeMap, fmt::Write};

use super::Rules;

/// How ids of instances of allocations begin; the allocation's id follows.
const ID_PREFIX: &str = "_nomad-task-";
/// Bytes of the text of an allocation's id.
const ALLOC_ID_BYTES: usize = 36;

/// Label under which an instance says which version of its job it runs.
pub const JOB_VERSION_META: &str = "job_version";

/// One instance of a service, with what is needed to check it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// As it is registered.
    pub service: Service,
    /// Its checks in the order of the job.
    pub checks: Vec<InstanceCheck>,
    /// The task whose service it is; none for a service of the group.
    pub task: Option<TaskName>,
    /// The job keeps it to itself: `provider = "nomad"`.
    pub native: bool,
}

/// One check of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceCheck {
    /// As it is registered.
    pub check: Check,
    /// As the job asks for it, resolved; texts may still hold `${…}` that only the client knows.
    pub spec: ServiceCheck,
    /// Where to connect.
    pub address: String,
    /// Where to connect; 0 for a check that needs no port.
    pub port: u16,
}

impl Instance {
    /// The checks as they are registered.
    pub fn registered_checks(&self) -> Vec<Check> {
        self.checks
            .iter()
            .map(|check| check.check.clone())
            .collect()
    }

    /// True while the tasks behind it run: its own task, or all main tasks of the group.
    pub fn is_live(&self, alloc: &Allocation) -> bool {
        let running = |task: &str| {
            alloc
                .task_states
                .get(task)
                .is_some_and(|state| state.state == TaskPhase::Running)
        };
        match (&self.task, alloc.group()) {
            (Some(task), _) => running(task),
            (None, Some(group)) => group
                .tasks
                .iter()
                .filter(|task| task.is_main())
                .all(|task| running(&task.name)),
            (None, None) => false,
        }
    }
}

/// The instances of `alloc` on `node` by the rules of the cluster, in the order of the job: those
/// of the group, then those of its tasks. Empty when the job has no services.
pub fn instances(rules: Rules, alloc: &Allocation, node: &Node) -> Vec<Instance> {
    match rules {
        Rules::First | Rules::Second | Rules::Third | Rules::Fourth => first_instances(alloc, node),
        #[cfg(feature = "next")]
        Rules::Fifth => first_instances(alloc, node),
    }
}

fn first_instances(alloc: &Allocation, node: &Node) -> Vec<Instance> {
    let Some(group) = alloc.group() else {
        return Vec::new();
    };
    if group.services.is_empty() && group.tasks.iter().all(|task| task.services.is_empty()) {
        return Vec::new();
    }
    let of_group = |specs: &[ServiceSpec]| -> Vec<Instance> {
        let derive = Derivation {
            alloc,
            node,
            task: None,
            environment: TaskEnvironment::of_group(alloc, node),
        };
        specs.iter().map(|spec| derive.instance(spec)).collect()
    };
    let of_task = |task: &Task| -> Vec<Instance> {
        let nothing = BTreeMap::new();
        let derive = Derivation {
            alloc,
            node,
            task: Some(&task.name),
            environment: TaskEnvironment::of_task(alloc, task, node, None, &nothing),
        };
        let specs = task.services.iter();
        specs.map(|spec| derive.instance(spec)).collect()
    };
    let mut all = of_group(&group.services);
    let with_services = |task: &&Task| !task.services.is_empty();
    all.extend(group.tasks.iter().filter(with_services).flat_map(of_task));
    all
}

/// Services of the group, or of one task, whose environment their texts are resolved with.
struct Derivation<'a> {
    alloc: &'a Allocation,
    node: &'a Node,
    task: Option<&'a TaskName>,
    environment: TaskEnvironment<'a>,
}

/// The allocation that an instance belongs to, by the instance's id; none for one that somebody
/// else registered.
pub fn alloc_of(instance: &str) -> Option<AllocId> {
    AllocId::parse(instance.strip_prefix(ID_PREFIX)?.get(..ALLOC_ID_BYTES)?)
}

impl Derivation<'_> {
    fn instance(&self, asked: &ServiceSpec) -> Instance {
        let spec = &self.resolved(asked);
        let name = spec.name.clone();
        let task = self.task;
        let owner = task.map_or_else(
            || format!("group-{}", self.alloc.task_group),
            ToString::to_string,
        );
        let id = format!(
            "{ID_PREFIX}{}-{owner}-{name}-{}",
            self.alloc.id, spec.port_label
        );
        let (address, port) = self.endpoint(&spec.port_label);
        let address = if spec.address.is_empty() {
            address
        } else {
            spec.address.clone()
        };
        let canary = self.alloc.is_canary();
        let tags = if canary && !spec.canary_tags.is_empty() {
            &spec.canary_tags
        } else {
            &spec.tags
        };
        let weights = spec.weights.unwrap_or_default();
        let service = Service {
            id: id.into(),
            node: self.node.name.as_str().into(),
            name: name.into(),
            address,
            port,
            tags: tags.clone(),
            meta: self.meta(spec, canary),
            tagged_addresses: tagged_addresses(spec, port),
            weights: Weights {
                passing: weight(weights.passing),
                warning: weight(weights.warning),
            },
            origin: Some(Origin {
                alloc_id: self.alloc.id.to_string().into(),
                namespace: self.alloc.namespace.as_str().into(),
                job_id: self.alloc.job_id.as_str().into(),
                job_version: self.alloc.job_version,
                task_group: self.alloc.task_group.as_str().into(),
                task: task.map(|task| task.as_str().into()),
                canary,
                share: self.alloc.traffic_share(),
                private: spec.provider == "nomad",
            }),
            ..Service::default()
        };
        let checks = spec.checks.iter().zip(&asked.checks).enumerate();
        let checks = checks.map(|(at, (check, asked))| {
            let id = check_id(&service.id, at, asked);
            self.check(&service, spec, id, check)
        });
        Instance {
            checks: checks.collect(),
            service,
            task: task.cloned(),
            native: spec.provider == "nomad",
        }
    }

    /// Where the port of that label, or of that number, is reached; port 0 when there is none. A
    /// task's own port hides one of another task.
    fn endpoint(&self, label: &str) -> (String, u16) {
        let given = &self.alloc.allocated_resources;
        let of_task = self.task.and_then(|task| given.tasks.get(task));
        if let Some(port) = of_task.and_then(|given| given.port(label)) {
            return (self.node_address(), port);
        }
        let shared = &self.alloc.allocated_resources.shared.ports;
        if let Some(port) = shared.iter().find(|port| port.label == label) {
            let address = if port.host_ip.is_empty() {
                self.node_address()
            } else {
                port.host_ip.clone()
            };
            return (address, port.value);
        }
        let number = self
            .alloc
            .allocated_resources
            .ports()
            .find(|(known, _)| *known == label)
            .map_or_else(|| label.parse().unwrap_or(0), |(_, value)| value);
        (self.node_address(), number)
    }

    fn node_address(&self) -> String {
        let networks = &self.node.node_resources.networks;
        networks
            .first()
            .map(|network| network.ip.clone())
            .unwrap_or_default()
    }

    fn meta(&self, spec: &ServiceSpec, canary: bool) -> BTreeMap<String, String> {
        let asked = if canary && !spec.canary_meta.is_empty() {
            &spec.canary_meta
        } else {
            &spec.meta
        };
        let own = [
            ("external-source".to_owned(), "nomad".to_owned()),
            (
                JOB_VERSION_META.to_owned(),
                self.alloc.job_version.to_string(),
            ),
        ];
        own.into_iter().chain(asked.clone()).collect()
    }

    /// The service with every `${…}` replaced that is known.
    fn resolved(&self, spec: &ServiceSpec) -> ServiceSpec {
        let text = |text: &str| self.environment.interpolate(text);
        let list = |list: &[String]| list.iter().map(|one| text(one)).collect();
        let map = |map: &BTreeMap<String, String>| {
            let pairs = map.iter().map(|(key, value)| (text(key), text(value)));
            pairs.collect()
        };
        ServiceSpec {
            name: text(&spec.name),
            port_label: text(&spec.port_label),
            address: text(&spec.address),
            tags: list(&spec.tags),
            canary_tags: list(&spec.canary_tags),
            meta: map(&spec.meta),
            canary_meta: map(&spec.canary_meta),
            tagged_addresses: map(&spec.tagged_addresses),
            checks: spec
                .checks
                .iter()
                .map(|check| self.resolved_check(check))
                .collect(),
            ..spec.clone()
        }
    }

    fn resolved_check(&self, check: &ServiceCheck) -> ServiceCheck {
        let text = |text: &str| self.environment.interpolate(text);
        let list = |list: &[String]| list.iter().map(|one| text(one)).collect();
        let header = check.header.iter();
        ServiceCheck {
            name: text(&check.name),
            check_type: text(&check.check_type),
            command: text(&check.command),
            args: list(&check.args),
            path: text(&check.path),
            protocol: text(&check.protocol),
            port_label: text(&check.port_label),
            initial_status: text(&check.initial_status),
            method: text(&check.method),
            header: header
                .map(|(name, values)| (text(name), list(values)))
                .collect(),
            notes: text(&check.notes),
            grpc_service: text(&check.grpc_service).into(),
            ..check.clone()
        }
    }

    fn check(
        &self,
        service: &Service,
        spec: &ServiceSpec,
        id: String,
        check: &ServiceCheck,
    ) -> InstanceCheck {
        let label = if check.port_label.is_empty() {
            &spec.port_label
        } else {
            &check.port_label
        };
        let (address, port) = self.endpoint(label);
        let registered = Check {
            node: service.node.clone(),
            id: id.into(),
            name: check.name.clone(),
            status: check.initial_status.parse().unwrap_or(Status::Critical),
            notes: check.notes.clone(),
            output: bound_output(String::new()),
            service_id: Some(service.id.clone()),
            service_name: Some(service.name.clone()),
            kind: check.check_type.clone(),
            interval: check.interval.to_std(),
            timeout: check.timeout.to_std(),
            ..Check::default()
        };
        InstanceCheck {
            check: registered,
            spec: check.clone(),
            address,
            port,
        }
    }
}

fn tagged_addresses(spec: &ServiceSpec, port: u16) -> BTreeMap<String, ServiceAddress> {
    let address = |address: &String| ServiceAddress {
        address: address.clone(),
        port,
    };
    spec.tagged_addresses
        .iter()
        .map(|(tag, text)| (tag.clone(), address(text)))
        .collect()
}

fn weight(asked: i32) -> u16 {
    u16::try_from(asked.max(0)).unwrap_or(u16::MAX)
}

/// Stable over restarts and re-registrations; changes with what the check does.
fn check_id(service_id: &str, at: usize, check: &ServiceCheck) -> String {
    let mut hash = Sha1::new();
    let definition = serde_json::to_vec(check).unwrap_or_default();
    for part in [service_id.as_bytes(), &at.to_be_bytes(), &definition] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .fold("_nomad-check-".to_owned(), |mut id, byte| {
            // Writing to a string cannot fail.
            write!(id, "{byte:02x}").ok();
            id
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::{
        AllocDeploymentStatus, AllocId, AllocatedPort, AllocatedTask, Job, NetworkResource, NodeId,
        Port, Span, TaskGroup, TaskState,
    };
    use std::sync::Arc;

    fn node() -> Node {
        let mut node = Node {
            id: NodeId::named("n1"),
            name: "one".into(),
            ..Node::default()
        };
        node.node_resources.networks = vec![NetworkResource {
            ip: "10.0.0.7".into(),
            ..Default::default()
        }];
        node
    }

    fn alloc() -> Allocation {
        let web = ServiceSpec {
            name: "web".into(),
            port_label: "http".into(),
            tags: vec!["urlprefix-/web".into(), "v${NOMAD_ALLOC_INDEX}".into()],
            canary_tags: vec!["canary".into()],
            checks: vec![ServiceCheck {
                name: "alive".into(),
                check_type: "http".into(),
                path: "/health".into(),
                interval: Span::SECOND,
                ..ServiceCheck::default()
            }],
            ..ServiceSpec::default()
        };
        let admin = ServiceSpec {
            name: "admin".into(),
            port_label: "9000".into(),
            ..Default::default()
        };
        let group = TaskGroup {
            name: "g".into(),
            services: vec![web],
            tasks: vec![
                Task {
                    name: "server".into(),
                    services: vec![admin],
                    ..Task::default()
                },
                Task {
                    name: "helper".into(),
                    ..Task::default()
                },
            ],
            ..TaskGroup::default()
        };
        let job = Job {
            id: "j".into(),
            version: 3,
            task_groups: vec![group].into(),
            ..Job::default()
        };
        let mut alloc = Allocation {
            id: AllocId::named("a1"),
            name: "j.g[2]".into(),
            job_id: "j".into(),
            task_group: "g".into(),
            job: Arc::new(job),
            job_version: 3,
            ..Allocation::default()
        };
        alloc.allocated_resources.shared.ports = vec![AllocatedPort {
            label: "http".into(),
            value: 20_001,
            ..AllocatedPort::default()
        }]
        .into();
        alloc
    }

    #[test]
    fn an_instance_has_the_published_id_address_tags_and_labels() {
        let all = instances(Rules::First, &alloc(), &node());
        let web = &all[0].service;
        let id = AllocId::named("a1");
        assert_eq!(web.id, format!("_nomad-task-{id}-group-g-web-http"));
        assert_eq!((web.address.as_str(), web.port), ("10.0.0.7", 20_001));
        assert_eq!(web.tags, ["urlprefix-/web", "v2"]);
        assert_eq!(web.meta[JOB_VERSION_META], "3");
        assert_eq!(all[0].checks[0].check.status, Status::Critical);
        assert_eq!(
            (all[0].checks[0].address.as_str(), all[0].checks[0].port),
            ("10.0.0.7", 20_001)
        );
        let admin = &all[1];
        assert_eq!(
            admin.service.id,
            format!("_nomad-task-{id}-server-admin-9000")
        );
        assert_eq!(
            (admin.service.port, admin.task.as_deref()),
            (9000, Some("server"))
        );
    }

    #[test]
    fn a_task_is_reached_at_its_own_port_of_a_label_that_others_use_too() {
        let mut alloc = alloc();
        let mut job = (*alloc.job).clone();
        let mut group = job.task_groups[0].clone();
        group.services.clear();
        alloc.allocated_resources.shared.ports.clear();
        for (task, value) in group.tasks.iter_mut().zip([20_002, 20_003]) {
            task.services = vec![ServiceSpec {
                name: task.name.to_string(),
                port_label: "http".into(),
                ..ServiceSpec::default()
            }];
            let network = NetworkResource {
                dynamic_ports: vec![Port {
                    label: "http".into(),
                    value,
                    ..Port::default()
                }],
                ..NetworkResource::default()
            };
            let given = AllocatedTask {
                networks: [network].into_iter().collect(),
                ..AllocatedTask::default()
            };
            let tasks = &mut alloc.allocated_resources.tasks;
            tasks.insert(task.name.clone(), given);
        }
        job.task_groups = vec![group].into();
        alloc.job = Arc::new(job);
        let ports: Vec<u16> = instances(Rules::First, &alloc, &node())
            .iter()
            .map(|one| one.service.port)
            .collect();
        assert_eq!(ports, [20_002, 20_003]);
    }

    #[test]
    fn texts_are_resolved_with_the_environment_of_their_owner() {
        let mut alloc = alloc();
        let mut job = (*alloc.job).clone();
        let mut group = job.task_groups[0].clone();
        let service = |of: &str| ServiceSpec {
            name: format!("{of}-${{NOMAD_ALLOC_INDEX}}"),
            tags: vec!["${NOMAD_TASK_NAME}".into(), "${COLOR}".into()],
            canary_tags: vec!["c-${NOMAD_JOB_NAME}".into()],
            meta: [("k-${NOMAD_DC}".to_owned(), "${NOMAD_GROUP_NAME}".to_owned())].into(),
            provider: "nomad".into(),
            checks: vec![ServiceCheck {
                name: "alive-${COLOR}".into(),
                check_type: "http".into(),
                path: "/${NOMAD_TASK_NAME}".into(),
                notes: "on ${node.unique.name}".into(),
                ..ServiceCheck::default()
            }],
            ..ServiceSpec::default()
        };
        group.services = vec![service("group")];
        group.tasks[0].services = vec![service("task")];
        group.tasks[0].env.insert("COLOR".into(), "red".into());
        job.task_groups = vec![group].into();
        alloc.job = Arc::new(job);
        let all = instances(Rules::First, &alloc, &node());
        let (of_group, of_task) = (&all[0], &all[1]);
        assert_eq!(of_task.service.name, "task-2");
        assert_eq!(of_task.service.tags, ["server", "red"]);
        assert_eq!(of_task.service.meta["k-"], "g");
        let check = &of_task.checks[0];
        assert_eq!(check.check.name, "alive-red");
        assert_eq!(check.check.notes, "on one");
        assert_eq!(check.spec.path, "/server");
        assert!(of_task.service.origin.as_ref().unwrap().private);
        // What is not known there stays as it is written.
        assert_eq!(of_group.service.name, "group-2");
        assert_eq!(of_group.service.tags, ["${NOMAD_TASK_NAME}", "${COLOR}"]);
        assert_eq!(of_group.checks[0].check.name, "alive-${COLOR}");
    }

    #[test]
    fn a_canary_has_its_own_tags_and_the_same_identity() {
        let plain = instances(Rules::First, &alloc(), &node());
        let mut canary = alloc();
        canary.deployment_status = Some(Box::new(AllocDeploymentStatus {
            canary: true,
            share: Some(50_000),
            ..AllocDeploymentStatus::default()
        }));
        let canary = instances(Rules::First, &canary, &node());
        let share = |of: &[Instance]| of[0].service.origin.as_ref().and_then(|own| own.share);
        assert_eq!([share(&plain), share(&canary)], [None, Some(50_000)]);
        assert_eq!(canary[0].service.tags, ["canary"]);
        assert!(canary[0].service.origin.as_ref().unwrap().canary);
        assert_eq!(canary[0].service.id, plain[0].service.id);
        assert_eq!(canary[0].checks[0].check.id, plain[0].checks[0].check.id);
    }

    #[test]
    fn a_group_service_is_live_only_while_every_main_task_runs() {
        let running = || TaskState {
            state: TaskPhase::Running,
            ..TaskState::default()
        };
        let mut alloc = alloc();
        let all = instances(Rules::First, &alloc, &node());
        let live =
            |alloc: &Allocation| all.iter().map(|one| one.is_live(alloc)).collect::<Vec<_>>();
        assert_eq!(live(&alloc), [false, false]);
        alloc.task_states.insert("server".into(), running());
        assert_eq!(live(&alloc), [false, true]);
        alloc.task_states.insert("helper".into(), running());
        assert_eq!(live(&alloc), [true, true]);
    }

    #[test]
    fn instances_of_allocations_name_them() {
        let id = "034e334b-5902-486f-9f2e-1c4f04b23761";
        let found = alloc_of(&format!("_nomad-task-{id}-todo-todo-http"));
        assert_eq!(found, AllocId::parse(id));
        assert!(found.is_some());
        assert_eq!(alloc_of("web-1"), None);
        assert_eq!(alloc_of("_nomad-task-034e"), None);
        assert_eq!(
            alloc_of("_nomad-task-ééééééééééééééééééééééééééééééééé"),
            None
        );
    }
}
