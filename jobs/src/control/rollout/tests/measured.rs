//! What metrics stores and hooks answer: recorded, late, and of no use.

use super::{
    super::{
        judge::{Judge, Window},
        measured::{Measurement, Reply},
        replay::{FORMAT, Head, replay},
    },
    trial::{Traffic, Trial},
};
use crate::model::{RolloutPhase, RolloutPolicy, RolloutTransition, Share, Timestamp};
use std::collections::BTreeMap;

const METRIC: (&str, &str) = ("rollout_metric_errors", "<0.2 http://p:9090 up");
const HOOK: (&str, &str) = ("rollout_hook_check", "step http://ci");

fn policy(settings: &[(&str, &str)]) -> RolloutPolicy {
    let mut policy = RolloutPolicy::default();
    for (key, value) in settings {
        policy.set(key, value).expect("a setting");
    }
    policy
}

/// A second in which that was heard.
fn window(at: i64, measured: Vec<Measurement>, replies: Vec<Reply>) -> Window {
    Window {
        starts: Timestamp::from_secs(at),
        ends: Timestamp::from_secs(at + 1),
        share: Share::of_percent(5),
        measured,
        replies,
        ..Window::default()
    }
}

fn errors(asked: i64, value: f64) -> Vec<Measurement> {
    vec![Measurement {
        name: "errors".into(),
        at: Timestamp::from_secs(asked),
        value: Some(value),
        problem: String::new(),
    }]
}

#[test]
fn a_record_with_measurements_is_judged_as_it_was() {
    let settings = [("rollout_steps", "5"), ("rollout_hold", "1h"), METRIC, HOOK];
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let head = Head {
        format: FORMAT,
        settings: settings.map(own).into(),
        ..Head::default()
    };
    let mut trial = Trial::new(policy(&settings), 3);
    let mut lines = vec![serde_json::to_string(&head).expect("a line")];
    let mut moved: Vec<RolloutTransition> = Vec::new();
    // The last number is one that few digits do not hold.
    for (value, status, seconds) in [
        (Some(0.1), Some(200), 20),
        (None, Some(200), 10),
        (Some(0.1), Some(503), 5),
        (Some(0.1 + 0.2), Some(200), 20),
    ] {
        let traffic = Traffic {
            rate: 40.0,
            metrics: BTreeMap::from([("errors".to_owned(), value)]),
            hooks: BTreeMap::from([("check".to_owned(), status)]),
            ..Traffic::default()
        };
        for _ in 0..seconds * 4 {
            let window = trial.window(&traffic);
            lines.push(serde_json::to_string(&window).expect("a line"));
            moved.extend(trial.take(&window));
        }
    }
    let stopped =
        |own: &&RolloutTransition| [RolloutPhase::Held, RolloutPhase::Aborted].contains(&own.phase);
    let reasons: Vec<(Timestamp, &str)> = moved
        .iter()
        .filter(stopped)
        .map(|own| (own.at, own.reason.as_str()))
        .collect();
    let text = lines.join("\n");
    let (_, words) = replay(&text, &[]).expect("a record");
    let said: Vec<(Timestamp, &str)> = words
        .iter()
        .map(|word| (word.at, word.sentence.as_str()))
        .collect();
    assert_eq!(said, reasons);
    assert_eq!(said.len(), 4, "{said:?}");
    let (word, last) = (words.last().expect("a word"), moved.last().expect("one"));
    assert!(word.is_abort);
    assert_eq!(word.evidence, last.evidence);
    assert_eq!(last.evidence[0].value, Some(0.1 + 0.2));
    // Under another limit it would have gone on.
    let other = [own(("metric_errors", "<0.5 http://p:9090 up"))];
    let (_, words) = replay(&text, &other).expect("a record");
    assert!(!words.iter().any(|word| word.is_abort), "{words:?}");
}

#[test]
fn windows_without_measurements_are_what_they_were() {
    let old = r#"{"starts":1,"ends":2,"share":500,"rows":[]}"#;
    let window: Window = serde_json::from_str(old).expect("a window");
    assert_eq!((&window.measured, &window.replies), (&vec![], &vec![]));
    assert_eq!(serde_json::to_string(&window).expect("a line"), old);
    for number in [0.1 + 0.2, 1e-300, -5e300, 0.0, 1.0 / 3.0] {
        let window = self::window(1, errors(1, number), Vec::new());
        let line = serde_json::to_string(&window).expect("a line");
        let read: Window = serde_json::from_str(&line).expect("a window");
        assert_eq!(read, window, "{line}");
    }
}

#[test]
fn what_was_asked_before_a_step_says_nothing_good_of_it() {
    let mut judge = Judge::new(policy(&[METRIC]));
    let five = Share::of_percent(5);
    let judgment = judge.add(&window(10, errors(10, 0.1), Vec::new()));
    assert!(judgment.opinion.agrees && judge.awaited(five).is_empty());
    judge.begin_step();
    assert_eq!(judge.awaited(five), ["metric errors"]);
    assert_eq!(judge.awaited(Share::NONE), [""; 0]);
    let judgment = judge.add(&window(20, errors(18, 0.1), Vec::new()));
    assert!(!judgment.opinion.agrees && judgment.opinion.doubt.is_none());
    let judgment = judge.add(&window(21, errors(20, 0.1), Vec::new()));
    assert!(judgment.opinion.agrees);
    // What is bad is bad, whenever it was asked.
    judge.begin_step();
    let judgment = judge.add(&window(30, errors(18, 0.3), Vec::new()));
    assert!(judgment.opinion.doubt.is_some() && judgment.opinion.failure.is_none());
}

#[test]
fn numbers_without_end_and_strangers_say_nothing() {
    let mut judge = Judge::new(policy(&[METRIC, HOOK]));
    for value in [f64::NAN, f64::INFINITY] {
        for at in 0..5 {
            let judgment = judge.add(&window(at, errors(at, value), Vec::new()));
            assert!(judgment.opinion.failure.is_none());
        }
    }
    let stranger = Reply {
        name: "stranger".into(),
        status: Some(500),
        ..Reply::default()
    };
    for at in 5..10 {
        let measured = vec![Measurement {
            name: "stranger".into(),
            value: Some(9.0),
            ..Measurement::default()
        }];
        let judgment = judge.add(&window(at, measured, vec![stranger.clone()]));
        assert!(judgment.opinion.failure.is_none());
    }
    assert_eq!(
        judge.awaited(Share::of_percent(5)),
        ["metric errors", "hook check"]
    );
    assert!(
        judge
            .add(&window(10, errors(10, 0.1), Vec::new()))
            .opinion
            .doubt
            .is_none()
    );
}
