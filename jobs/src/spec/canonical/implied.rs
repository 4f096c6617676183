use crate::model::{Constraint, Job, ServiceSpec, Task, TaskGroup};
use std::collections::BTreeSet;

/// Oldest catalog that takes services.
const CATALOG: &str = ">= 1.8.0";
/// Oldest network plugins.
const PLUGINS: &str = ">= 0.4.0";
/// Oldest version of the jobs API with several tokens for a task.
const IDENTITIES: &str = ">= 1.7.0-a";

/// Adds what a node must have for the job although the job does not say so, as servers do when a
/// job is registered: those who read it back, and differences, show it. Constraints that the job
/// has itself on the same attribute stand in their place.
///
/// Source: "Implicit constraints" of the original's registration. Differs: nothing is added twice,
/// so that a job that was read back can be registered again.
pub(super) fn constrain(job: &mut Job) {
    for group in &mut job.task_groups {
        of_group(group);
        for task in &mut group.tasks {
            let catalog = task.services.iter().any(in_catalog);
            let partition = partition_of(task.consul.as_deref());
            partition
                .into_iter()
                .for_each(|one| one.add(&mut task.constraints));
            if catalog {
                unless_named("${attr.consul.version}", CATALOG).add(&mut task.constraints);
            }
        }
    }
}

/// A constraint, and when it counts as given.
struct Implied {
    constraint: Constraint,
    /// Another constraint on the same attribute stands in its place.
    yields: bool,
}

impl Implied {
    fn add(self, to: &mut Vec<Constraint>) {
        let given = to.iter().any(|other| match self.yields {
            true => other.l_target == self.constraint.l_target,
            false => *other == self.constraint,
        });
        if !given {
            to.push(self.constraint);
        }
    }
}

fn implied(l_target: &str, operand: &str, r_target: &str, yields: bool) -> Implied {
    Implied {
        constraint: Constraint {
            l_target: l_target.to_owned(),
            r_target: r_target.to_owned(),
            operand: operand.to_owned(),
        },
        yields,
    }
}

/// A version of an attribute, unless the job has a constraint on that attribute.
fn unless_named(attribute: &str, versions: &str) -> Implied {
    implied(attribute, "semver", versions, true)
}

fn always(attribute: &str, operand: &str, value: &str) -> Implied {
    implied(attribute, operand, value, false)
}

fn of_group(group: &mut TaskGroup) {
    let mut all = Vec::new();
    all.extend(partition_of(group.consul.as_deref()));
    if group.tasks.iter().any(|task| task.vault.is_some()) {
        all.push(unless_named("${attr.vault.version}", ">= 0.6.1"));
    }
    all.extend(secrets(group));
    if group.tasks.iter().any(wants_near_cores) {
        all.push(always("${attr.nomad.version}", "semver", ">= 1.6.3-dev"));
        all.push(always("${attr.kernel.name}", "=", "linux"));
    }
    let signals: BTreeSet<&str> = group.tasks.iter().flat_map(signals).collect();
    if !signals.is_empty() {
        let list: Vec<&str> = signals.into_iter().collect();
        all.push(always(
            "${attr.os.signals}",
            "set_contains",
            &list.join(","),
        ));
    }
    all.extend(services(group));
    let mut networks = group.networks.iter();
    if networks.any(|network| network.mode == "bridge") {
        for plugin in ["bridge", "firewall", "host-local", "loopback", "portmap"] {
            let attribute = format!("${{attr.plugins.cni.version.{plugin}}}");
            all.push(unless_named(&attribute, PLUGINS));
        }
    }
    if group.services.iter().any(has_transparent_proxy) {
        all.push(unless_named(
            "${attr.plugins.cni.version.consul-cni}",
            ">= 1.4.2",
        ));
        all.push(unless_named("${attr.nomad.version}", ">= 1.8.0-dev"));
    }
    if group.tasks.iter().any(|task| task.schedule.is_some()) {
        all.push(unless_named("${attr.nomad.version}", ">= 1.8.0-dev"));
    }
    let with_token = |services: &[ServiceSpec]| services.iter().any(|one| one.identity.is_some());
    let tokens = with_token(&group.services)
        || group
            .tasks
            .iter()
            .any(|task| with_token(&task.services) || !task.identities.is_empty());
    if tokens {
        all.push(always("${attr.nomad.version}", "semver", IDENTITIES));
    }
    for one in all {
        one.add(&mut group.constraints);
    }
}

/// What the services of a group and of its tasks need.
fn services(group: &TaskGroup) -> Vec<Implied> {
    let of_tasks = group.tasks.iter().flat_map(|task| &task.services);
    let native: Vec<&ServiceSpec> = group
        .services
        .iter()
        .chain(of_tasks)
        .filter(|service| !in_catalog(service))
        .collect();
    let mut all = Vec::new();
    if !native.is_empty() {
        all.push(always("${attr.nomad.service_discovery}", "=", "true"));
    }
    if native.iter().any(|service| !service.checks.is_empty()) {
        all.push(always("${attr.nomad.version}", "semver", ">= 1.4.0"));
    }
    if group.services.iter().any(in_catalog) {
        all.push(unless_named("${attr.consul.version}", CATALOG));
    }
    all
}

fn secrets(group: &TaskGroup) -> Vec<Implied> {
    let secrets = group.tasks.iter().flat_map(|task| task.secrets.iter());
    let providers: BTreeSet<&str> = secrets.map(|secret| secret.provider.as_str()).collect();
    providers
        .into_iter()
        .map(|provider| {
            let attribute = format!("${{attr.plugins.secrets.{provider}.version}}");
            implied(&attribute, "is_set", "", true)
        })
        .collect()
}

fn partition_of(consul: Option<&crate::model::Consul>) -> Option<Implied> {
    let partition = consul.map(|block| block.partition.as_str())?;
    (!partition.is_empty()).then(|| always("${attr.consul.partition}", "=", partition))
}

fn in_catalog(service: &ServiceSpec) -> bool {
    matches!(service.provider.as_str(), "consul" | "")
}

fn has_transparent_proxy(service: &ServiceSpec) -> bool {
    let sidecar = service
        .connect
        .as_ref()
        .and_then(|connect| connect.sidecar_service.as_ref());
    let proxy = sidecar.and_then(|sidecar| sidecar.proxy.as_ref());
    proxy.is_some_and(|proxy| proxy.transparent_proxy.is_some())
}

fn wants_near_cores(task: &Task) -> bool {
    let numa = task.resources.numa.as_ref();
    numa.is_some_and(|numa| matches!(numa.affinity.as_str(), "prefer" | "require"))
}

/// The signals that a task may get.
fn signals(task: &Task) -> Vec<&str> {
    let mut all = Vec::new();
    if let Some(vault) = &task.vault
        && vault.change_mode.as_deref() == Some("signal")
    {
        all.extend(vault.change_signal.as_deref());
    }
    all.push(task.kill_signal.as_str());
    for template in &task.templates {
        if template.change_mode == "signal" {
            all.push(&template.change_signal);
        }
    }
    all.retain(|signal| !signal.is_empty());
    all
}
