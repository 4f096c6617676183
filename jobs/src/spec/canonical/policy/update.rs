use crate::model::{self, JobType, Span};
use crate::spec::asked::{self, Wrong};
use crate::spec::canonical::{Findings, unsigned};
use crate::wire;

/// The block over the one below it: what the first leaves out, the second says.
fn merge_update(
    group: Option<wire::UpdateStrategy>,
    job: Option<&wire::UpdateStrategy>,
) -> Option<wire::UpdateStrategy> {
    let (group, job) = match (group, job) {
        (None, job) => return job.cloned(),
        (group, None) => return group,
        (Some(group), Some(job)) => (group, job.clone()),
    };
    Some(wire::UpdateStrategy {
        stagger: group.stagger.or(job.stagger),
        max_parallel: group.max_parallel.or(job.max_parallel),
        health_check: group.health_check.or(job.health_check),
        min_healthy_time: group.min_healthy_time.or(job.min_healthy_time),
        healthy_deadline: group.healthy_deadline.or(job.healthy_deadline),
        progress_deadline: group.progress_deadline.or(job.progress_deadline),
        auto_revert: group.auto_revert.or(job.auto_revert),
        auto_promote: group.auto_promote.or(job.auto_promote),
        canary: group.canary.or(job.canary),
        traffic: group.traffic.or(job.traffic),
        analysis: group.analysis.or(job.analysis),
    })
}

/// True for the block that answers have where a job has none: everything is zero, and said so.
fn says_nothing(block: &wire::UpdateStrategy) -> bool {
    let zero = |span: Option<Span>| span.is_some_and(Span::is_zero);
    let off = |flag: Option<bool>| flag != Some(true);
    let spans = [
        block.stagger,
        block.min_healthy_time,
        block.healthy_deadline,
        block.progress_deadline,
    ];
    spans.into_iter().all(zero)
        && block.max_parallel == Some(0)
        && block.canary.is_none_or(|count| count == 0)
        && block.traffic.is_none()
        && block.analysis.is_none()
        && off(block.auto_revert)
        && off(block.auto_promote)
        && block.health_check.as_deref() == Some("")
}

/// What a job keeps of its own block; rules about it are checked with each group.
pub(in crate::spec::canonical) fn update_of_job(
    given: Option<&wire::UpdateStrategy>,
    job_type: JobType,
) -> Option<model::UpdateStrategy> {
    let given = match given.filter(|block| !says_nothing(block)) {
        None if job_type != JobType::Service => return None,
        given => given.cloned().unwrap_or_default(),
    };
    let filled = fill_update(&mut Findings::default(), given);
    let kept = model::UpdateStrategy {
        stagger: filled.stagger,
        max_parallel: filled.max_parallel,
        ..model::UpdateStrategy::none()
    };
    (kept != model::UpdateStrategy::none()).then_some(kept)
}

/// An update block with its defaults, unchecked.
fn fill_update(findings: &mut Findings, given: wire::UpdateStrategy) -> model::UpdateStrategy {
    let base = model::UpdateStrategy::default();
    if let Some(parallel) = given.max_parallel.filter(|number| *number < 0) {
        findings.error(format!(
            "Max parallel can not be less than zero: {parallel} < 0"
        ));
    }
    if let Some(canary) = given.canary.filter(|number| *number < 0) {
        findings.error(format!(
            "Canary count can not be less than zero: {canary} < 0"
        ));
    }
    let traffic = given.traffic.map(|given| traffic(findings, given));
    // Requests are shared with canaries, so there is one.
    let canaries = given.canary.map_or(base.canary, unsigned);
    model::UpdateStrategy {
        stagger: given.stagger.unwrap_or(base.stagger),
        max_parallel: given.max_parallel.map_or(base.max_parallel, unsigned),
        health_check: given
            .health_check
            .filter(|text| !text.is_empty())
            .unwrap_or(base.health_check),
        min_healthy_time: given.min_healthy_time.unwrap_or(base.min_healthy_time),
        healthy_deadline: given.healthy_deadline.unwrap_or(base.healthy_deadline),
        progress_deadline: given.progress_deadline.unwrap_or(base.progress_deadline),
        auto_revert: given.auto_revert.unwrap_or(base.auto_revert),
        auto_promote: given.auto_promote.unwrap_or(base.auto_promote),
        canary: canaries.max(u32::from(traffic.is_some())),
        traffic,
        analysis: given.analysis.map(|given| analysis(findings, given)),
    }
}

