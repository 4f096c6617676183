use super::group::{self, group};
use super::implied;
use super::launch;
use super::sidecar::Around;
use super::{Findings, Validation, placement, policy, shown, text};
use crate::model::{self, JobType, Span};
use crate::spec::Defaults;
use crate::spec::limits::{ALL_AT_ONCE_MAX, GROUPS_MAX, Limit, TASKS_MAX};
use crate::wire;
use std::collections::BTreeMap;

/// Longest description for user interfaces, in characters.
const LONGEST_DESCRIPTION: usize = 1000;

/// Fills in every default, then checks every rule; all errors are reported at once.
///
/// What only the servers know of a job (indexes, version, status) is left at its default.
/// Canonicalizing the JSON of a canonical job gives the same job again.
pub fn canonicalize_and_validate(job: wire::Job, defaults: &Defaults) -> Validation {
    let mut findings = Findings::default();
    findings.require(job.multiregion.is_none(), || {
        "Multiregion jobs are not supported".into()
    });
    let payload = job.payload.as_deref().unwrap_or_default();
    findings.require(payload.is_empty(), || {
        "job can't be submitted with a payload, only dispatched".into()
    });
    for (name, namespace) in [
        ("consul", &job.consul_namespace),
        ("vault", &job.vault_namespace),
    ] {
        let namespace = namespace.as_deref().unwrap_or_default();
        findings.require(matches!(namespace, "" | "default"), || {
            format!("{name} namespace {namespace:?} is not supported: there is one namespace only")
        });
    }
    let id = text(job.id);
    let job_type = job_type(&mut findings, job.job_type.as_deref());
    let or = |given: Option<String>, default: &str| {
        given
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned())
    };
    let priority = job.priority.unwrap_or(50);
    let max = i64::from(defaults.max_priority);
    findings.require((1..=max).contains(&priority), || {
        format!("job priority must be between [1, {max}]")
    });
    let meta = job.meta.unwrap_or_default();
    let datacenters = job.datacenters.unwrap_or_default();
    let mut canonical = model::Job {
        version_tag: None,
        region: or(job.region, &defaults.region),
        namespace: or(job.namespace, &defaults.namespace).into(),
        name: or(job.name, &id),
        job_type,
        priority: i32::try_from(priority).unwrap_or(0),
        all_at_once: job.all_at_once.unwrap_or(false),
        datacenters: if datacenters.is_empty() {
            defaults.datacenters.clone()
        } else {
            datacenters
        },
        node_pool: or(job.node_pool, &defaults.node_pool),
        constraints: placement::constraints(&mut findings, job.constraints),
        affinities: placement::affinities(&mut findings, job.affinities, job_type),
        spreads: placement::spreads(&mut findings, job.spreads, job_type),
        update: policy::update_of_job(job.update.as_ref(), job_type).map(Box::new),
        periodic: launch::periodic(&mut findings, job.periodic, job_type, defaults),
        parameterized_job: launch::parameterized(&mut findings, job.parameterized_job, job_type),
        ui: job
            .ui
            .map(user_interface)
            .filter(|ui| *ui != model::JobUi::default())
            .map(Box::new),
        stop: job.stop.unwrap_or(false),
        id: id.into(),
        ..model::Job::default()
    };
    let context = group::Job {
        around: Around {
            id: &canonical.id,
            name: &canonical.name,
            namespace: &canonical.namespace,
            region: &canonical.region,
            meta: &meta,
        },
        job_type,
        update: job.update.as_ref(),
        reschedule: job.reschedule.as_ref(),
        migrate: job.migrate.as_ref(),
    };
    let mut groups = Vec::new();
    for given in job.task_groups.into_iter().flatten() {
        let mut part = Findings::default();
        let group = group(&mut part, given, &context);
        let warnings = std::mem::take(&mut part.warnings);
        if !warnings.is_empty() {
            findings.warning(format!(
                "Group {:?} has warnings: {}",
                group.name,
                super::inner("warning", &warnings)
            ));
        }
        findings.nest(
            &format!("Task group {} validation failed", shown(&group.name)),
            part,
        );
        groups.push(group);
    }
    canonical.task_groups = groups.into();
    canonical.meta = meta;
    implied::constrain(&mut canonical);
    validate(&mut findings, &canonical, defaults);
    warn(&mut findings, &canonical);
    for warning in model::absent_warnings(&canonical) {
        findings.warning(warning);
    }
    let (errors, warnings) = findings.into_entries();
    Validation {
        job: errors.is_empty().then_some(canonical),
        errors,
        warnings,
    }
}

