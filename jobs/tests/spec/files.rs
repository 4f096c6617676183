use crate::{files, job};
use jobs::model::Span;
use jobs::spec::{Defaults, canonicalize_and_validate};
use jobs::{model, wire};

/// Model → JSON → wire → model is the identity, and canonicalizing twice changes nothing.
fn round_trip(job: &model::Job, name: &str) {
    let json = serde_json::to_value(job).unwrap();
    let wire: wire::Job = serde_json::from_value(json).unwrap();
    let again = canonicalize_and_validate(wire.clone(), &Defaults::default());
    assert_eq!(again.errors, Vec::<String>::new(), "{name}");
    assert_eq!(again.job.as_ref(), Some(job), "{name}");
    let json = serde_json::to_value(&wire).unwrap();
    assert_eq!(
        serde_json::from_value::<wire::Job>(json).unwrap(),
        wire,
        "{name}"
    );
}

#[test]
fn every_example_is_valid_and_survives_json() {
    for (path, text) in files("examples") {
        let name = path.display().to_string();
        let job = job(&text, &name);
        assert!(job.total_count() > 0, "{name}");
        round_trip(&job, &name);
    }
}

#[test]
fn every_published_file_is_valid_and_survives_json() {
    for (path, text) in files("tests/spec/published") {
        let name = path.display().to_string();
        round_trip(&job(&text, &name), &name);
    }
}

#[test]
fn api_json_is_read_with_or_without_its_wrapper() {
    let bare = r#"{"ID":"a","TaskGroups":[{"Name":"g","Tasks":[{"Name":"t","Driver":"raw_exec","KillTimeout":"7s"}]}]}"#;
    let wrapped = format!("{{\"Job\": {bare}, \"EnforceIndex\": true}}");
    let (a, b) = (job(bare, "a.json"), job(&wrapped, "b.json"));
    assert_eq!(a, b);
    assert_eq!(a.task_groups[0].tasks[0].kill_timeout, Span::from_secs(7));
}
