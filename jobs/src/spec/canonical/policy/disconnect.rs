use crate::model::{Disconnect, JobType, Span};
use crate::spec::canonical::Findings;

/// A disconnect block with its defaults.
pub(in crate::spec::canonical) fn disconnect(
    findings: &mut Findings,
    given: Option<Disconnect>,
    job_type: JobType,
) -> Option<Box<Disconnect>> {
    let given = given?;
    let mut part = Findings::default();
    let lost_after = given.lost_after.unwrap_or_default();
    if let Some(stop) = given.stop_on_client_after {
        part.require(stop >= Span::ZERO, || {
            "stop_after cannot be a negative duration".into()
        });
        part.require(
            matches!(job_type, JobType::Service | JobType::Batch),
            || "stop_after can only be used with service or batch job types".into(),
        );
        part.require(lost_after.is_zero(), || {
            "Disconnect cannot be configured with both lost_after and stop_after".into()
        });
    }
    part.require(lost_after >= Span::ZERO, || {
        "lost_after cannot be a negative duration".into()
    });
    let reconcile = given
        .reconcile
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "best_score".into());
    let known = [
        "best_score",
        "longest_running",
        "keep_original",
        "keep_replacement",
    ];
    part.require(known.contains(&reconcile.as_str()), || {
        format!("reconcile option is invalid: {reconcile}")
    });
    findings.nest("Task group disconnect validation failed", part);
    Some(Box::new(Disconnect {
        lost_after: Some(lost_after),
        stop_on_client_after: given.stop_on_client_after,
        replace: Some(given.replace.unwrap_or(true)),
        reconcile: Some(reconcile),
    }))
}