/// What canaries may do; what is wrong with latency and success is found with the labels that say
/// the same.
fn analysis(findings: &mut Findings, given: wire::Analysis) -> model::Analysis {
    wrong(findings, &given);
    let latency = given.latency.unwrap_or_default();
    let latency = latency.into_iter().map(|limit| model::Latency {
        quantile: limit.quantile.unwrap_or_default(),
        max_ratio: limit.max_ratio.unwrap_or_default(),
    });
    let metrics = given.metric.into_iter().flatten();
    let metrics = metrics.map(|metric| model::Metric {
        name: metric.name.unwrap_or_default(),
        source: metric.source.unwrap_or_default(),
        address: metric.address.unwrap_or_default(),
        query: metric.query.unwrap_or_default(),
        min: metric.min,
        max: metric.max,
    });
    let hooks = given.hook.into_iter().flatten();
    let hooks = hooks.map(|hook| model::Hook {
        name: hook.name.unwrap_or_default(),
        on: hook.on.unwrap_or_default(),
        http: hook.http,
        manual: hook.manual.unwrap_or_default(),
    });
    model::Analysis {
        warmup: given.warmup,
        success_rate: given.success_rate.map(|rate| model::SuccessRate {
            max_drop: rate.max_drop.unwrap_or_default(),
        }),
        latency: latency.collect(),
        metric: metrics.collect(),
        hook: hooks.collect(),
    }
}

/// Finds what is wrong with metrics and hooks.
fn wrong(findings: &mut Findings, given: &wire::Analysis) {
    let mut note = |what: String, all: Vec<Wrong>| {
        for wrong in all {
            findings.error(format!("Update analysis block{what}: {}", wrong.sentence));
        }
    };
    for metric in given.metric.iter().flatten() {
        let name = metric.name.as_deref().unwrap_or_default();
        note(format!(", metric {name:?}"), asked::metric(metric));
    }
    for hook in given.hook.iter().flatten() {
        let name = hook.name.as_deref().unwrap_or_default();
        note(format!(", hook {name:?}"), asked::hook(hook));
    }
    note(String::new(), asked::together(given));
}

/// The shares of canaries.
fn traffic(findings: &mut Findings, given: wire::Traffic) -> model::Traffic {
    let steps = given.steps.unwrap_or_default();
    findings.require(!steps.is_empty(), || {
        "Traffic requires steps, such as steps = [5, 25, 50]".into()
    });
    let is_share = |step: &model::Percent| model::Share::parse(&step.to_string()).is_ok();
    findings.require(
        steps.iter().all(is_share) && steps.is_sorted_by(|a, b| a < b),
        || {
            let shown: Vec<String> = steps.iter().map(ToString::to_string).collect();
            let shown = shown.join(", ");
            format!("Traffic steps must be percents from 0 to 100 with at most two decimals, each more than the one before: [{shown}]")
        },
    );
    model::Traffic {
        steps,
        hold: given.hold,
        bake: given.bake,
        sticky: given.sticky.filter(|text| !text.is_empty()),
        splitter: given.splitter.filter(|text| !text.is_empty()),
    }
}

/// The update strategy of a group: the merged block over the defaults; none for batch jobs.
pub(in crate::spec::canonical) fn update(
    findings: &mut Findings,
    group: Option<wire::UpdateStrategy>,
    job: Option<&wire::UpdateStrategy>,
    job_type: JobType,
) -> Option<model::UpdateStrategy> {
    let merged = merge_update(group, job.filter(|block| !says_nothing(block)));
    if matches!(job_type, JobType::Batch | JobType::Sysbatch) {
        merged.as_ref()?;
        findings.error(format!(
            "Job type {:?} does not allow update block",
            job_type.as_str()
        ));
    }
    let update = fill_update(findings, merged.unwrap_or_default());
    let (minimum, healthy, progress) = (
        update.min_healthy_time,
        update.healthy_deadline,
        update.progress_deadline,
    );
    findings.require(
        update.traffic.is_none() || job_type == JobType::Service,
        || {
            format!(
                "Traffic requires a service job, not {:?}",
                job_type.as_str()
            )
        },
    );
    let check = &update.health_check;
    findings.require(
        ["checks", "task_states", "manual"].contains(&check.as_str()),
        || format!("Invalid health check given: {check:?}"),
    );
    findings.require(update.canary > 0 || !update.auto_promote, || {
        "Auto Promote requires a Canary count greater than zero".into()
    });
    findings.require(minimum >= Span::ZERO, || {
        format!("Minimum healthy time may not be less than zero: {minimum}")
    });
    findings.require(healthy > Span::ZERO, || {
        format!("Healthy deadline must be greater than zero: {healthy}")
    });
    findings.require(progress >= Span::ZERO, || {
        format!("Progress deadline must be zero or greater: {progress}")
    });
    findings.require(minimum < healthy, || {
        format!("Minimum healthy time must be less than healthy deadline: {minimum} > {healthy}")
    });
    findings.require(progress.is_zero() || healthy < progress, || {
        format!("Healthy deadline must be less than progress deadline: {healthy} > {progress}")
    });
    findings.require(update.stagger > Span::ZERO, || {
        format!("Stagger must be greater than zero: {}", update.stagger)
    });
    Some(update)
}