fn user_interface(given: wire::JobUi) -> model::JobUi {
    let links = given.links.into_iter().flatten();
    model::JobUi {
        description: given.description,
        links: links
            .map(|link| model::JobLink {
                label: link.label,
                url: link.url,
            })
            .collect(),
    }
}

fn job_type(findings: &mut Findings, given: Option<&str>) -> JobType {
    match given.unwrap_or_default() {
        "" | "service" => JobType::Service,
        "batch" => JobType::Batch,
        "system" => JobType::System,
        "sysbatch" => JobType::Sysbatch,
        other => {
            findings.error(format!("Invalid job type: {other:?}"));
            JobType::Service
        }
    }
}

fn validate(findings: &mut Findings, job: &model::Job, defaults: &Defaults) {
    findings.require(!job.region.is_empty(), || "Missing job region".into());
    findings.require(!job.id.is_empty(), || "Missing job ID".into());
    findings.require(!job.name.is_empty(), || "Missing job name".into());
    findings.require(!job.id.contains(' '), || "Job ID contains a space".into());
    findings.require(!job.id.contains('\0'), || {
        "Job ID contains a null character".into()
    });
    findings.require(!job.name.contains('\0'), || {
        "Job Name contains a null character".into()
    });
    findings.require(!job.datacenters.iter().any(String::is_empty), || {
        "Job datacenter must be non-empty string".into()
    });
    findings.require(!job.task_groups.is_empty(), || {
        "Missing job task groups".into()
    });
    if let Some(ui) = &job.ui {
        let length = ui.description.chars().count();
        findings.require(length <= LONGEST_DESCRIPTION, || {
            format!(
                "UI description must be under {LONGEST_DESCRIPTION} characters, currently {length}"
            )
        });
    }
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, group) in job.task_groups.iter().enumerate() {
        let number = index + 1;
        if group.name.is_empty() {
            findings.error(format!("Job task group {number} missing name"));
        } else if let Some(first) = known.get(group.name.as_str()) {
            findings.error(format!(
                "Job task group {number} redefines '{}' from group {first}",
                shown(&group.name)
            ));
        } else {
            known.insert(&group.name, number);
        }
        findings.require(
            group.shutdown_delay.is_none_or(|delay| delay >= Span::ZERO),
            || "ShutdownDelay must be a positive value".into(),
        );
        findings.require(job.job_type != JobType::System || group.count <= 1, || {
            format!(
                "Job task group {} has count {}. Count cannot exceed 1 with system scheduler",
                shown(&group.name),
                group.count
            )
        });
    }
    findings.require(job.task_groups.len() <= GROUPS_MAX, || {
        let count = job.task_groups.len();
        Limit::Groups { count }.to_string()
    });
    let tasks = job.task_groups.iter().map(|group| group.tasks.len()).sum();
    findings.require(tasks <= TASKS_MAX, || {
        Limit::Tasks { count: tasks }.to_string()
    });
    let (total, most) = (job.total_count(), defaults.max_count);
    findings.require(total <= most, || {
        format!("total count was greater than configured job_max_count: {total} > {most}")
    });
    findings.require(!job.all_at_once || total <= ALL_AT_ONCE_MAX, || {
        Limit::AllAtOnce { count: total }.to_string()
    });
}

fn warn(findings: &mut Findings, job: &model::Job) {
    let (mut some, mut all) = (false, true);
    for group in &job.task_groups {
        group::shutdown_delay_warnings(group, &mut findings.warnings);
        if let Some(update) = &group.update {
            some |= update.auto_promote;
            all &= update.canary == 0 || update.auto_promote;
        }
    }
    if some && !all {
        findings.warning("auto_promote must be true for all groups to enable automatic promotion");
    }
}
