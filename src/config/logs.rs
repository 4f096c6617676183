//! In which form logs are written, and the file in which they are kept besides standard error.

use super::{
    file::{Entry, Problem, SETTINGS},
    names::duration,
    reader::Reader,
};
use std::{path::PathBuf, time::Duration};

/// Name of the file in a directory.
const FILE_NAME: &str = "trivet.log";
/// A file is begun anew after so long, unless another time is written.
const ROTATE_DURATION: &str = "24h";

/// How logs are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// Lines are objects instead of texts.
    pub is_json: bool,
    /// Lines say where in the program they come from.
    pub has_location: bool,
    /// The file besides standard error; none to keep none.
    pub file: Option<LogFile>,
    /// The log of the system besides that; none to leave it alone.
    pub system: Option<SystemLog>,
}

/// The log of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemLog {
    /// Under which of its facilities, such as `LOCAL0`.
    pub facility: String,
}

/// The facilities of the system's log.
const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "NTP", "AUDIT", "ALERT", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
    "LOCAL5", "LOCAL6", "LOCAL7",
];
/// The one that is meant where none is named.
const FACILITY: &str = "LOCAL0";

/// A file of logs, and when another one is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Another one is begun before a file would have more bytes than that; none for any number.
    pub bytes_max: Option<u64>,
    /// Another one is begun after so long.
    pub age_max: Duration,
    /// So many older files are kept; none to keep all.
    pub older_max: Option<usize>,
}

/// The keys as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenLogs {
    pub log_json: Option<bool>,
    pub log_file: Option<String>,
    pub log_rotate_bytes: Option<u64>,
    pub log_rotate_duration: Option<String>,
    pub log_rotate_max_files: Option<String>,
    pub log_include_location: Option<bool>,
    pub enable_syslog: Option<bool>,
    pub syslog_facility: Option<String>,
}

impl WrittenLogs {
    pub(super) const KEYS: [&str; 8] = [
        "log_json",
        "log_file",
        "log_rotate_bytes",
        "log_rotate_duration",
        "log_rotate_max_files",
        "log_include_location",
        "enable_syslog",
        "syslog_facility",
    ];

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            log_json: other.log_json.or(self.log_json),
            log_file: other.log_file.or(self.log_file),
            log_rotate_bytes: other.log_rotate_bytes.or(self.log_rotate_bytes),
            log_rotate_duration: other.log_rotate_duration.or(self.log_rotate_duration),
            log_rotate_max_files: other.log_rotate_max_files.or(self.log_rotate_max_files),
            log_include_location: other.log_include_location.or(self.log_include_location),
            enable_syslog: other.enable_syslog.or(self.enable_syslog),
            syslog_facility: other.syslog_facility.or(self.syslog_facility),
        }
    }

    /// Takes one of [`WrittenLogs::KEYS`].
    pub(super) fn take(&mut self, entry: &Entry, reader: &mut Reader<'_>) {
        match entry.key.as_str() {
            "log_json" => self.log_json = reader.flag(entry),
            "log_file" => self.log_file = reader.text(entry),
            "log_rotate_bytes" => self.log_rotate_bytes = reader.number(entry),
            "log_include_location" => self.log_include_location = reader.flag(entry),
            "enable_syslog" => self.enable_syslog = reader.flag(entry),
            "syslog_facility" => self.syslog_facility = reader.text(entry),
            "log_rotate_duration" => self.log_rotate_duration = reader.text(entry),
            _ => self.log_rotate_max_files = reader.scalar(entry),
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Logs {
        let age = self
            .log_rotate_duration
            .as_deref()
            .unwrap_or(ROTATE_DURATION);
        let age_max = duration("log_rotate_duration", age, problems);
        let older_max = self.older_max(problems);
        let file = self.log_file.as_deref().filter(|path| !path.is_empty());
        let file = file.map(|path| LogFile {
            path: match path.strip_suffix('/') {
                Some(directory) => PathBuf::from(directory).join(FILE_NAME),
                None => PathBuf::from(path),
            },
            bytes_max: self.log_rotate_bytes.filter(|bytes| *bytes > 0),
            age_max,
            older_max,
        });
        Logs {
            is_json: self.log_json.unwrap_or(false),
            has_location: self.log_include_location.unwrap_or(false),
            file,
            system: self.system(problems),
        }
    }

    fn system(&self, problems: &mut Vec<Problem>) -> Option<SystemLog> {
        let name = self.syslog_facility.as_deref().unwrap_or(FACILITY);
        let facility = name.to_uppercase();
        if !FACILITIES.contains(&facility.as_str()) {
            let message = format!(
                "`syslog_facility` is `{name}`; it must be one of {}",
                FACILITIES.join(", ")
            );
            problems.push(Problem::new(SETTINGS, message));
        }
        (self.enable_syslog == Some(true)).then_some(SystemLog { facility })
    }

    /// 0 keeps all of them and −1 none, as published.
    fn older_max(&self, problems: &mut Vec<Problem>) -> Option<usize> {
        let text = self.log_rotate_max_files.as_deref().unwrap_or("0");
        match text.trim().parse::<i64>() {
            Ok(0) => None,
            Ok(-1) => Some(0),
            Ok(count) if count > 0 => usize::try_from(count).ok(),
            _ => {
                let message = format!(
                    "`log_rotate_max_files` is `{text}`; it must be the number of older files to keep, 0 for all, or -1 for none"
                );
                problems.push(Problem::new(SETTINGS, message));
                None
            }
        }
    }
}
