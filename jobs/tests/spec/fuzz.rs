//! Random changes of real files, for as long as one likes: a second each in the usual tests, and
//! longer with `.ci/fuzz SECONDS`.
//!
//! What a case is, is printed when it fails. A case that found something becomes a test of its own.

use crate::files;
use jobs::model::TaskConfig;
use jobs::spec::{
    Defaults, Surroundings, Variables, canonicalize_and_validate, format, parse, parse_api, resolve,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest text that is tried, bytes.
const LONGEST: usize = 20_000;
/// How long one case may take, on a busy machine and without optimization.
const SLOWEST: Duration = Duration::from_secs(60);

/// Words that mean something, which random changes would seldom hit upon.
const WORDS: [&str; 64] = [
    "${",
    "}",
    "%{",
    "{",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "\\",
    "$${",
    "%%{",
    "~}",
    "<<EOT\n",
    "<<-EOT\n",
    "\nEOT\n",
    "=",
    "==",
    "=>",
    ",",
    "...",
    "[*]",
    ".*",
    "?",
    ":",
    "::",
    "#",
    "//",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{feff}",
    "é",
    "👍🏽",
    "if ",
    "else",
    "endif",
    "for ",
    " in ",
    "endfor",
    "null",
    "true",
    "-",
    "!",
    "&&",
    "1e308",
    "9223372036854775808",
    "-1",
    "0",
    "0.5",
    "1e-9",
    "var.a",
    "local.a",
    "dynamic \"x\" {\n",
    "range(1, 9)",
    "try(",
    "jsondecode(",
    "format(\"%",
    "regex_replace(",
    "NOMAD_X",
    "18446744073709551615",
];

struct Fuzzer {
    random: ChaCha8Rng,
    corpus: Vec<String>,
}

impl Fuzzer {
    fn below(&mut self, bound: usize) -> usize {
        let drawn = usize::try_from(self.random.next_u32()).unwrap();
        if bound == 0 { 0 } else { drawn % bound }
    }

    fn any(&mut self) -> String {
        let at = self.below(self.corpus.len());
        self.corpus[at].clone()
    }

    /// Where a piece of a text begins and ends: a word, blanks, or a single mark.
    fn piece(&mut self, text: &str) -> (usize, usize) {
        let kind = |letter: char| match letter {
            letter if letter.is_alphanumeric() || letter == '_' => 0,
            ' ' | '\t' => 1,
            _ => 2,
        };
        let places: Vec<(usize, char)> = text.char_indices().collect();
        if places.is_empty() {
            return (0, 0);
        }
        let at = self.below(places.len());
        let (start, first) = places[at];
        let end = places[at..]
            .iter()
            .skip(1)
            .find(|(_, letter)| kind(*letter) != kind(first) || kind(first) == 2)
            .map_or(text.len(), |(end, _)| *end);
        (start, end)
    }

    fn case(&mut self) -> String {
        let mut text = self.any();
        for _ in 0..=self.below(6) {
            let (start, end) = self.piece(&text);
            let (from, to) = self.piece(&text);
            match self.below(9) {
                0 => text.replace_range(start..end, ""),
                1 => text.replace_range(start.min(from)..end.max(to), ""),
                2 => {
                    let copy = text[start.min(from)..end.max(to)].to_owned();
                    text.insert_str(end, &copy);
                }
                3 | 4 => {
                    let word = WORDS[self.below(WORDS.len())];
                    text.insert_str(start, word);
                }
                5 => {
                    let word = WORDS[self.below(WORDS.len())];
                    text.replace_range(start..end, word);
                }
                6 => {
                    let many = 1 + self.below(200);
                    let word = WORDS[self.below(WORDS.len())].repeat(many);
                    text.insert_str(start, &word);
                }
                7 => {
                    let other = self.any();
                    let (from, _) = self.piece(&other);
                    let tail = other[from..].to_owned();
                    text.truncate(start);
                    text.push_str(&tail);
                }
                _ => {
                    let copy = text[from..to].to_owned();
                    text.replace_range(start..end, &copy);
                }
            }
            if text.len() > LONGEST {
                let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
                text.truncate(end.unwrap_or(0));
            }
        }
        text
    }
}

/// Tries cases made of a corpus until the time is over.
fn fuzz(name: &str, corpus: Vec<String>, check: fn(&str)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
    // The usual tests try the same cases each time, as many as the machine is quick.
    let seed = seconds.map_or(1, |_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    let mut fuzzer = Fuzzer {
        random: ChaCha8Rng::seed_from_u64(seed),
        corpus,
    };
    for text in fuzzer.corpus.clone() {
        try_one(name, &text, check);
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(1.0));
    let mut tried = 0_u64;
    while Instant::now() < end {
        let case = fuzzer.case();
        try_one(name, &case, check);
        tried += 1;
    }
    println!("{name}: {tried} cases");
}

fn try_one(name: &str, case: &str, check: fn(&str)) {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| check(case)));
    let took = start.elapsed();
    if result.is_err() || took > SLOWEST {
        println!("{name}: this case failed after {took:?}:\n{case:?}");
    }
    if let Err(panic) = result {
        resume_unwind(panic);
    }
    assert!(took <= SLOWEST, "{name}: {took:?}");
}

