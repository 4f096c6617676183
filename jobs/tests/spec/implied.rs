use crate::{files, golden, job};
use jobs::model::{Constraint, WorkloadIdentity};
use jobs::spec::{Defaults, canonicalize_and_validate};
use std::fmt::Write;

fn show(out: &mut String, owner: &str, constraints: &[Constraint]) {
    for constraint in constraints {
        let (left, operand, right) = (
            &constraint.l_target,
            &constraint.operand,
            &constraint.r_target,
        );
        writeln!(out, "{owner}: {left} {operand} {right}").unwrap();
    }
}

#[test]
fn a_job_asks_for_what_its_blocks_need() {
    for (path, text) in files("tests/spec/implied") {
        if path.extension().is_none_or(|ending| ending != "nomad") {
            continue;
        }
        let job = job(&text, path.file_name().unwrap().to_str().unwrap());
        let mut out = String::new();
        for group in &job.task_groups {
            show(&mut out, &group.name, &group.constraints);
            for task in &group.tasks {
                let owner = format!("{}.{}", group.name, task.name);
                show(&mut out, &owner, &task.constraints);
            }
        }
        golden(&path.with_extension("nomad.out"), &out);
    }
}

#[test]
fn an_answer_shows_the_token_that_every_task_has_and_the_row_does_not_keep_it() {
    let text = r#"job "a" { group "g" { task "t" {
        driver = "raw_exec"
        config { command = "/bin/true" }
        identity { name = "default" }
    } } }"#
        .replace("{ ", "{\n")
        .replace(" }", "\n}");
    let job = job(&text, "token.nomad");
    assert!(job.task_groups[0].tasks[0].identity.is_none());
    let answer = jobs::wire::Complete(&job, &jobs::wire::shapes::JOB);
    let answer = serde_json::to_value(answer).unwrap();
    let shown = &answer["TaskGroups"][0]["Tasks"][0]["Identity"];
    assert_eq!(
        *shown,
        serde_json::to_value(WorkloadIdentity::of_task()).unwrap()
    );
}

#[test]
fn the_answer_about_a_job_can_be_registered_again() {
    for kind in ["service", "batch", "system", "sysbatch"] {
        let text = format!(
            "job \"a\" {{\n  type = \"{kind}\"\n  group \"g\" {{\n    task \"t\" {{\n      driver = \"raw_exec\"\n    }}\n  }}\n}}"
        );
        let job = job(&text, "again.nomad");
        let answer = jobs::wire::Complete(&job, &jobs::wire::shapes::JOB);
        let posted = serde_json::from_value(serde_json::to_value(answer).unwrap()).unwrap();
        let again = canonicalize_and_validate(posted, &Defaults::default());
        assert_eq!(again.errors, Vec::<String>::new(), "{kind}");
        assert_eq!(again.job, Some(job), "{kind}");
    }
}
