//! What a rollout says, as the splitter that nobody wrote: whoever knows splitters can look on, and
//! takes over by writing it.

use mesh::model::ConfigKey;
use mesh::split::decided;
use serde_json::{Value, json};
use server::{Snapshot, alloc_of};

/// Kind of the entries.
pub(super) const KIND: &str = "service-splitter";
/// The key of `Meta` that says whose the shares are.
const MARK: &str = "managed_by";

/// The splitter of a service while a rollout says its shares, and no entry does.
pub(super) fn entry(snapshot: &Snapshot, key: &ConfigKey) -> Option<Value> {
    if key.kind != KIND || snapshot.mesh.view().config_entry(key).is_some() {
        return None;
    }
    let decided = decided(snapshot.mesh.view(), &key.name)?;
    let alloc = snapshot.jobs.alloc(alloc_of(&decided.canary)?)?;
    let deployment = snapshot.jobs.deployment(alloc.deployment_id?)?;
    let percent = |share: u32| f64::from(share) / 100.0;
    let rest = mesh::chain::WHOLE_SHARE.saturating_sub(decided.share);
    Some(json!({
        "Kind": KIND,
        "Name": key.name,
        "Splits": [
            {"Weight": percent(rest), "ServiceSubset": "stable"},
            {"Weight": percent(decided.share), "ServiceSubset": "canary"},
        ],
        "Meta": {MARK: format!("deployment/{}", deployment.id)},
        "CreateIndex": deployment.create_index,
        "ModifyIndex": deployment.modify_index,
    }))
}

/// The version that a writer expects of the row: none yet, if what it read is what the rollout says
/// now.
pub(super) fn expected(snapshot: &Snapshot, key: &ConfigKey, expected: Option<u64>) -> Option<u64> {
    let said = entry(snapshot, key);
    let version = said.and_then(|said| said["ModifyIndex"].as_u64());
    match expected {
        Some(read) if version == Some(read) => Some(0),
        expected => expected,
    }
}

/// Takes away whose the shares were: they are those of who writes.
pub(super) fn take_mark(entry: &mut Value) {
    let meta = entry.get_mut("Meta").and_then(Value::as_object_mut);
    let Some(meta) = meta else {
        return;
    };
    meta.remove(MARK);
    if meta.is_empty()
        && let Some(entry) = entry.as_object_mut()
    {
        entry.remove("Meta");
    }
}
