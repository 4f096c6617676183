use super::connect;
use super::credentials;
use super::expose;
use super::network::Ports;
use super::scaling;
use super::service::{self, Place};
use super::sidecar::{self, Around};
use super::task::{self, task};
use super::volume;
use super::{Findings, placement, policy, rollout, shown, text};
use crate::model::{self, JobType, Span};
use crate::wire;
use std::collections::BTreeMap;

/// What a group takes from its job.
pub(super) struct Job<'a> {
    pub(super) around: Around<'a>,
    pub(super) job_type: JobType,
    pub(super) update: Option<&'a wire::UpdateStrategy>,
    pub(super) reschedule: Option<&'a wire::ReschedulePolicy>,
    pub(super) migrate: Option<&'a wire::MigrateStrategy>,
}

/// A group with its defaults and its tasks.
pub(super) fn group(
    findings: &mut Findings,
    mut given: wire::TaskGroup,
    job: &Job<'_>,
) -> model::TaskGroup {
    deprecated(findings, &given);
    sidecar::inject(findings, &mut given, job.around);
    let name = text(given.name);
    let least = given.scaling.as_ref().and_then(|scaling| scaling.min);
    let count = given.count.or(least).unwrap_or(1);
    findings.require(!name.contains('\0'), || {
        "Task group name contains null character".into()
    });
    findings.require(count >= 0, || "Task group count can't be negative".into());
    let meta = given.meta.unwrap_or_default();
    let disk = given.ephemeral_disk.unwrap_or_default();
    let base = model::EphemeralDisk::default();
    let mut group = model::TaskGroup {
        count: super::unsigned(count),
        constraints: placement::constraints(findings, given.constraints),
        affinities: placement::affinities(findings, given.affinities, job.job_type),
        spreads: placement::spreads(findings, given.spreads, job.job_type),
        tasks: Vec::new(),
        networks: Vec::new(),
        services: Vec::new(),
        meta,
        restart_policy: policy::restart(findings, given.restart_policy, None, job.job_type),
        reschedule_policy: policy::reschedule(
            findings,
            given.reschedule_policy,
            job.reschedule,
            job.job_type,
        ),
        ephemeral_disk: model::EphemeralDisk {
            sticky: disk.sticky.unwrap_or(base.sticky),
            migrate: disk.migrate.unwrap_or(base.migrate),
            size_mb: disk.size_mb.unwrap_or(base.size_mb),
        },
        update: policy::update(findings, given.update, job.update, job.job_type),
        migrate: policy::migrate(findings, given.migrate, job.migrate, job.job_type),
        shutdown_delay: given.shutdown_delay,
        volumes: volume::requests(findings, given.volumes, job.job_type),
        scaling: given
            .scaling
            .map(|policy| scaling::policy(findings, policy, count, &target(job, &name))),
        disconnect: policy::disconnect(findings, given.disconnect, job.job_type),
        consul: given.consul.map(credentials::consul),
        max_run_duration: given.max_run_duration,
        name: name.into(),
    };
    if let Some(limit) = group.max_run_duration {
        let batch = matches!(job.job_type, JobType::Batch | JobType::Sysbatch);
        findings.require(batch, || {
            let kind = job.job_type.as_str();
            format!("Job type {kind:?} does not allow max_run_duration")
        });
        findings.require(limit > Span::ZERO, || {
            "MaxRunDuration must be greater than zero".into()
        });
    }
    findings.require(group.ephemeral_disk.size_mb >= 10, || {
        format!(
            "minimum DiskMB value is 10; got {}",
            group.ephemeral_disk.size_mb
        )
    });
    findings.require(group.ephemeral_disk.size_mb <= super::RESOURCE_MAX, || {
        format!(
            "DiskMB value ({}) is too large",
            group.ephemeral_disk.size_mb
        )
    });
    let mut tasks = given.tasks.unwrap_or_default();
    findings.require(!tasks.is_empty(), || "Missing tasks for task group".into());
    let mut ports = Ports::default();
    let mut part = Findings::default();
    group.networks = ports.networks(&mut part, given.networks, None);
    let of_tasks: Vec<_> = tasks
        .iter_mut()
        .map(|task| {
            let owner = task.name.clone();
            let given = task
                .resources
                .as_mut()
                .and_then(|resources| resources.networks.take());
            ports.networks(&mut part, given, Some(&owner))
        })
        .collect();
    findings.nest("Task group network validation failed", part);
    group_services(findings, given.services, &mut group, &tasks, &ports, job);
    let context = task::Group {
        job: job.around.id,
        job_type: job.job_type,
        name: &group.name,
        target: target(job, &group.name),
        restart: &group.restart_policy,
        update: group.update.as_ref(),
        disk_mb: group.ephemeral_disk.size_mb,
        volumes: &group.volumes,
        ports: &ports,
    };
    let mut all = Vec::new();
    for (given, networks) in tasks.into_iter().zip(of_tasks) {
        let mut part = Findings::default();
        let task = task(&mut part, given, networks, &context);
        let warnings = std::mem::take(&mut part.warnings);
        if !warnings.is_empty() {
            findings.warning(format!(
                "Task {:?} has warnings: {}",
                task.name,
                super::inner("warning", &warnings)
            ));
        }
        findings.nest(
            &format!("Task {} validation failed", shown(&task.name)),
            part,
        );
        all.push(task);
    }
    group.tasks = all;
    rollout::tell(findings, &mut group);
    whole(findings, &group);
    group
}

