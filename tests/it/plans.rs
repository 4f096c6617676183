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

/// A batch job that is launched at five to midnight, in some time zone.
fn nightly(zone: &str) -> String {
    format!(
        r#"
job "nightly" {{
  type = "batch"
  periodic {{
    crons     = ["55 23 * * *"]
    time_zone = "{zone}"
  }}
  group "g" {{
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "true"
      }}
    }}
  }}
}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_periodic_job_tells_when_it_would_be_launched_next() {
    let agent = Agent::start().await;
    let path = agent.dir().join("nightly.nomad");
    let file = path.to_str().expect("UTF-8");
    std::fs::write(&path, nightly("Etc/GMT-2")).expect("a job file");
    let plan = trivet(&agent, &["job", "plan", file]).await;
    let told = plan
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("- If submitted now, next periodic launch would be at "))
        .unwrap_or_else(|| panic!("no launch in {}", plan.text()));
    assert!(
        told.contains("T23:55:00+02:00 (") && told.ends_with("s from now)."),
        "{told}"
    );
    // What a launch would do is told beside it.
    assert!(
        plan.stdout.contains("All tasks successfully allocated"),
        "{}",
        plan.stdout
    );
    std::fs::write(&path, nightly("Europe/Nowhere")).expect("a job file");
    let refused = trivet(&agent, &["job", "plan", file]).await;
    assert_eq!(refused.code, 255);
    assert!(
        refused
            .stderr
            .contains("Invalid time zone \"Europe/Nowhere\": unknown time zone"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_takes_json_and_ends_with_255_when_it_cannot_be_made() {
    let agent = Agent::start().await;
    let path = |name: &str| agent.dir().join(name).to_str().expect("UTF-8").to_owned();
    let (hcl, json, bad) = (path("web.nomad"), path("web.json"), path("bad.nomad"));
    std::fs::write(&hcl, JOB).expect("a job file");
    std::fs::write(&bad, "job \"x\" {\n  grup \"g\" {}\n}\n").expect("a job file");
    let output = trivet(&agent, &["job", "run", "-output", &hcl]).await.ok();
    std::fs::write(&json, output.stdout).expect("a job in JSON");

    let plan = trivet(&agent, &["job", "plan", "-policy-override", &hcl]).await;
    let same = trivet(&agent, &["job", "plan", "-json", &json]).await;
    assert_eq!((plan.code, same.code), (1, 1), "{}", same.text());
    assert_eq!(
        stable(&plan.stdout).replace("web.nomad", "web.json"),
        stable(&same.stdout)
    );

    let whole = trivet(&agent, &["job", "plan", "-json-output", &hcl]).await;
    let answer: serde_json::Value = serde_json::from_str(&whole.stdout).expect("JSON");
    assert_eq!(answer["Diff"]["Type"], "Added");
    // Lists without entries are null, as clients of the API have them.
    for null in [
        &answer["CreatedEvals"],
        &answer["FailedTGAllocs"],
        &answer["Diff"]["TaskGroups"][0]["Tasks"][0]["Fields"][0]["Annotations"],
    ] {
        assert!(null.is_null(), "{answer}");
    }
    assert_eq!(answer["NextPeriodicLaunch"], "0001-01-01T00:00:00Z");

    for arguments in [
        &["-json", &hcl][..],
        &[&bad],
        &["/nowhere.nomad"],
        &["-vault-namespace", "team", &hcl],
        &["-json-output", "-t", "{{.}}", &hcl],
        &[],
    ] {
        let refused = trivet(&agent, &[&["job", "plan"], arguments].concat()).await;
        assert_eq!(refused.code, 255, "{arguments:?}: {}", refused.text());
        assert!(!refused.stderr.is_empty() && refused.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_inspected_as_a_file_as_json_and_at_a_version() {
    let agent = Agent::start().await;
    let path = agent.dir().join("web.nomad");
    let file = path.to_str().expect("UTF-8");
    let written = format!(
        "variable \"n\" {{\n  type = number\n}}\n{}",
        JOB.replace("count = 2", "count = var.n - var.n")
    );
    for text in [
        written.clone(),
        written.replace("job \"web\" {", "job \"web\" {\n  priority = 60"),
    ] {
        std::fs::write(&path, text).expect("a job file");
        trivet(&agent, &["job", "run", "-detach", "-var", "n=7", file])
            .await
            .ok();
    }
    let inspect = async |args: &[&str]| trivet(&agent, &[&["job", "inspect"], args].concat()).await;
    let json = async |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&inspect(args).await.ok().stdout).expect("JSON")
    };
    assert_eq!(json(&["web"]).await["Job"]["Priority"], 60);
    assert_eq!(json(&["-json", "web"]).await["Priority"], 60);
    assert_eq!(
        json(&["-json", "-version", "0", "web"]).await["Priority"],
        50
    );
    assert_eq!(json(&["-json"]).await[0]["ID"], "web");
    assert_eq!(
        inspect(&["-t", "{{.Priority}}", "web"])
            .await
            .ok()
            .stdout
            .trim(),
        "60"
    );

    let first = inspect(&["-hcl", "-version", "0", "-with-vars", "web"])
        .await
        .ok();
    assert_eq!(first.stdout.trim_end(), written.trim_end());
    assert!(
        first
            .stderr
            .contains("job run -namespace default -var n=7 -"),
        "{}",
        first.stderr
    );
    assert!(
        inspect(&["-hcl", "web"])
            .await
            .ok()
            .stdout
            .contains("priority = 60")
    );
    for (args, text) in [
        (
            &["-version", "9", "web"][..],
            "job \"web\" with version 9 couldn't be found",
        ),
        (
            &["-hcl", "-version", "9", "web"],
            "job \"web\" with version 9 couldn't be found",
        ),
        (&["nope"], "No job(s) with prefix or ID \"nope\" found"),
        (&[], "This command takes one argument: <job>"),
        (&["-with-vars", "web"], "-hcl"),
        (&["-json", "-hcl", "web"], "cannot be used with"),
    ] {
        let refused = inspect(args).await;
        assert_eq!(refused.code, 1, "{args:?}");
        assert!(
            refused.stderr.contains(text),
            "no `{text}` in {}",
            refused.stderr
        );
    }
}
