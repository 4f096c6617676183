//! One job for each rule, written as the lines that break it: `rules.txt` holds the place of the
//! lines, the lines, and what is said of them.

use jobs::spec::{
    Defaults, Surroundings, Validation, Variables, canonicalize_and_validate, parse, parse_api,
};
use std::path::Path;

/// A job of a type with lines at each of its places.
fn job(kind: &str, of_job: &str, of_group: &str, of_task: &str) -> String {
    format!(
        "job \"j\" {{\n  type = \"{kind}\"\n{of_job}\n  group \"g\" {{\n{of_group}\n    task \"t\" {{\n      driver = \"raw_exec\"\n      shutdown_delay = \"1s\"\n{of_task}\n    }}\n  }}\n}}\n"
    )
}

/// A service of a group that has a port.
fn service(lines: &str) -> String {
    format!("network {{\n port \"p\" {{}}\n}}\nservice {{\n name = \"s\"\n{lines}\n}}")
}

/// A check of such a service, with what every check must have.
fn check(of_service: &str, lines: &str) -> String {
    let body = format!(
        "{of_service}\n port = \"p\"\n check {{\n name = \"c\"\n interval = \"5s\"\n timeout = \"2s\"\n{lines}\n }}"
    );
    service(&body)
}

/// The whole text that has the lines at a place.
fn text(place: &str, lines: &str) -> String {
    let (place, kind) = place.split_once(" of ").unwrap_or((place, "service"));
    match place {
        "file" | "json" => lines.to_owned(),
        "job" => job(kind, lines, "", ""),
        "group" => job(kind, "", lines, ""),
        "task" => job(kind, "", "", lines),
        "service" => job(kind, "", &service(lines), ""),
        "own service" => {
            let lines = format!("provider = \"nomad\"\n{lines}");
            job(kind, "", &service(&lines), "")
        }
        "service in task" => {
            let lines = format!("service {{\n name = \"s\"\n{lines}\n}}");
            job(kind, "", "network {\n port \"p\" {}\n}", &lines)
        }
        "check" => job(kind, "", &check("", lines), ""),
        "own check" => job(kind, "", &check("provider = \"nomad\"", lines), ""),
        "mesh" => {
            let network = "network {\n mode = \"bridge\"\n port \"p\" {}\n}";
            let service =
                format!("service {{\n name = \"s\"\n port = \"p\"\n connect {{\n{lines}\n }}\n}}");
            job(kind, "", &format!("{network}\n{service}"), "")
        }
        other => panic!("no place {other:?}"),
    }
}

/// Errors and warnings by their innermost lines; what a service without a delay is told is said
/// elsewhere.
fn said(validation: &Validation) -> Vec<String> {
    let innermost = |mark: char, entries: &[String]| -> Vec<String> {
        let lines = entries.iter().flat_map(|entry| entry.lines());
        let lines = lines.map(|line| line.trim().trim_start_matches("* "));
        lines
            .filter(|line| !line.is_empty() && !line.ends_with(" occurred:"))
            .map(|line| format!("{mark} {line}"))
            .collect()
    };
    let mut all = innermost('!', &validation.errors);
    all.extend(innermost('?', &validation.warnings));
    all
}

/// What is said of the lines at a place: problems of the text, else errors and warnings.
fn outcome(place: &str, lines: &str) -> Vec<String> {
    let text = text(place, lines);
    let parsed = if place == "json" {
        parse_api(&text, "rule.json")
    } else {
        let (variables, surroundings) = (Variables::default(), Surroundings::default());
        parse(&text, "rule.nomad", &variables, &surroundings)
    };
    match parsed {
        Ok(job) => said(&canonicalize_and_validate(job, &Defaults::default())),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("! {problem}"))
            .collect(),
    }
}

#[test]
fn every_rule_is_told_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/rules.txt");
    let recorded = std::fs::read_to_string(&path).unwrap();
    let recorded: Vec<&str> = recorded.trim_end().split("\n\n").collect();
    let written = recorded.iter().map(|section| {
        let (place, rest) = section.split_once('\n').unwrap();
        let is_said = |line: &&str| line.starts_with(['!', '?', '=']);
        let of_job: Vec<&str> = rest.lines().take_while(|line| !is_said(line)).collect();
        let of_job = of_job.join("\n");
        let mut found = outcome(place.trim_start_matches("# "), &of_job);
        if found.is_empty() {
            found.push("= nothing".to_owned());
        }
        format!("{place}\n{of_job}\n{}", found.join("\n"))
    });
    crate::compare(&path, &recorded, &written.collect::<Vec<_>>(), "\n\n");
}
