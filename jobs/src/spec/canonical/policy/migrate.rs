use crate::model::{self, JobType, Span};
use crate::spec::canonical::{Findings, unsigned};
use crate::wire;

/// How allocations of a service job leave a draining node.
pub(in crate::spec::canonical) fn migrate(
    findings: &mut Findings,
    group: Option<wire::MigrateStrategy>,
    job: Option<&wire::MigrateStrategy>,
    job_type: JobType,
) -> Option<model::MigrateStrategy> {
    if job_type != JobType::Service {
        if group.is_some() || job.is_some() {
            findings.error(format!(
                "Job type {:?} does not allow migrate block",
                job_type.as_str()
            ));
        }
        return None;
    }
    let base = model::MigrateStrategy::default();
    let group = group.unwrap_or_default();
    let job = job.cloned().unwrap_or_default();
    let parallel = group.max_parallel.or(job.max_parallel);
    if let Some(parallel) = parallel.filter(|number| *number < 0) {
        findings.error(format!("MaxParallel must be >= 0 but found {parallel}"));
    }
    let migrate = model::MigrateStrategy {
        max_parallel: parallel.map_or(base.max_parallel, unsigned),
        health_check: group
            .health_check
            .or(job.health_check)
            .unwrap_or(base.health_check),
        min_healthy_time: group
            .min_healthy_time
            .or(job.min_healthy_time)
            .unwrap_or(base.min_healthy_time),
        healthy_deadline: group
            .healthy_deadline
            .or(job.healthy_deadline)
            .unwrap_or(base.healthy_deadline),
    };
    match migrate.health_check.as_str() {
        "checks" | "task_states" => {}
        "" if migrate.max_parallel == 0 => {}
        "" => findings.error("Missing HealthCheck"),
        other => findings.error(format!("Invalid HealthCheck: {other:?}")),
    }
    let (minimum, deadline) = (migrate.min_healthy_time, migrate.healthy_deadline);
    findings.require(minimum >= Span::ZERO, || {
        format!("MinHealthyTime is {minimum} and must be >= 0")
    });
    findings.require(deadline >= Span::ZERO, || {
        format!("HealthyDeadline is {deadline} and must be >= 0")
    });
    findings.require(minimum <= deadline, || {
        "MinHealthyTime must be less than HealthyDeadline".into()
    });
    Some(migrate)
}
