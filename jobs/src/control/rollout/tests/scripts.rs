//! Runs the scripts in `jobs/tests/rollout` and compares what they print with what they say.
//!
//! A script is made of blocks: lines beginning with `> ` are commands, the lines below are what
//! they print: transitions, with the seconds since the beginning. Set `REWRITE_SCRIPTS` to write
//! what is printed into the scripts.

use super::{
    super::sentence,
    trial::{Answers, Traffic, Trial, canary},
};
use crate::model::{RolloutPolicy, RolloutTransition, Span, Timestamp};
use std::{fmt::Write, fs, path::Path};

#[test]
#[expect(clippy::disallowed_methods, reason = "the scripts are files")]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rollout");
    let rewrite = std::env::var("REWRITE_SCRIPTS").is_ok();
    let mut scripts: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut failures = String::new();
    for path in scripts {
        let said = fs::read_to_string(&path).expect("a script");
        let printed = run(&said);
        if printed == said {
            continue;
        }
        if rewrite {
            fs::write(&path, &printed).expect("a writable script");
        } else {
            let _ = writeln!(failures, "--- {}\n{printed}", path.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn run(script: &str) -> String {
    let mut output = String::new();
    let mut player = Player {
        trial: Trial::new(RolloutPolicy::default(), 1),
        traffic: Traffic::default(),
        began: Timestamp::default(),
    };
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(output, "{line}");
            output.push_str(&player.command(command));
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(output, "{line}");
        }
    }
    output
}

struct Player {
    trial: Trial,
    traffic: Traffic,
    began: Timestamp,
}

impl Player {
    fn command(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let words: Vec<(&str, &str)> = rest
            .split_whitespace()
            .map(|word| word.split_once('=').unwrap_or((word, "")))
            .collect();
        match verb {
            "rollout" => self.begin(&words),
            "facts" => self.facts(&words),
            "run" => return self.run(&words),
            "next" => {
                let transition = self.trial.next();
                let mut output = String::new();
                self.print(&transition, &mut output);
                return output;
            }
            "asked" => {
                let names = self.trial.questions().into_iter().map(|own| own.name);
                let names = names.collect::<Vec<_>>().join(", ");
                let shown = if names.is_empty() { "nobody" } else { &names };
                return format!("  {shown}\n");
            }
            "table" => {
                let mut output = String::new();
                let lines = self.trial.row.transitions.last();
                for line in lines.iter().flat_map(|last| &last.evidence) {
                    if let Some(value) = line.value {
                        let _ =
                            writeln!(output, "  {}: {value}, limit {}", line.metric, line.limit);
                        continue;
                    }
                    let _ = writeln!(
                        output,
                        "  {} {}{}: canary {}/{}, stable {}/{}, limit {:.4}, worse {:.1}, beyond {:.1}",
                        line.metric,
                        line.route,
                        line.instance.get(..8).unwrap_or_default(),
                        line.canary_bad,
                        line.canary_attempts,
                        line.stable_bad,
                        line.stable_attempts,
                        line.limit,
                        line.worse,
                        line.beyond
                    );
                }
                return output;
            }
            _ => panic!("no command {verb}"),
        }
        String::new()
    }

    fn begin(&mut self, words: &[(&str, &str)]) {
        let mut policy = RolloutPolicy::default();
        for (key, value) in words {
            let is_asked = [RolloutPolicy::METRIC, RolloutPolicy::HOOK];
            let is_asked = is_asked.iter().any(|kind| key.starts_with(kind));
            let value = if is_asked {
                value.replace('_', " ")
            } else {
                (*value).to_owned()
            };
            policy
                .set(&format!("{}{key}", RolloutPolicy::PREFIX), &value)
                .expect("a setting");
        }
        self.trial = Trial::new(policy, 7);
        self.began = self.trial.now;
        self.traffic = Traffic::default();
    }

    fn facts(&mut self, words: &[(&str, &str)]) {
        let facts = &mut self.trial.facts;
        for (key, value) in words {
            let text = || Some(value.replace('_', " ")).filter(|text| !text.is_empty());
            match *key {
                "wanted" => facts.wanted = value.parse().expect("a number"),
                "healthy" => facts.healthy = value.parse().expect("a number"),
                "uncounted" => facts.is_uncounted = *value == "yes",
                "paused" => facts.is_paused = *value == "yes",
                "revert" => facts.auto_revert = *value == "yes",
                "fatal" => facts.fatal = text(),
                "unusable" => facts.unusable = text(),
                "splitter" => facts.splitter = text(),
                _ => panic!("no fact {key}"),
            }
        }
    }

    fn run(&mut self, words: &[(&str, &str)]) -> String {
        let ((time, _), settings) = words.split_first().expect("a time");
        for (key, value) in settings {
            self.set(key, value);
        }
        let ends = self.trial.now + Span::parse(time).expect("a time");
        let mut output = String::new();
        while self.trial.now < ends {
            if let Some(transition) = self.trial.look(&self.traffic) {
                self.print(&transition, &mut output);
            }
        }
        output
    }

    fn set(&mut self, key: &str, value: &str) {
        let number = || -> f64 { value.parse().expect("a number") };
        let traffic = &mut self.traffic;
        if let Some(metric) = key.strip_prefix(RolloutPolicy::METRIC) {
            traffic
                .metrics
                .insert(metric.to_owned(), value.parse().ok());
            return;
        }
        if let Some(hook) = key.strip_prefix(RolloutPolicy::HOOK) {
            traffic.hooks.insert(hook.to_owned(), value.parse().ok());
            return;
        }
        match key {
            "rate" => traffic.rate = number(),
            "canary" | "stable" => {
                let answers = answers(value);
                if key == "canary" {
                    traffic.canary = answers;
                } else {
                    traffic.stable = answers;
                }
            }
            "canaries" => traffic.canaries = number() as usize,
            "bad" => traffic.bad_canaries = value.parse().ok(),
            "bad_route" => traffic.bad_route = Some(value.to_owned()),
            "routes" => {
                let routes = value.split(',').map(|part| {
                    let (route, share) = part.split_once(':').expect("a share");
                    (route.to_owned(), share.parse().expect("a number"))
                });
                traffic.routes = routes.collect();
            }
            "warming" => traffic.is_warming = value == "yes",
            "timed" => traffic.timed = value == "yes",
            "missing" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                traffic.missing = names.map(str::to_owned).collect();
            }
            _ => panic!("no setting {key}"),
        }
    }

    fn print(&self, transition: &RolloutTransition, output: &mut String) {
        let at = transition.at.since(self.began).as_secs_f64();
        let mut reason = transition.reason.clone();
        for number in 0..4 {
            let id = canary(number).to_string();
            reason = reason.replace(sentence::short(&id), &format!("c{number}"));
        }
        let row = &self.trial.row;
        let _ = writeln!(
            output,
            "{at:>8.2}s {} {}: {reason}",
            row.phase.as_str(),
            row.share
        );
    }
}

/// `failed:0.5,slow:2`, each with the part of answers that are so.
fn answers(text: &str) -> Answers {
    let mut answers = Answers::default();
    for part in text.split(',').filter(|part| *part != "well") {
        let (kind, number) = part.split_once(':').expect("a part");
        let number: f64 = number.parse().expect("a number");
        match kind {
            "failed" => answers.failed = number,
            "broken" => answers.broken = number,
            "3xx" => answers.elsewhere = number,
            "4xx" => answers.refused = number,
            "slow" => answers.slow = number,
            _ => panic!("no answer {kind}"),
        }
    }
    answers
}
