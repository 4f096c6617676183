//! Every attribute and block of the table, one by one, and in the files of the tests.

use super::policy::{HOOK, METRIC};
use super::{Attribute, BlockType, Content, JOB, Kind, Schema};
use crate::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse, parse_api};
use crate::wire::{Complete, Job, shapes};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Files that together have every attribute and block.
const FILES: [&str; 4] = [
    include_str!("../../../tests/spec/published/everything.nomad"),
    include_str!("../../../tests/spec/published/service.nomad"),
    include_str!("../../../tests/spec/published/legacy.nomad"),
    include_str!("../../../tests/spec/published/launched.nomad"),
];

/// A value of that kind as it is written.
fn sample(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "\"sample\"",
        Kind::Whole => "7",
        Kind::Flag => "true",
        Kind::Duration => "\"7s\"",
        Kind::TextList => "[\"sample\"]",
        Kind::WholeList => "[7]",
        Kind::Number => "7.5",
        Kind::NumberList => "[7.5]",
        Kind::TextMap => "{ k = \"sample\" }",
    }
}

/// One attribute or free block: where it stands, and a job file with it and without.
struct Place {
    path: String,
    /// The block that it belongs to, wherever that stands, and its name there.
    kind: (*const Schema, &'static str),
    with: String,
    without: String,
}

/// The blocks around a place, and what they need besides it.
#[derive(Default)]
struct Around {
    path: String,
    head: String,
    tail: String,
}

impl Around {
    fn inside(&self, block: &str, label: bool, schema: &Schema) -> Self {
        // What stands on a job or a group is meant for tasks, so there is one.
        let task = "task \"z\" {\ndriver = \"d\"\n}\n";
        let more = match block {
            "job" => format!("group \"y\" {{\n{task}}}\n"),
            "group" => task.to_owned(),
            _ => String::new(),
        };
        Self {
            path: format!("{}.{block}", self.path),
            head: format!("{}{}{}", self.head, header(block, label), needs(schema)),
            tail: format!("{more}}}\n{}", self.tail),
        }
    }

    fn place(&self, schema: &'static Schema, name: &'static str, text: &str) -> Place {
        let Self { path, head, tail } = self;
        let or_else = one_of(schema, Some(name));
        Place {
            path: format!("{path}.{name}"),
            kind: (schema, name),
            with: format!("{head}{}{text}{tail}", or_else.0),
            without: format!("{head}{}{tail}", or_else.1),
        }
    }
}

fn header(block: &str, label: bool) -> String {
    let label = if label { " \"x\"" } else { "" };
    format!("{block}{label} {{\n")
}

/// The lines that a block must have.
fn needs(schema: &Schema) -> String {
    let required = schema.attributes.iter().filter(|one| one.required);
    required.map(line).collect()
}

/// Of arguments of which a block must have one, the lines beside an argument, and those without it.
fn one_of(schema: &Schema, name: Option<&str>) -> (&'static str, &'static str) {
    const MIN: &str = "min = 1\n";
    const MAX: &str = "max = 9\n";
    const HTTP: &str = "http = \"http://other\"\n";
    if std::ptr::eq(schema, &METRIC) {
        return if name == Some("max") {
            (MIN, MIN)
        } else {
            (MAX, MAX)
        };
    }
    match name {
        _ if !std::ptr::eq(schema, &HOOK) => ("", ""),
        Some("manual" | "http") => ("", HTTP),
        _ => (HTTP, HTTP),
    }
}

fn line(attribute: &Attribute) -> String {
    let value = match attribute.name {
        "source" => "\"prometheus\"",
        "on" => "\"start\"",
        "address" | "http" => "\"http://sample\"",
        _ => sample(attribute.kind),
    };
    format!("{} = {value}\n", attribute.name)
}

fn places(around: &Around, schema: &'static Schema, all: &mut Vec<Place>) {
    for attribute in schema.attributes.iter().filter(|one| !one.required) {
        all.push(around.place(schema, attribute.name, &line(attribute)));
    }
    for block in schema.blocks {
        let BlockType { name, label, .. } = *block;
        let value = match &block.content {
            Content::Schema(inner) => {
                // What is required is there as soon as the block is.
                for attribute in inner.attributes.iter().filter(|one| one.required) {
                    let head = header(name, label.is_some());
                    let text = format!("{head}{}{}}}\n", needs(inner), one_of(inner, None).0);
                    let place = around.place(schema, attribute.name, &text);
                    let kind = (std::ptr::from_ref(*inner), attribute.name);
                    let path = format!("{}.{name}.{}", around.path, attribute.name);
                    all.push(Place {
                        path,
                        kind,
                        ..place
                    });
                }
                places(&around.inside(name, label.is_some(), inner), inner, all);
                continue;
            }
            Content::TextLists => "[\"sample\"]",
            Content::Texts(_) | Content::Labels | Content::Free => "\"sample\"",
        };
        let text = format!("{name} {{\nk = {value}\n}}\n");
        all.push(around.place(schema, name, &text));
    }
}

fn every_place() -> Vec<Place> {
    let mut all = Vec::new();
    let around = Around::default().inside("job", true, &JOB);
    places(&around, &JOB, &mut all);
    all
}

fn read(text: &str) -> Job {
    let (variables, surroundings) = (Variables::default(), Surroundings::default());
    match parse(text, "place.nomad", &variables, &surroundings) {
        Ok(job) => job,
        Err(problems) => panic!("{}\n{text}", problems[0]),
    }
}

/// Every value that is no object or list and not missing, by its keys.
fn leaves(path: &str, value: &Value, all: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Null => {}
        // Named by the user, and yet objects of the API.
        Value::Object(map)
            if path.ends_with(".Volumes") || path.ends_with(".EnvoyGatewayBindAddresses") =>
        {
            for item in map.values() {
                leaves(&format!("{path}[]"), item, all);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                leaves(&format!("{path}.{key}"), item, all);
            }
        }
        Value::Array(items) if items.iter().all(|item| item.is_object() || item.is_array()) => {
            for item in items {
                leaves(&format!("{path}[]"), item, all);
            }
        }
        value => {
            all.entry(path.to_owned())
                .or_default()
                .insert(value.to_string());
        }
    }
}

