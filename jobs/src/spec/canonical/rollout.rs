//! What the blocks of a group say of its canaries, as labels of its services: that is where it is
//! read, and the form in which a job can say it itself.

use super::Findings;
use crate::model::{self, Gate, HookCall, MetricLimit, Percent, RolloutPolicy};

/// A setting that a block says.
struct Setting {
    key: String,
    text: String,
    /// The name of the block.
    block: &'static str,
}

/// Writes what the blocks say of canaries into the labels of services.
pub(super) fn tell(findings: &mut Findings, group: &mut model::TaskGroup) {
    write(findings, group);
    let analysis = group.update.as_ref().and_then(|own| own.analysis.as_ref());
    let policy = group.rollout_policy();
    let asks = !policy.metrics.is_empty()
        || !policy.hooks.is_empty()
        || analysis.is_some_and(|own| !own.metric.is_empty() || !own.hook.is_empty());
    if asks && !policy.is_governed() {
        findings.warning(
            "Metrics and hooks are asked only while canaries get shares of their own: a service needs rollout_steps, or the group a traffic block and a service",
        );
    }
}

fn write(findings: &mut Findings, group: &mut model::TaskGroup) {
    let Some(update) = &group.update else { return };
    let mut settings = Vec::new();
    if let Some(traffic) = &update.traffic {
        of_traffic(traffic, &mut settings);
    }
    if let Some(analysis) = &update.analysis {
        of_analysis(analysis, &mut settings);
        of_asked(analysis, &mut settings);
    }
    for Setting { key, text, block } in &settings {
        // What is wrong with steps, metrics and hooks is said already.
        let rest = key.strip_prefix(RolloutPolicy::PREFIX).unwrap_or(key);
        let is_said = key == model::STEPS_META
            || rest.starts_with(RolloutPolicy::METRIC)
            || rest.starts_with(RolloutPolicy::HOOK);
        if !is_said && let Err(problem) = RolloutPolicy::default().set(key, text) {
            findings.error(format!("Update {block} block: {problem}"));
        }
    }
    let of_tasks = group.tasks.iter_mut().flat_map(|task| &mut task.services);
    for service in group.services.iter_mut().chain(of_tasks) {
        let name = &service.name;
        let canary = Some(&mut service.canary_meta).filter(|meta| !meta.is_empty());
        for meta in std::iter::once(&mut service.meta).chain(canary) {
            for Setting { key, text, block } in &settings {
                let said = meta.insert(key.clone(), text.clone());
                if let Some(said) = said.filter(|said| said != text) {
                    let (said, text) = (RolloutPolicy::shown(&said), RolloutPolicy::shown(text));
                    findings.warning(format!(
                        "Service {name:?} has {key} {said:?} in its meta; what the {block} block says, {text:?}, counts instead"
                    ));
                }
            }
        }
    }
}

fn of_traffic(traffic: &model::Traffic, settings: &mut Vec<Setting>) {
    let steps: Vec<String> = traffic.steps.iter().map(ToString::to_string).collect();
    let others = [
        (model::STEPS_META, Some(steps.join(","))),
        ("rollout_hold", traffic.hold.map(|span| span.to_string())),
        ("rollout_bake", traffic.bake.map(|span| span.to_string())),
        (model::STICKY_META, traffic.sticky.clone()),
        (model::SPLITTER_META, traffic.splitter.clone()),
    ];
    add(settings, "traffic", others);
}

fn of_analysis(analysis: &model::Analysis, settings: &mut Vec<Setting>) {
    let latency = analysis.latency.iter().map(|limit| {
        let quantile = (limit.quantile.0 * 1000.0).round() / 10.0;
        format!("p{quantile}<{}x", limit.max_ratio)
    });
    let latency: Vec<String> = latency.collect();
    let rate = analysis.success_rate.as_ref();
    let others = [
        (
            "rollout_warmup",
            analysis.warmup.map(|span| span.to_string()),
        ),
        (
            "rollout_errors",
            rate.map(|rate| format!("+{}pt", rate.max_drop)),
        ),
        (
            "rollout_latency",
            Some(latency.join(",")).filter(|text| !text.is_empty()),
        ),
    ];
    add(settings, "analysis", others);
}

/// Metrics, hooks, and the hooks that are somebody: gates.
fn of_asked(analysis: &model::Analysis, settings: &mut Vec<Setting>) {
    let number = |number: Option<Percent>| number.map(|number| number.0);
    let metrics = analysis.metric.iter().map(|own| {
        let (min, max) = (number(own.min), number(own.max));
        let text = MetricLimit::text(min, max, &own.address, &own.query);
        (RolloutPolicy::METRIC, &own.name, text)
    });
    let hooks = analysis.hook.iter().filter_map(|own| {
        let url = own.http.as_ref()?;
        let text = HookCall::text(&own.on, url);
        Some((RolloutPolicy::HOOK, &own.name, text))
    });
    settings.extend(metrics.chain(hooks).map(|(kind, name, text)| Setting {
        key: format!("{}{kind}{name}", RolloutPolicy::PREFIX),
        text,
        block: "analysis",
    }));
    let manual = analysis.hook.iter().filter(|hook| hook.manual);
    let on: Vec<&str> = manual.map(|hook| hook.on.as_str()).collect();
    let gates = [Gate::Start, Gate::Increase, Gate::Promote].map(Gate::as_str);
    let gates: Vec<&str> = gates.into_iter().filter(|gate| on.contains(gate)).collect();
    let gates = Some(gates.join(",")).filter(|text| !text.is_empty());
    add(settings, "analysis", [("rollout_gates", gates)]);
}

fn add<const N: usize>(
    settings: &mut Vec<Setting>,
    block: &'static str,
    said: [(&str, Option<String>); N],
) {
    settings.extend(said.into_iter().filter_map(|(key, text)| {
        Some(Setting {
            key: key.to_owned(),
            text: text?,
            block,
        })
    }));
}
