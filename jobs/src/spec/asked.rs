//! What is wrong with the blocks of metrics and hooks, and where: an argument, and what to write
//! instead. No sentence repeats an address, which may hold a password.

use crate::model::{Gate, HookCall, HookPoint, MetricLimit, RolloutPolicy};
use crate::wire;
use std::collections::BTreeSet;

/// Something that is wrong with a block.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The argument to blame, `name` for the label; empty for the whole block.
    pub(super) argument: &'static str,
    /// What it must be.
    pub(super) sentence: String,
}

fn note(wrong: &mut Vec<Wrong>, argument: &'static str, checked: Result<(), String>) {
    if let Err(sentence) = checked {
        wrong.push(Wrong { argument, sentence });
    }
}

/// What is wrong with a metric.
pub(super) fn metric(block: &wire::Metric) -> Vec<Wrong> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    note(
        &mut wrong,
        "name",
        RolloutPolicy::check_name(&text(&block.name)),
    );
    let source = text(&block.source);
    if source != MetricLimit::SOURCE {
        let only = MetricLimit::SOURCE;
        let sentence = format!("source is {source:?}; it must be {only:?}");
        note(&mut wrong, "source", Err(sentence));
    }
    let (address, query) = (text(&block.address), text(&block.query));
    note(
        &mut wrong,
        "address",
        MetricLimit::check_address(address.trim()),
    );
    note(&mut wrong, "query", MetricLimit::check_query(&query));
    let (min, max) = (block.min.map(|min| min.0), block.max.map(|max| max.0));
    let blamed = if min.is_some() { "min" } else { "" };
    note(&mut wrong, blamed, MetricLimit::check_limits(min, max));
    if wrong.is_empty() {
        let whole = MetricLimit::parse(&MetricLimit::text(min, max, &address, &query));
        note(&mut wrong, "query", whole.map(drop));
    }
    wrong
}

/// What is wrong with a hook.
pub(super) fn hook(block: &wire::Hook) -> Vec<Wrong> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    note(
        &mut wrong,
        "name",
        RolloutPolicy::check_name(&text(&block.name)),
    );
    let on = HookPoint::parse(&text(&block.on));
    note(&mut wrong, "on", on.clone().map(drop));
    let is_manual = block.manual == Some(true);
    match &block.http {
        Some(_) if is_manual => note(
            &mut wrong,
            "manual",
            Err(
                "there is an http already; a hook is either asked there or waits for somebody"
                    .into(),
            ),
        ),
        Some(url) => note(&mut wrong, "http", HookCall::check_url(url.trim())),
        None if is_manual => {
            let waits = on.is_err() || gate(block).is_some();
            let sentence = "manual is for on = \"start\", \"increase\" or \"promote\", where somebody can let it go on";
            note(
                &mut wrong,
                "manual",
                waits.then_some(()).ok_or_else(|| sentence.into()),
            );
        }
        None => note(
            &mut wrong,
            "",
            Err("there is nobody to ask; it needs an http, or manual = true".into()),
        ),
    }
    wrong
}

/// Where a hook waits for somebody; none if it does not.
pub(super) fn gate(block: &wire::Hook) -> Option<Gate> {
    let on = block.on.as_deref()?;
    let on = HookPoint::parse(on).ok()?;
    on.gate().filter(|_| block.manual == Some(true))
}

/// What is wrong with all metrics and hooks of a block together.
pub(super) fn together(block: &wire::Analysis) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let metrics = block.metric.iter().flatten().map(|own| &own.name);
    let hooks = block.hook.iter().flatten().map(|own| &own.name);
    for (what, names) in [
        ("metric", metrics.collect::<Vec<_>>()),
        ("hook", hooks.collect()),
    ] {
        let most = RolloutPolicy::ASKED_MAX;
        if names.len() > most {
            let count = names.len();
            let sentence =
                format!("there are {count} {what} blocks; a group has at most {most} of them");
            note(&mut wrong, what, Err(sentence));
        }
        let mut known = BTreeSet::new();
        for name in names.into_iter().flatten() {
            if !known.insert(name) {
                let sentence =
                    format!("there are two {what} blocks {name:?}; each needs a name of its own");
                note(&mut wrong, what, Err(sentence));
            }
        }
    }
    wrong
}
