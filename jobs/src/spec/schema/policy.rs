use super::{
    BARE, BlockType, Content, Schema, duration, flag, keep, labeled, many, nested, number, numbers,
    one, opaque, plain, preset, required, text, whole,
};
use crate::spec::asked::{self, Wrong};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) static UPDATE: Schema = Schema {
    attributes: &[
        whole("max_parallel", "MaxParallel"),
        text("health_check", "HealthCheck"),
        duration("min_healthy_time", "MinHealthyTime"),
        duration("healthy_deadline", "HealthyDeadline"),
        duration("progress_deadline", "ProgressDeadline"),
        flag("auto_revert", "AutoRevert"),
        flag("auto_promote", "AutoPromote"),
        whole("canary", "Canary"),
        duration("stagger", "Stagger"),
    ],
    blocks: &[
        one("traffic", "Traffic", &TRAFFIC),
        one("analysis", "Analysis", &ANALYSIS),
    ],
    finish: keep,
    ..BARE
};

static TRAFFIC: Schema = plain(&[
    required(numbers("steps", "Steps")),
    duration("hold", "Hold"),
    duration("bake", "Bake"),
    text("sticky", "Sticky"),
    text("splitter", "Splitter"),
]);

static ANALYSIS: Schema = Schema {
    check: |block| wrong(block, asked::together),
    ..nested(
        &[duration("warmup", "Warmup")],
        &[
            one("success_rate", "SuccessRate", &SUCCESS_RATE),
            many("latency", "Latency", &LATENCY),
            labeled("metric", "Metric", "Name", &METRIC),
            labeled("hook", "Hook", "Name", &HOOK),
        ],
    )
};

pub(super) static METRIC: Schema = Schema {
    check: |block| wrong(block, asked::metric),
    ..plain(&[
        required(text("source", "Source")),
        required(text("address", "Address")),
        required(text("query", "Query")),
        number("min", "Min"),
        number("max", "Max"),
    ])
};

pub(super) static HOOK: Schema = Schema {
    check: |block| wrong(block, asked::hook),
    foreign: &[
        (
            "action",
            "A hook runs nothing in a task: let a program answer over HTTP, and write its http = \"http://…\".",
        ),
        (
            "job",
            "A hook starts no job: let a program that does answer over HTTP, and write its http = \"http://…\".",
        ),
    ],
    ..plain(&[
        required(text("on", "On")),
        text("http", "Http"),
        flag("manual", "Manual"),
    ])
};

/// What is wrong with a block; nothing if it is not even one.
fn wrong<T: DeserializeOwned>(block: &Value, find: fn(&T) -> Vec<Wrong>) -> Vec<Wrong> {
    serde_json::from_value(block.clone()).map_or_else(|_| Vec::new(), |block| find(&block))
}

static SUCCESS_RATE: Schema = plain(&[required(number("max_drop", "MaxDrop"))]);

static LATENCY: Schema = plain(&[
    required(number("quantile", "Quantile")),
    required(number("max_ratio", "MaxRatio")),
]);

pub(super) static RESTART: Schema = plain(&[
    whole("attempts", "Attempts"),
    duration("interval", "Interval"),
    duration("delay", "Delay"),
    text("mode", "Mode"),
    flag("render_templates", "RenderTemplates"),
]);

pub(super) static RESCHEDULE: Schema = plain(&[
    whole("attempts", "Attempts"),
    duration("interval", "Interval"),
    duration("delay", "Delay"),
    text("delay_function", "DelayFunction"),
    duration("max_delay", "MaxDelay"),
    flag("unlimited", "Unlimited"),
]);

pub(super) static MIGRATE: Schema = plain(&[
    whole("max_parallel", "MaxParallel"),
    text("health_check", "HealthCheck"),
    duration("min_healthy_time", "MinHealthyTime"),
    duration("healthy_deadline", "HealthyDeadline"),
]);

pub(super) static EPHEMERAL_DISK: Schema = plain(&[
    flag("sticky", "Sticky"),
    flag("migrate", "Migrate"),
    whole("size", "SizeMB"),
]);

pub(super) static DISCONNECT: Schema = plain(&[
    duration("lost_after", "LostAfter"),
    duration("stop_on_client_after", "StopOnClientAfter"),
    flag("replace", "Replace"),
    text("reconcile", "Reconcile"),
]);

pub(super) static GROUP_SCALING: Schema = Schema {
    attributes: &[
        whole("min", "Min"),
        required(whole("max", "Max")),
        flag("enabled", "Enabled"),
        text("type", "Type"),
    ],
    blocks: &[POLICY],
    finish: finish_scaling,
    ..BARE
};

/// The rule of another program: anything.
pub(super) const POLICY: BlockType = opaque("policy", "Policy", Content::Free);

fn finish_scaling(scaling: &mut Map<String, Value>) {
    preset(scaling, "Type", "horizontal");
}
