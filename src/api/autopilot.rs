//! How the servers look after their group, as both APIs show and take it.

use axum::http::StatusCode;
use jobs::{
    model::{AutopilotConfig, Span},
    spec::list_errors,
};
use serde_json::{Map, Value, json};

use super::error::Error;

/// A published setting that has one value here.
#[derive(Debug)]
pub(super) struct Fixed {
    name: &'static str,
    value: Value,
    /// Why no other.
    reason: &'static str,
}

const fn off(name: &'static str, reason: &'static str) -> Fixed {
    Fixed {
        name,
        value: Value::Bool(false),
        reason,
    }
}

const fn empty(name: &'static str, reason: &'static str) -> Fixed {
    Fixed {
        name,
        value: Value::String(String::new()),
        reason,
    }
}

const NO_ZONES: &str = "servers are not told apart by zones";
const NO_MIGRATION: &str = "new servers never wait for others of their version";
const NO_VERSIONS: &str = "servers have no versions but those of their program";

/// Those of the jobs API.
pub(super) static OF_JOBS: [Fixed; 3] = [
    off("EnableRedundancyZones", NO_ZONES),
    off("DisableUpgradeMigration", NO_MIGRATION),
    off("EnableCustomUpgrades", NO_VERSIONS),
];

/// Those of the catalog API.
pub(super) static OF_CATALOG: [Fixed; 3] = [
    empty("RedundancyZoneTag", NO_ZONES),
    off("DisableUpgradeMigration", NO_MIGRATION),
    empty("UpgradeVersionTag", NO_VERSIONS),
];

/// What becomes of names that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Ignored,
    Refused,
}

/// The settings as an API shows them.
pub(super) fn shown(config: &AutopilotConfig, fixed: &[Fixed]) -> Value {
    let mut shown = json!({
        "CleanupDeadServers": config.cleanup_dead_servers,
        "LastContactThreshold": config.last_contact_threshold.to_string(),
        "MaxTrailingLogs": config.max_trailing_logs,
        "MinQuorum": config.min_quorum,
        "ServerStabilizationTime": config.server_stabilization_time.to_string(),
        "CreateIndex": config.create_index,
        "ModifyIndex": config.modify_index,
    });
    for setting in fixed {
        shown[setting.name] = setting.value.clone();
    }
    shown
}

