//! What `job plan` prints, from the first run to a canary: `plans/transcripts.txt` holds each edit
//! of one job file, the exit code and the text.

use crate::harness::{Agent, command::trivet};
use std::path::Path;

/// The job of every transcript before its edits.
const JOB: &str = include_str!("plans/web.nomad");

/// One section of the file.
struct Transcript {
    title: String,
    /// Flags, and edits as `old -> new`.
    lines: Vec<String>,
    expected: String,
}

fn parse(text: &str) -> Vec<Transcript> {
    text.split("\n## ")
        .map(|section| section.trim_start_matches("## "))
        .map(|section| {
            let (head, expected) = section.split_once("\n\n").expect("an empty line");
            let mut lines = head.lines().map(str::to_owned);
            Transcript {
                title: lines.next().expect("a title"),
                lines: lines.collect(),
                expected: expected.to_owned(),
            }
        })
        .collect()
}

/// The text without what differs from run to run.
fn stable(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let number = |start: &str| line.strip_prefix(start)?.split_whitespace().next();
        match ["Job Modify Index: ", "trivet job run -check-index "]
            .iter()
            .find_map(|start| number(start))
        {
            Some(number) if number != "0" => line.replacen(number, "N", 1),
            _ => line.to_owned(),
        }
    });
    lines
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previews_print_the_recorded_texts() {
    let agent = Agent::start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plans/transcripts.txt");
    let recorded = std::fs::read_to_string(&path).expect("the transcripts");
    let mut all = Vec::new();
    for transcript in parse(recorded.trim_end()) {
        let mut job = JOB.to_owned();
        let mut arguments = vec!["job", "plan"];
        for line in &transcript.lines {
            match line.split_once(" -> ") {
                Some((old, new)) => {
                    assert!(job.contains(old), "nothing to edit: {line}");
                    job = job.replacen(old, &new.replace("\\n", "\n"), 1);
                }
                None => arguments.push(line),
            }
        }
        std::fs::write(agent.dir().join("web.nomad"), job).expect("the job file");
        if transcript.title == "registered" {
            trivet(&agent, &["job", "run", "web.nomad"]).await.ok();
        }
        arguments.push("web.nomad");
        let plan = trivet(&agent, &arguments).await;
        let head: Vec<&str> = std::iter::once(transcript.title.as_str())
            .chain(transcript.lines.iter().map(String::as_str))
            .collect();
        let shown = format!("exit code {}\n{}", plan.code, stable(&plan.text()));
        all.push((head.join("\n"), transcript.expected, shown));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let sections: Vec<String> = all
            .iter()
            .map(|(head, _, shown)| format!("## {head}\n\n{}\n", shown.trim_end()))
            .collect();
        std::fs::write(&path, sections.join("\n")).expect("the transcripts");
        return;
    }
    for (head, expected, shown) in all {
        assert_eq!(
            shown.trim_end(),
            expected.trim_end(),
            "{head}\nUPDATE_GOLDEN=1 rewrites it"
        );
    }
}
