//! Calls and operators: `calls.txt` holds each expression, and its value as JSON or its problems.

use jobs::spec::{Variables, parse};
use std::path::Path;

#[test]
fn every_call_and_operator_has_its_value_or_its_problem() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/calls.txt");
    let recorded = std::fs::read_to_string(&path).unwrap();
    let recorded: Vec<&str> = recorded.trim_end().split("\n\n").collect();
    let written = recorded.iter().map(|part| {
        let expression = part.lines().next().unwrap();
        let text = format!("job \"j\" {{\n meta {{\n x = jsonencode({expression})\n }}\n}}\n");
        let surroundings = crate::golden::fixed();
        match parse(&text, "call", &Variables::default(), &surroundings) {
            Ok(job) => format!("{expression}\n= {}", job.meta.unwrap()["x"]),
            Err(problems) => {
                let lines = problems.iter().map(|problem| format!("\n! {problem}"));
                format!("{expression}{}", lines.collect::<String>())
            }
        }
    });
    crate::compare(&path, &recorded, &written.collect::<Vec<_>>(), "\n\n");
}
