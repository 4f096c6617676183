//! Runs `tests/answers/*.txt`: lines that set a catalog up, questions, and the answers below them,
//! indented.
//!
//! `ask NAME TYPE [tcp | edns=SIZE]` asks over UDP without EDNS unless it says otherwise. Records
//! of a section are sorted, since their order is random by design. With `UPDATE_ANSWERS=1` the
//! answers in the files are rewritten.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dns::View;
use dns::answer::{Answer, Context, Question, Room, answer};
use hickory_proto::rr::{Name, Record, RecordType};

use crate::catalog::Scenario;

/// One seed for all questions keeps the choice among many instances the same in every run.
const SEED: u64 = 7;
/// Serial number of the zone in all transcripts.
const NOW: u32 = 1_700_000_000;

#[test]
fn transcripts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    let update = std::env::var_os("UPDATE_ANSWERS").is_some();
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let written = fs::read_to_string(&path).unwrap();
        let answered = run(&written);
        if update {
            fs::write(&path, &answered).unwrap();
        } else if written != answered {
            panic!("{}:\n{}", path.display(), difference(&written, &answered));
        }
        files += 1;
    }
    assert!(files > 0, "no transcripts found");
}

fn difference(written: &str, answered: &str) -> String {
    let mut report = String::new();
    for (at, (was, is)) in written.lines().zip(answered.lines()).enumerate() {
        if was != is {
            writeln!(report, "line {}: expected `{was}`, answered `{is}`", at + 1).unwrap();
            return report;
        }
    }
    "one has more lines than the other".to_owned()
}

/// The transcript with the answers as they are now.
fn run(text: &str) -> String {
    let mut scenario = Scenario::new();
    let mut view = None;
    let mut transcript = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        transcript.push_str(line);
        transcript.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if scenario.read(line) {
            view = None;
            continue;
        }
        let question = line
            .strip_prefix("ask ")
            .unwrap_or_else(|| panic!("unknown line: {line}"));
        let view = view.get_or_insert_with(|| View::new(&scenario.facts).unwrap());
        transcript.push_str(&ask(view, &scenario, question));
    }
    transcript
}

fn ask(view: &View, scenario: &Scenario, question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    let name = Name::from_labels(words[0].split('.').map(str::as_bytes)).unwrap();
    let record_type: RecordType = words[1].parse().unwrap();
    let room = match words.get(2) {
        None => Room::udp(None, &scenario.rules),
        Some(&"tcp") => Room::tcp(),
        Some(size) => {
            let payload = size.strip_prefix("edns=").unwrap().parse().unwrap();
            Room::udp(Some(payload), &scenario.rules)
        }
    };
    let cx = Context {
        rules: &scenario.rules,
        room,
        seed: SEED,
        now: NOW,
    };
    render(&answer(
        view,
        Question {
            name: &name,
            record_type,
        },
        &cx,
    ))
}

fn render(answer: &Answer) -> String {
    let mut text = format!("  {:?}", answer.code);
    if !answer.authoritative {
        text.push_str(" not-authoritative");
    }
    if answer.shortened {
        text.push_str(" shortened");
    }
    text.push('\n');
    for (section, records) in [
        ("AN", &answer.answers),
        ("AU", &answer.authorities),
        ("AR", &answer.additionals),
    ] {
        let mut lines: Vec<String> = records.iter().map(Record::to_string).collect();
        lines.sort();
        for line in lines {
            writeln!(text, "  {section} {line}").unwrap();
        }
    }
    text
}
