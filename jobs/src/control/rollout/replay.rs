//! What the judge saw, written down, and judged again.

use super::{
    compare::Finding,
    judge::{Judge, Window},
    sentence,
};
use crate::model::{
    AllocId, DeploymentId, Evidence, GroupName, JobId, JudgeMode, RolloutCause, RolloutPolicy,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only format of records.
pub const FORMAT: u32 = 1;

/// The first line of a record; a [`Window`] is on each line after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// Job.
    pub job: JobId,
    /// Group.
    pub group: GroupName,
    /// Deployment.
    pub deployment: DeploymentId,
    /// What the job says of the rollout: keys of `meta` to their values.
    pub settings: BTreeMap<String, String>,
    /// The beginning is missing, because there was too much.
    pub is_cut: bool,
}

/// What the judge would have done.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// When.
    pub at: Timestamp,
    /// Whether it would have given up.
    pub is_abort: bool,
    /// Why, in a sentence.
    pub sentence: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// Why a record cannot be judged again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no first line.
    #[error("the record is empty")]
    Empty,
    /// A line is not what it should be.
    #[error("line {line}: {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// It was written by another version.
    #[error("the record has format {format}, and this version of trivet reads format {FORMAT}")]
    Format {
        /// Its format.
        format: u32,
    },
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
}

/// Judges a record again, with other settings than its own where they are given: keys of `meta`
/// with or without their beginning `rollout_`, and values. Ends with the first abort.
///
/// # Errors
/// [`Unreadable`].
pub fn replay(text: &str, settings: &[(String, String)]) -> Result<(Head, Vec<Word>), Unreadable> {
    let mut lines = text.lines().enumerate();
    let (_, first) = lines.next().ok_or(Unreadable::Empty)?;
    let head: Head = read(0, first)?;
    if head.format != FORMAT {
        return Err(Unreadable::Format {
            format: head.format,
        });
    }
    let (mut policy, _) = RolloutPolicy::of_meta(&head.settings);
    for (key, value) in settings {
        policy.set(key, value).map_err(Unreadable::Setting)?;
    }
    let mut player = Player {
        judge: Judge::new(policy.clone()),
        policy,
        waits: settings.is_empty(),
        leaves: None,
        was_suspect: false,
        both_failed: false,
        doubted: None,
        words: Vec::new(),
    };
    let mut share = None;
    for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let window: Window = read(at, line)?;
        if share.replace(window.share) != Some(window.share) {
            player.judge.begin_step();
        }
        if player.play(&window) {
            break;
        }
    }
    Ok((head, player.words))
}

fn read<'a, T: Deserialize<'a>>(at: usize, line: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(line).map_err(|error| Unreadable::Line {
        line: at + 1,
        what: error.to_string(),
    })
}

struct Player {
    policy: RolloutPolicy,
    judge: Judge,
    /// Nothing is decided where nothing was, because a transition was on its way.
    waits: bool,
    /// A canary that is left out from the next window on.
    leaves: Option<AllocId>,
    was_suspect: bool,
    both_failed: bool,
    /// What metrics and hooks held it for.
    doubted: Option<RolloutCause>,
    words: Vec<Word>,
}

impl Player {
    /// True when it is over.
    fn play(&mut self, window: &Window) -> bool {
        let waits = window.is_waiting && self.waits;
        if !waits && let Some(canary) = self.leaves.take() {
            self.judge.eject(canary);
        }
        let judgment = self.judge.add(window);
        if waits {
            return false;
        }
        let at = window.ends;
        if let Some(finding) = &judgment.failure {
            let mut evidence = vec![finding.evidence.clone()];
            let others = self.judge.table().into_iter();
            evidence.extend(others.filter(|line| *line != finding.evidence));
            self.say(at, true, sentence::finding(finding), evidence);
            return true;
        }
        if let Some(trouble) = &judgment.opinion.failure {
            let mut evidence = trouble.evidence.clone();
            let others = self.judge.table().into_iter();
            evidence.extend(others.filter(|line| !trouble.evidence.contains(line)));
            self.say(at, true, trouble.reason.clone(), evidence);
            return true;
        }
        if let Some((canary, finding)) = &judgment.outlier
            && self.policy.is_governed()
            && self.policy.judge == JudgeMode::On
        {
            let text = format!("{}; it gets no more requests", sentence::finding(finding));
            self.say(at, false, text, vec![finding.evidence.clone()]);
            self.leaves = Some(*canary);
        }
        if let Some(evidence) = judgment.both_failing.as_ref().filter(|_| !self.both_failed) {
            let text = sentence::both_failing(evidence);
            self.say(at, false, text, vec![evidence.clone()]);
        }
        self.both_failed = judgment.both_failing.is_some();
        if let Some(finding) = judgment.suspicion.as_ref().filter(|_| !self.was_suspect) {
            self.suspect(at, finding);
        }
        self.was_suspect = judgment.suspicion.is_some();
        let doubt = judgment.opinion.doubt;
        if let Some(trouble) = doubt.as_ref().filter(|own| self.doubted != Some(own.cause)) {
            let evidence = trouble.evidence.clone();
            self.say(at, false, trouble.reason.clone(), evidence);
        }
        self.doubted = doubt.map(|own| own.cause);
        false
    }

    fn suspect(&mut self, at: Timestamp, finding: &Finding) {
        let text = format!("suspect: {}", sentence::finding(finding));
        self.say(at, false, text, vec![finding.evidence.clone()]);
    }

    fn say(&mut self, at: Timestamp, is_abort: bool, sentence: String, evidence: Vec<Evidence>) {
        if self.words.len() < WORDS_MAX || is_abort {
            self.words.push(Word {
                at,
                is_abort,
                sentence,
                evidence,
            });
        }
    }
}

/// No more is said of a record, but an abort.
const WORDS_MAX: usize = 10_000;
