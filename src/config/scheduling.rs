//! Settings of servers about scheduling, heartbeats and times of the log.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    published,
    reader::Reader,
};
use jobs::{
    control::Rhythm,
    model::{SchedulerAlgorithm, SchedulerConfig},
};
use std::{collections::BTreeMap, time::Duration};

/// Entries of the log whose events are kept, unless it is set, and the most.
const EVENT_BUFFER: usize = 256;
const EVENT_BUFFER_MAX: usize = 100_000;
/// The most that the times of the log are multiplied by.
const MULTIPLIER_MAX: u32 = 10;
/// The longest that a node may be silent, whatever makes it longer.
const SILENCE_MAX: Duration = Duration::from_secs(3600);

/// How a server schedules and listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// How often nodes are to be heard.
    pub rhythm: Rhythm,
    /// Entries of the log whose events are kept for those who follow along; at least 1.
    pub event_buffer: usize,
    /// What the times of elections and heartbeats of the log are multiplied by: 1 to 10.
    pub raft_multiplier: u32,
    /// How a new cluster schedules until somebody says otherwise; none for the usual.
    pub first: Option<SchedulerConfig>,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            rhythm: Rhythm::default(),
            event_buffer: EVENT_BUFFER,
            raft_multiplier: 1,
            first: None,
        }
    }
}

/// What is written of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenScheduling {
    by_key: BTreeMap<&'static str, String>,
    /// The keys of `default_scheduler_config`, those of its block with their block.
    first: BTreeMap<&'static str, String>,
}

/// Keys of `default_scheduler_config`.
const FIRST: [&str; 4] = [
    "scheduler_algorithm",
    "memory_oversubscription_enabled",
    "reject_job_registration",
    "pause_eval_broker",
];
/// Keys of the block `preemption_config` in it.
const PREEMPTION: [&str; 4] = [
    "batch_scheduler_enabled",
    "service_scheduler_enabled",
    "sysbatch_scheduler_enabled",
    "system_scheduler_enabled",
];

impl WrittenScheduling {
    /// Its keys in the server block.
    pub(super) const KEYS: [&str; 5] = [
        "default_scheduler_config",
        "event_buffer_size",
        "failover_heartbeat_ttl",
        "max_heartbeats_per_second",
        "raft_multiplier",
    ];

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.by_key.extend(other.by_key);
        self.first.extend(other.first);
        self
    }

    /// Takes one of its keys.
    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        if entry.key == "default_scheduler_config" {
            self.take_first(entry, reader);
            return;
        }
        let key = Self::KEYS.into_iter().find(|key| *key == entry.key);
        if let Some((key, text)) = key.zip(reader.scalar(&entry)) {
            self.by_key.insert(key, text);
        }
    }

    fn take_first(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        const BLOCK: &str = "server.default_scheduler_config";
        for inner in reader.block(entry) {
            if inner.key == "preemption_config" {
                let block = format!("{BLOCK}.preemption_config");
                for flag in reader.block(inner) {
                    self.take_of(&PREEMPTION, &flag, &block, reader);
                }
            } else {
                self.take_of(&FIRST, &inner, BLOCK, reader);
            }
        }
    }

    fn take_of(
        &mut self,
        keys: &[&'static str],
        entry: &Entry,
        block: &str,
        reader: &mut Reader<'_>,
    ) {
        match keys.iter().find(|key| **key == entry.key) {
            Some(key) => {
                if let Some(text) = reader.scalar(entry) {
                    self.first.insert(key, text);
                }
            }
            None => reader.unknown(entry, block, keys),
        }
    }

    /// A node may be silent for `lease` at least.
    pub(super) fn resolve(&self, lease: Duration, problems: &mut Vec<Problem>) -> Scheduling {
        let text = |key: &str| self.by_key.get(key);
        let failover = text("failover_heartbeat_ttl").map(|text| {
            let key = "server.failover_heartbeat_ttl";
            let found = problems.len();
            let time = duration(key, text, problems);
            if problems.len() == found && !(lease..=SILENCE_MAX).contains(&time) {
                let message = format!(
                    "`{key}` is `{text}`; it must be from {} s, which a node may be silent for, to an hour",
                    lease.as_secs_f64()
                );
                problems.push(Problem::new(SETTINGS, message));
            }
            time
        });
        let mut checked = |key: &str, wanted: &str, is_fine: &dyn Fn(f64) -> bool| {
            let text = text(key)?;
            let number = text.parse::<f64>().ok().filter(|number| is_fine(*number));
            if number.is_none() {
                let message = format!("`server.{key}` is `{text}`; it must be {wanted}");
                problems.push(Problem::new(SETTINGS, message));
            }
            number
        };
        let per_second = checked(
            "max_heartbeats_per_second",
            "a number from 0.001 to 1000000",
            &|number| (0.001..=1e6).contains(&number),
        );
        let mut whole = |key: &str, most: u32| {
            let wanted = format!("a whole number from 1 to {most}");
            let number = checked(key, &wanted, &|number| {
                number.fract() == 0.0 && (1.0..=f64::from(most)).contains(&number)
            })?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked above"
            )]
            Some(number as u32)
        };
        let event_buffer = whole(
            "event_buffer_size",
            u32::try_from(EVENT_BUFFER_MAX).unwrap_or(u32::MAX),
        );
        let raft_multiplier = whole("raft_multiplier", MULTIPLIER_MAX);
        Scheduling {
            rhythm: Rhythm {
                failover,
                spacing: per_second.map_or(Duration::ZERO, |number| {
                    Duration::from_secs_f64(number.recip())
                }),
            },
            event_buffer: event_buffer
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(EVENT_BUFFER),
            raft_multiplier: raft_multiplier.unwrap_or(1),
            first: self.first(problems),
        }
    }

    fn first(&self, problems: &mut Vec<Problem>) -> Option<SchedulerConfig> {
        if self.first.is_empty() {
            return None;
        }
        let mut config = SchedulerConfig::default();
        for (key, text) in &self.first {
            let name = format!("server.default_scheduler_config.{key}");
            let mut wrong = |wanted: &str| {
                let message = format!("`{name}` is `{text}`; it must be {wanted}");
                problems.push(Problem::new(SETTINGS, message));
            };
            if *key == "scheduler_algorithm" {
                match SchedulerAlgorithm::try_from(text.clone()) {
                    Ok(algorithm) => config.scheduler_algorithm = algorithm,
                    Err(_) => wrong("`binpack` or `spread`"),
                }
                continue;
            }
            let Some(flag) = published::switch(text) else {
                wrong("true or false");
                continue;
            };
            let preemption = &mut config.preemption_config;
            let place = match *key {
                "memory_oversubscription_enabled" => &mut config.memory_oversubscription_enabled,
                "reject_job_registration" => &mut config.reject_job_registration,
                "pause_eval_broker" => &mut config.pause_eval_broker,
                "batch_scheduler_enabled" => &mut preemption.batch_scheduler_enabled,
                "service_scheduler_enabled" => &mut preemption.service_scheduler_enabled,
                "sysbatch_scheduler_enabled" => &mut preemption.sys_batch_scheduler_enabled,
                _ => &mut preemption.system_scheduler_enabled,
            };
            *place = flag;
        }
        Some(config)
    }
}