fn group_services(
    findings: &mut Findings,
    given: Option<Vec<wire::Service>>,
    group: &mut model::TaskGroup,
    tasks: &[wire::Task],
    ports: &Ports,
    job: &Job<'_>,
) {
    let mut part = Findings::default();
    let place = Place {
        job: job.around.id,
        group: &group.name,
        task: None,
    };
    for (index, given) in given.into_iter().flatten().enumerate() {
        let service = service::service(&mut part, given, &place, index);
        group.services.push(service);
    }
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    service::group_services(&mut part, &group.name, &group.services, &names, ports);
    findings.nest("Task group service validation failed", part);
}

/// What a rule about the count of a group says that it is about.
fn target<'a>(job: &Job<'a>, group: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("Namespace", job.around.namespace),
        ("Job", job.around.id),
        ("Group", group),
    ]
}

/// Fields that another block replaces.
fn deprecated(findings: &mut Findings, given: &wire::TaskGroup) {
    let ignored = |findings: &mut Findings, old: &str, new: &str| {
        findings.warning(format!(
            "{old} is deprecated and ignored in favor of Disconnect.{new}"
        ));
    };
    if given.max_client_disconnect.is_some() {
        ignored(findings, "MaxClientDisconnect", "LostAfter");
    }
    if given.stop_after_client_disconnect.is_some() {
        ignored(findings, "StopAfterClientDisconnect", "StopOnClientAfter");
    }
    if given.prevent_reschedule_on_lost == Some(true) {
        ignored(findings, "PreventRescheduleOnLost", "Replace");
    }
}

/// Rules that need all tasks of the group.
fn whole(findings: &mut Findings, group: &model::TaskGroup) {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, task) in group.tasks.iter().enumerate() {
        let number = index + 1;
        if task.name.is_empty() {
            findings.error(format!("Task {number} missing name"));
        } else if let Some(first) = known.get(task.name.as_str()) {
            findings.error(format!(
                "Task {number} redefines '{}' from task {first}",
                shown(&task.name)
            ));
        } else {
            known.insert(&task.name, number);
        }
    }
    findings.require(
        group.tasks.iter().filter(|task| task.leader).count() <= 1,
        || "Only one task may be marked as leader".into(),
    );
    findings.require(
        group.tasks.is_empty() || group.tasks.iter().any(model::Task::is_main),
        || {
            format!(
                "Task group {} must have at least one main task",
                shown(&group.name)
            )
        },
    );
    let mut part = Findings::default();
    service::across(&mut part, group);
    connect::of_group(&mut part, group);
    expose::check(&mut part, group);
    findings.nest("Task group service validation failed", part);
    let canaries = group.update.as_ref().map_or(0, |update| update.canary);
    volume::whole(findings, group, canaries);
    if let Some(update) = &group.update
        && group.count > 1
        && update.max_parallel > group.count
    {
        findings.warning(format!(
            "Update max parallel count is greater than task group count ({} > {}). A destructive change would result in the simultaneous replacement of all allocations.",
            update.max_parallel, group.count
        ));
    }
}

/// Services that leave the catalog at the moment of the kill signal lose requests.
pub(super) fn shutdown_delay_warnings(group: &model::TaskGroup, warnings: &mut Vec<String>) {
    let mut any = group.shutdown_delay.unwrap_or_default() > Span::ZERO;
    for task in &group.tasks {
        let named = group
            .services
            .iter()
            .any(|service| service.task_name.as_ref() == Some(&task.name));
        if named && task.shutdown_delay.is_zero() {
            warnings.push(format!(
                "group {:?} references task {:?} in a service definition, but the task has no shutdown_delay set",
                group.name, task.name
            ));
        }
        if task.shutdown_delay > Span::ZERO {
            any = true;
        } else if !task.services.is_empty() {
            warnings.push(format!(
                "task {:?} in group {:?} defines services, but has no shutdown_delay set",
                task.name, group.name
            ));
        }
    }
    if !any
        && group
            .services
            .iter()
            .any(|service| service.task_name.is_none())
    {
        warnings.push(format!(
            "group {:?} defines services, but neither the group nor any of its tasks have shutdown_delay set",
            group.name
        ));
    }
}
