use super::group::{GROUP, inherit};
use super::placement::{AFFINITIES, CONSTRAINTS, SPREADS};
use super::policy::{MIGRATE, RESCHEDULE, UPDATE};
use super::task::{SECRET, TASK, VAULT};
use super::{
    BARE, META, Schema, flag, labeled, many, nested, one, plain, preset, text, texts, whole,
};
use serde_json::{Map, Value, json};

/// The body of a `job` block.
pub(in crate::spec) static JOB: Schema = Schema {
    attributes: &[
        text("id", "ID"),
        text("name", "Name"),
        text("region", "Region"),
        text("namespace", "Namespace"),
        text("type", "Type"),
        whole("priority", "Priority"),
        texts("datacenters", "Datacenters"),
        text("node_pool", "NodePool"),
        flag("all_at_once", "AllAtOnce"),
    ],
    blocks: &[
        labeled("group", "TaskGroups", "Name", &GROUP),
        labeled("task", "Tasks", "Name", &TASK),
        CONSTRAINTS,
        AFFINITIES,
        SPREADS,
        one("update", "Update", &UPDATE),
        one("reschedule", "Reschedule", &RESCHEDULE),
        one("migrate", "Migrate", &MIGRATE),
        META,
        one("ui", "UI", &UI),
        one("periodic", "Periodic", &PERIODIC),
        one("parameterized", "ParameterizedJob", &PARAMETERIZED),
        one("multiregion", "Multiregion", &MULTIREGION),
        one("vault", "Vault", &VAULT),
        labeled("secret", "Secrets", "Name", &SECRET),
    ],
    finish: finish_job,
    ..BARE
};

/// Tasks directly below the job become groups of their own, before the declared ones; what else
/// stands on the job and is meant for tasks goes to all of them.
fn finish_job(job: &mut Map<String, Value>) {
    if let Some(Value::Array(tasks)) = job.remove("Tasks") {
        let mut groups: Vec<Value> = tasks
            .into_iter()
            .map(|task| {
                let name = task.get("Name").cloned().unwrap_or_default();
                json!({ "Name": name, "Tasks": [task] })
            })
            .collect();
        if let Some(Value::Array(declared)) = job.remove("TaskGroups") {
            groups.extend(declared);
        }
        job.insert("TaskGroups".into(), Value::Array(groups));
    }
    let (vault, secrets) = (job.remove("Vault"), job.remove("Secrets"));
    let Some(Value::Array(groups)) = job.get_mut("TaskGroups") else {
        return;
    };
    for group in groups {
        if let Some(Value::Array(tasks)) = group.get_mut("Tasks") {
            tasks
                .iter_mut()
                .for_each(|task| inherit(task, &vault, &secrets));
        }
    }
}

static UI: Schema = Schema {
    attributes: &[text("description", "Description")],
    blocks: &[many("link", "Links", &LINK)],
    finish: super::keep,
    ..BARE
};

static LINK: Schema = plain(&[text("label", "Label"), text("url", "URL")]);

static PERIODIC: Schema = Schema {
    attributes: &[
        flag("enabled", "Enabled"),
        text("cron", "Spec"),
        texts("crons", "Specs"),
        flag("prohibit_overlap", "ProhibitOverlap"),
        text("time_zone", "TimeZone"),
    ],
    blocks: &[],
    finish: finish_periodic,
    ..BARE
};

fn finish_periodic(periodic: &mut Map<String, Value>) {
    if periodic.contains_key("Spec") || periodic.contains_key("Specs") {
        preset(periodic, "SpecType", "cron");
    }
}

static PARAMETERIZED: Schema = plain(&[
    text("payload", "Payload"),
    texts("meta_required", "MetaRequired"),
    texts("meta_optional", "MetaOptional"),
]);

static MULTIREGION: Schema = nested(
    &[],
    &[
        one("strategy", "Strategy", &STRATEGY),
        labeled("region", "Regions", "Name", &REGION),
    ],
);

static STRATEGY: Schema = plain(&[
    whole("max_parallel", "MaxParallel"),
    text("on_failure", "OnFailure"),
]);

static REGION: Schema = nested(
    &[
        whole("count", "Count"),
        texts("datacenters", "Datacenters"),
        text("node_pool", "NodePool"),
    ],
    &[super::opaque("meta", "Meta", super::Content::Texts(false))],
);
