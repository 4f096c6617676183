//! What judges saw of canaries, line by line, to be judged again. Bounded, and not in the log: only
//! the leader knows it.

use jobs::{
    control::rollout::{FORMAT, Head, Seen},
    model::{DeploymentId, GroupName, Span, Timestamp},
};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// So many rollouts are kept; the one that was seen longest ago goes first. One that is still
/// looked at does not make way for another, which is not recorded then.
const ROLLOUTS_MAX: usize = 16;
/// One that was not seen for so long is not looked at any more.
const SILENCE_MAX: Span = Span::from_secs(5);
/// The most bytes of one; its beginning goes first.
const BYTES_MAX: usize = 8 << 20;

/// The records of the last rollouts.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<VecDeque<Record>>);

#[derive(Debug)]
struct Record {
    head: Head,
    lines: VecDeque<String>,
    bytes: usize,
    seen_at: Timestamp,
}

impl Records {
    /// Adds what was seen in a look.
    pub(crate) fn add(&self, seen: Seen) {
        let Ok(line) = serde_json::to_string(&seen.window) else {
            return;
        };
        let mut records = self.0.lock();
        let is_own = |record: &Record| {
            record.head.deployment == seen.deployment_id && record.head.group == seen.group
        };
        if !records.iter().any(is_own) {
            if records.len() >= ROLLOUTS_MAX {
                let silent = records
                    .iter()
                    .enumerate()
                    .filter(|(_, record)| seen.window.ends - record.seen_at > SILENCE_MAX)
                    .min_by_key(|(_, record)| record.seen_at);
                let Some((at, _)) = silent else {
                    return;
                };
                records.remove(at);
            }
            records.push_back(Record {
                head: Head {
                    format: FORMAT,
                    job: seen.job.id.clone(),
                    group: seen.group.clone(),
                    deployment: seen.deployment_id,
                    settings: seen.settings,
                    is_cut: false,
                },
                lines: VecDeque::new(),
                bytes: 0,
                seen_at: seen.window.ends,
            });
        }
        let Some(record) = records.iter_mut().find(|record| {
            record.head.deployment == seen.deployment_id && record.head.group == seen.group
        }) else {
            return;
        };
        record.seen_at = seen.window.ends;
        record.bytes += line.len() + 1;
        record.lines.push_back(line);
        while record.bytes > BYTES_MAX {
            let Some(first) = record.lines.pop_front() else {
                return;
            };
            record.bytes -= first.len() + 1;
            record.head.is_cut = true;
        }
    }

    /// The record of a group's rollout; of the first one without a group.
    pub(crate) fn text(&self, id: DeploymentId, group: Option<&GroupName>) -> Option<String> {
        let records = self.0.lock();
        let record = records.iter().find(|record| {
            record.head.deployment == id && group.is_none_or(|name| record.head.group == *name)
        })?;
        let mut text = serde_json::to_string(&record.head).ok()?;
        text.reserve(record.bytes + 1);
        text.push('\n');
        for line in &record.lines {
            text.push_str(line);
            text.push('\n');
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use jobs::{
        control::rollout::{Window, replay},
        model::{JobKey, Timestamp},
    };
    use std::collections::BTreeMap;

    use super::*;

    fn seen(group: &str, at: i64) -> Seen {
        Seen {
            deployment_id: DeploymentId::named("one"),
            group: group.into(),
            job: JobKey::default(),
            settings: BTreeMap::from([("rollout_steps".to_owned(), "5".to_owned())]),
            window: Window {
                ends: Timestamp::from_secs(at),
                missing: vec!["x".repeat(1 << 20)],
                ..Window::default()
            },
        }
    }

    #[test]
    fn records_are_bounded_and_can_be_read() {
        let records = Records::default();
        for at in 0..20 {
            records.add(seen("web", at));
        }
        let id = DeploymentId::named("one");
        let text = records.text(id, None).expect("a record");
        assert!(text.len() < BYTES_MAX + 1000);
        let (head, words) = replay(&text, &[]).expect("a record");
        assert!(head.is_cut && words.is_empty());
        // Those that are looked at stay, however long ago they began.
        for group in 1..=ROLLOUTS_MAX {
            records.add(seen(&group.to_string(), 20));
        }
        let text = |group: &str| records.text(id, Some(&group.into()));
        assert!(text("web").is_some() && text("15").is_some());
        assert_eq!(text("16"), None);
        for group in 2..ROLLOUTS_MAX {
            records.add(seen(&group.to_string(), 26));
        }
        records.add(seen("web", 26));
        records.add(seen("16", 26));
        assert_eq!(text("1"), None);
        assert!(text("web").is_some() && text("16").is_some());
    }
}