/// The settings that were posted; what is not named has its default. Each API refuses what the
/// other one names, too, rather than to pass over it.
///
/// # Errors
/// Every problem: what cannot be read, and what cannot be had.
pub(super) fn read(bytes: &[u8], unknown: Unknown) -> Result<AutopilotConfig, Error> {
    let posted: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| unread(&[error.to_string()]))?;
    let mut config = AutopilotConfig::default();
    let (mut wrong, mut refused) = (Vec::new(), Vec::new());
    for (name, value) in posted.iter().filter(|(_, value)| !value.is_null()) {
        let mut fixed = OF_JOBS.iter().chain(&OF_CATALOG);
        if let Some(setting) = fixed.find(|fixed| fixed.name.eq_ignore_ascii_case(name)) {
            if setting.value != *value {
                let Fixed {
                    name,
                    value,
                    reason,
                } = setting;
                refused.push(format!(
                    "{name} is {value} here and cannot be changed: {reason}"
                ));
            }
            continue;
        }
        match take(&mut config, name, value) {
            Ok(true) => {}
            Ok(false) if unknown == Unknown::Ignored => {}
            Ok(false) => wrong.push(format!("json: unknown field {name:?}")),
            Err(wanted) => wrong.push(format!("{name} is {value}; it must be {wanted}")),
        }
    }
    if !wrong.is_empty() {
        wrong.extend(refused);
        return Err(unread(&wrong));
    }
    if !refused.is_empty() {
        let text = list_errors(&refused);
        return Err(Error::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    Ok(config)
}

fn unread(problems: &[String]) -> Error {
    Error::bad_request(format!(
        "Error parsing autopilot config: {}",
        problems.join("; ")
    ))
}

/// Takes one setting over; tells whether there is one of that name, or what it has to be.
fn take(config: &mut AutopilotConfig, name: &str, value: &Value) -> Result<bool, &'static str> {
    let number = || value.as_u64().ok_or("a whole number");
    match name.to_ascii_lowercase().as_str() {
        "cleanupdeadservers" => {
            config.cleanup_dead_servers = value.as_bool().ok_or("true or false")?;
        }
        "lastcontactthreshold" => {
            let time = time(value).filter(|time| *time > Span::ZERO);
            config.last_contact_threshold = time.ok_or("a duration such as \"200ms\"")?;
        }
        "maxtrailinglogs" => config.max_trailing_logs = number()?,
        "minquorum" => config.min_quorum = number()?,
        "serverstabilizationtime" => {
            let time = time(value).filter(|time| *time >= Span::ZERO);
            config.server_stabilization_time = time.ok_or("a duration such as \"10s\"")?;
        }
        // The log sets them.
        "createindex" | "modifyindex" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// A text such as `10s`, or nanoseconds.
fn time(value: &Value) -> Option<Span> {
    match value {
        Value::String(text) => Span::parse(text).ok(),
        value => value.as_i64().map(Span::from_nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(posted: &Value, unknown: Unknown) -> (u16, String) {
        let bytes = serde_json::to_vec(posted).unwrap();
        let error = read(&bytes, unknown).unwrap_err();
        (error.status().as_u16(), error.message().to_owned())
    }

    #[test]
    fn what_is_shown_is_taken_again() {
        let config = AutopilotConfig {
            cleanup_dead_servers: false,
            last_contact_threshold: Span::from_secs(2),
            max_trailing_logs: 7,
            min_quorum: 3,
            server_stabilization_time: Span::from_nanos(1_500_000_000),
            ..AutopilotConfig::default()
        };
        for fixed in [&OF_JOBS, &OF_CATALOG] {
            let shown = shown(&config, fixed);
            assert_eq!(shown["ServerStabilizationTime"], "1.5s", "{shown}");
            let bytes = serde_json::to_vec(&shown).unwrap();
            assert_eq!(read(&bytes, Unknown::Refused).unwrap(), config);
        }
        let other = br#"{"minquorum": 3, "LastContactThreshold": 5000000, "Nope": 1, "MaxTrailingLogs": null}"#;
        let read = read(other, Unknown::Ignored).unwrap();
        let expected = AutopilotConfig {
            min_quorum: 3,
            last_contact_threshold: Span::from_nanos(5_000_000),
            ..AutopilotConfig::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn every_problem_is_told() {
        let posted = json!({
            "RedundancyZoneTag": "zone",
            "DisableUpgradeMigration": true,
            "UpgradeVersionTag": "",
            "MinQuorum": 3,
        });
        let (status, text) = refused(&posted, Unknown::Refused);
        assert_eq!(status, 501);
        let both = [
            "RedundancyZoneTag is \"\" here and cannot be changed: servers are not",
            "DisableUpgradeMigration is false here and cannot be changed: new servers",
        ];
        for part in both {
            assert!(text.contains(part), "{text}");
        }
        let posted = json!({
            "CleanupDeadServers": "yes",
            "LastContactThreshold": "0s",
            "MaxTrailingLogs": -1,
            "MinQuorum": 1.5,
            "ServerStabilizationTime": "soon",
            "EnableCustomUpgrades": true,
            "Nope": 1,
        });
        let (status, text) = refused(&posted, Unknown::Refused);
        assert_eq!(status, 400);
        for name in posted.as_object().unwrap().keys() {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert_eq!(text.matches("; it must be").count(), 5, "{text}");
        assert!(text.contains("unknown field \"Nope\""), "{text}");
    }
}