fn leaves_of(value: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    leaves("", value, &mut all);
    all
}

/// The keys under which a place is found in the API's JSON.
fn keys_of(place: &Place) -> Vec<String> {
    let without = leaves_of(&serde_json::to_value(read(&place.without)).unwrap());
    let keys = |with: &str| -> Vec<String> {
        let with = leaves_of(&serde_json::to_value(read(with)).unwrap());
        let differs = with.into_iter();
        let differs = differs.filter(|(key, values)| without.get(key) != Some(values));
        differs.map(|(key, _)| key).collect()
    };
    match keys(&place.with) {
        // What is true unless something else is said.
        none if none.is_empty() => keys(&place.with.replace("= true", "= false")),
        keys => keys,
    }
}

/// The keys of the JSON in lower case; names that are the user's stay.
fn lower(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| (key.to_lowercase(), lower(item)))
            .collect(),
        Value::Array(items) => items.iter().map(lower).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_attribute_reaches_the_json_of_the_api_and_comes_back() {
    let all = every_place();
    assert!(all.len() > 600, "{} places", all.len());
    for place in all {
        let keys = keys_of(&place);
        assert!(!keys.is_empty(), "{} is lost:\n{}", place.path, place.with);
        let job = read(&place.with);
        let json = serde_json::to_value(&job).unwrap();
        // The sample names of labels and maps are in lower case already.
        for json in [json.clone(), lower(&json)] {
            let back = parse_api(&json.to_string(), "place.json");
            assert_eq!(back.as_ref(), Ok(&job), "{}", place.path);
        }
    }
}

#[test]
fn every_attribute_stands_in_a_file_of_the_tests_and_is_shown() {
    let (mut written, mut shown) = (BTreeSet::new(), BTreeMap::new());
    for text in FILES {
        let job = read(text);
        let json = serde_json::to_value(&job).unwrap();
        written.extend(leaves_of(&json).into_keys());
        let validation = canonicalize_and_validate(job, &Defaults::default());
        let job = validation
            .job
            .unwrap_or_else(|| panic!("{:#?}", validation.errors));
        let json = serde_json::to_value(Complete(job, &shapes::JOB)).unwrap();
        for (key, values) in leaves_of(&json) {
            shown
                .entry(key)
                .or_insert_with(BTreeSet::new)
                .extend(values);
        }
    }
    let found = |keys: &mut dyn Iterator<Item = &String>, key: &str| {
        // Free blocks hold other names than the samples have, and tokens may have no name.
        let key = key.replace(".Identity.", ".Identities[].");
        let block = key.strip_suffix(".k");
        let known = |known: &String| known.replace(".Identity.", ".Identities[].");
        keys.map(known).any(|known| {
            known == key || block.is_some_and(|block| known.starts_with(&format!("{block}.")))
        })
    };
    let mut missing: BTreeMap<(*const Schema, &str), String> = BTreeMap::new();
    let mut present = BTreeSet::new();
    for place in every_place() {
        let keys = keys_of(&place);
        let all = |known: &BTreeSet<String>| keys.iter().all(|key| found(&mut known.iter(), key));
        if all(&written) && all(&shown.keys().cloned().collect()) {
            present.insert(place.kind);
        } else {
            missing.insert(place.kind, place.path);
        }
    }
    let mut missing: Vec<String> = missing
        .into_iter()
        .filter(|(kind, _)| !present.contains(kind))
        .map(|(_, path)| path)
        .collect();
    missing.sort();
    // Old names of what is shown elsewhere, one in another spelling, and what is refused.
    let elsewhere = [
        ".job.group.max_client_disconnect",
        ".job.group.stop_after_client_disconnect",
        ".job.multiregion.region.count",
        ".job.multiregion.region.datacenters",
        ".job.multiregion.region.meta",
        ".job.multiregion.region.node_pool",
        ".job.multiregion.strategy.max_parallel",
        ".job.multiregion.strategy.on_failure",
        ".job.task.logs.enabled",
        ".job.ui.link.url",
    ];
    assert_eq!(missing, elsewhere);
}
