//! What judges saw of canaries, line by line, to be judged again. Bounded, and not in the log: only
//! the leader knows it.

use jobs::{
    control::rollout::{FORMAT, Head, Seen},
    model::{DeploymentId, GroupName},
};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// So many rollouts are kept; the one that was seen longest ago goes first.
const ROLLOUTS_MAX: usize = 16;
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
                records.pop_front();
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
            });
        }
        let Some(record) = records.iter_mut().find(|record| {
            record.head.deployment == seen.deployment_id && record.head.group == seen.group
        }) else {
            return;
        };
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
        for group in 0..ROLLOUTS_MAX {
            records.add(seen(&group.to_string(), 1));
        }
        assert_eq!(records.text(id, Some(&"web".into())), None);
        assert!(records.text(id, Some(&"3".into())).is_some());
    }
}
