use jobs::model;
use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse, parse_api};
use jobs::wire::{self, Complete, shapes};
use serde_json::{Map, Value, json};

/// A file with every block of the specification.
const BLOCKS: &str = include_str!("good/blocks.nomad");

/// The same without what is refused, and without what excludes each other.
const VALID: &str = include_str!("published/everything.nomad");

/// Maps whose keys are the user's own, so that their spelling matters.
const FREE: [&str; 15] = [
    "Add",
    "Args",
    "CanaryMeta",
    "Config",
    "Env",
    "EnvoyGatewayBindAddresses",
    "GetterHeaders",
    "GetterOptions",
    "Header",
    "Meta",
    "MountFlags",
    "Options",
    "Policy",
    "Set",
    "TaggedAddresses",
];

fn written(text: &str) -> wire::Job {
    parse(
        text,
        "blocks.nomad",
        &Variables::default(),
        &Surroundings::default(),
    )
    .unwrap()
}

fn canonical(job: wire::Job) -> model::Job {
    let validation = canonicalize_and_validate(job, &Defaults::default());
    validation
        .job
        .unwrap_or_else(|| panic!("{:#?}", validation.errors))
}

/// The value with another spelling of the keys that are the API's.
fn respell(value: &Value, spell: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| {
                let item = match key.as_str() {
                    free if FREE.contains(&free) => item.clone(),
                    // Named by the user, and yet objects of the API.
                    "Volumes" => match item {
                        Value::Object(volumes) => volumes
                            .iter()
                            .map(|(name, volume)| (name.clone(), respell(volume, spell)))
                            .collect::<Map<_, _>>()
                            .into(),
                        other => other.clone(),
                    },
                    _ => respell(item, spell),
                };
                (spell(key), item)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| respell(item, spell)).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_block_comes_back_from_the_api_in_any_spelling() {
    let written = written(BLOCKS);
    let json = serde_json::to_value(&written).unwrap();
    let spellings: [fn(&str) -> String; 3] = [
        str::to_owned,
        |key| key.to_lowercase(),
        |key| key.to_uppercase(),
    ];
    for spell in spellings {
        let bare = respell(&json, spell);
        for value in [bare.clone(), json!({ "Job": bare, "EnforceIndex": false })] {
            let read = parse_api(&value.to_string(), "job.json").unwrap();
            assert_eq!(read, written);
        }
    }
}

#[test]
fn every_key_of_the_file_is_shown() {
    let json = serde_json::to_value(written(VALID)).unwrap();
    let shown = serde_json::to_value(Complete(canonical(written(VALID)), &shapes::JOB)).unwrap();
    let mut missing = Vec::new();
    compare("Job", &json, &shown, &mut missing);
    // Legacy names of what is shown elsewhere, and one in another spelling.
    let elsewhere = [
        "Job.TaskGroups[].MaxClientDisconnect",
        "Job.TaskGroups[].StopAfterClientDisconnect",
        "Job.UI.Links[].URL",
    ];
    missing.sort();
    missing.dedup();
    assert_eq!(missing, elsewhere);
}

/// Keys with a value on the left that the right has not.
fn compare(path: &str, written: &Value, shown: &Value, missing: &mut Vec<String>) {
    match (written, shown) {
        (Value::Object(written), Value::Object(shown)) => {
            for (key, item) in written.iter().filter(|(_, item)| !item.is_null()) {
                // What stands on the job for all groups is shown on each of them.
                let merged = path == "Job" && ["Reschedule", "Migrate"].contains(&key.as_str());
                match shown.get(key) {
                    _ if merged => {}
                    Some(Value::Null) | None => missing.push(format!("{path}.{key}")),
                    Some(shown) => compare(&format!("{path}.{key}"), item, shown, missing),
                }
            }
        }
        (Value::Array(written), Value::Array(shown)) => {
            for (written, shown) in written.iter().zip(shown) {
                compare(&format!("{path}[]"), written, shown, missing);
            }
        }
        _ => {}
    }
}