fn texts(folders: &[&str], ending: &str) -> Vec<String> {
    let all = folders.iter().flat_map(|folder| files(folder));
    all.filter(|(path, _)| path.extension().is_some_and(|found| found == ending))
        .map(|(_, text)| text)
        .collect()
}

const FOLDERS: [&str; 5] = [
    "examples",
    "tests/spec/published",
    "tests/spec/good",
    "tests/spec/bad",
    "tests/spec/invalid",
];

fn read(text: &str) -> Option<jobs::wire::Job> {
    let surroundings = Surroundings::default();
    match parse(text, "fuzz.nomad", &Variables::default(), &surroundings) {
        Ok(job) => Some(job),
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.lines().count() + 1;
            for problem in &problems {
                assert!(
                    problem.line <= lines && problem.column >= problem.line.min(1),
                    "{problem}"
                );
            }
            None
        }
    }
}

#[test]
fn job_files() {
    fuzz("job_files", texts(&FOLDERS, "nomad"), |text| {
        let job = read(text);
        if let Ok(formatted) = format(text, "fuzz.nomad") {
            assert_eq!(format(&formatted, "fuzz.nomad").unwrap(), formatted);
            // What is left for run time is kept as it is written, blanks included.
            let squeeze = |job: &Option<jobs::wire::Job>| {
                let json = serde_json::to_string(job).unwrap();
                json.replace([' ', '\t'], "").replace("\\t", "")
            };
            assert_eq!(squeeze(&read(&formatted)), squeeze(&job));
        }
        if let Some(job) = job {
            canonicalize_and_validate(job, &Defaults::default());
        }
    });
}

#[test]
fn api_json() {
    let mut corpus = texts(&FOLDERS, "json");
    for text in texts(&FOLDERS, "nomad") {
        corpus.extend(read(&text).map(|job| serde_json::to_string(&job).unwrap()));
    }
    fuzz("api_json", corpus, |text| {
        // In the JSON form of the language too.
        read(text);
        let Ok(job) = parse_api(text, "fuzz.json") else {
            return;
        };
        let Some(first) = canonicalize_and_validate(job, &Defaults::default()).job else {
            return;
        };
        let json = serde_json::to_value(&first).unwrap();
        let again = serde_json::from_value(json).unwrap();
        let second = canonicalize_and_validate(again, &Defaults::default());
        assert_eq!(second.job, Some(first));
    });
}

#[test]
fn expressions() {
    let mut corpus = Vec::new();
    for text in texts(&FOLDERS, "nomad") {
        let values = text.lines().filter_map(|line| line.split_once(" = "));
        corpus.extend(values.map(|(_, value)| value.trim().to_owned()));
    }
    fuzz("expressions", corpus, |text| {
        read(&format!(
            "locals {{\n a = [1, \"b\", {{ c = true }}]\n}}\njob \"a\" {{\n meta {{\n x = {text}\n}}\n}}"
        ));
        let variables = BTreeMap::from([("NOMAD_X".to_owned(), "x".to_owned())]);
        let lookup = |name: &str| variables.get(name).cloned();
        for text in [text.to_owned(), format!("${{{text}}}")] {
            let config = TaskConfig::from([("x".into(), text.into())]);
            drop(resolve(&config, &variables, &lookup));
        }
    });
}
