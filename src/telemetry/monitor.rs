//! Logs for whoever follows them, as lines of text or JSON.
//!
//! What nobody follows costs nothing: the layer is off until somebody does, and as talkative as the
//! most curious follower. A follower that is too slow loses lines and is told how many.

use super::filter;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    sync::LazyLock,
};
use tokio::sync::broadcast;
use tracing::{Event, Level, Subscriber, field::Field, field::Visit};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, registry::LookupSpan, reload};

/// Lines that a follower may be behind.
const LINES_MAX: usize = 512;
/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Who follows, and how talkative the layer is for them.
static FOLLOWERS: LazyLock<Followers> = LazyLock::new(|| Followers {
    lines: broadcast::Sender::new(LINES_MAX),
    levels: Mutex::default(),
    filter: Mutex::new(None),
});

struct Followers {
    lines: broadcast::Sender<Line>,
    /// How many want each level.
    levels: Mutex<BTreeMap<Wanted, usize>>,
    filter: Mutex<Option<SetFilter>>,
}

/// Puts another filter before the layer.
type SetFilter = Box<dyn Fn(EnvFilter) + Send>;

/// A level that may be asked for; the last is the most talkative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Errors alone.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
    /// Everything.
    Trace,
}

impl Wanted {
    /// Reads the name of a level in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "err" | "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `TIME [LEVEL] part: message: key=value`.
    Text,
    /// An object with `@level`, `@message`, `@module`, `@timestamp` and the fields.
    Json,
}

/// Something that was logged.
#[derive(Clone, Debug)]
struct Line {
    level: Wanted,
    at: Timestamp,
    part: &'static str,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn written(&self, form: Form) -> String {
        let mut line = match form {
            Form::Text => self.text(),
            Form::Json => self.json(),
        };
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
        line.push('\n');
        line
    }

    fn text(&self) -> String {
        let level = format!("[{}]", self.level.word().to_uppercase());
        let mut line = format!("{} {level:<7} {}: {}", self.at, self.part, self.message);
        let mut lead = ": ";
        for (key, value) in &self.fields {
            // Writing to a text cannot fail.
            write!(line, "{lead}{key}={value}").ok();
            lead = " ";
        }
        line.replace(['\n', '\r'], " ")
    }

    fn json(&self) -> String {
        let own = [
            ("@level", self.level.word().to_owned()),
            ("@message", self.message.clone()),
            ("@module", self.part.to_owned()),
            ("@timestamp", self.at.to_string()),
        ];
        let fields = self.fields.iter().cloned();
        let all = own.into_iter().chain(fields);
        let all = all.map(|(key, value)| (key.to_owned(), Value::String(value)));
        Value::Object(all.collect::<Map<_, _>>()).to_string()
    }
}

/// What [`super::start`] puts beside the log that is written.
pub(super) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (filter, handle) = reload::Layer::new(EnvFilter::new("off"));
    *FOLLOWERS.filter.lock() = Some(Box::new(move |filter| {
        // The subscriber lives as long as the process.
        handle.reload(filter).ok();
    }));
    Telling.with_filter(filter)
}

/// Hands what is logged to the followers.
struct Telling;

impl<S: Subscriber> Layer<S> for Telling {
    fn on_event(&self, event: &Event<'_>, _cx: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line {
            level: Wanted::of(*metadata.level()),
            at: Timestamp::now(),
            part: metadata.target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        // Nobody may follow any more.
        FOLLOWERS.lines.send(line).ok();
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Somebody who follows the log; dropping it ends that.
#[derive(Debug)]
pub struct Follower {
    lines: broadcast::Receiver<Line>,
    wanted: Wanted,
    form: Form,
}

/// Follows the log from now on.
#[must_use]
pub fn follow(wanted: Wanted, form: Form) -> Follower {
    let follower = Follower {
        lines: FOLLOWERS.lines.subscribe(),
        wanted,
        form,
    };
    FOLLOWERS.change(|levels| *levels.entry(wanted).or_default() += 1);
    follower
}

impl Follower {
    /// The next line that was wanted, with its end.
    pub async fn line(&mut self) -> String {
        loop {
            match self.lines.recv().await {
                Ok(line) if line.level <= self.wanted => return line.written(self.form),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    let lost = Line {
                        level: Wanted::Warn,
                        at: Timestamp::now(),
                        part: "monitor",
                        message: format!("{count} lines were lost: they are read too slowly"),
                        fields: Vec::new(),
                    };
                    return lost.written(self.form);
                }
                // The sender is never dropped.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        FOLLOWERS.change(|levels| {
            if let Some(count) = levels.get_mut(&self.wanted) {
                *count -= 1;
                if *count == 0 {
                    levels.remove(&self.wanted);
                }
            }
        });
    }
}

impl Followers {
    /// Counts who follows, and makes the layer as talkative as the most curious of them wants.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<Wanted, usize>)) {
        let mut levels = self.levels.lock();
        let before = levels.keys().last().copied();
        change(&mut levels);
        let after = levels.keys().last().copied();
        if before == after {
            return;
        }
        let off = || EnvFilter::new("off");
        let wanted = after.and_then(|level| filter(level.word()).ok());
        if let Some(set) = &*self.filter.lock() {
            set(wanted.unwrap_or_else(off));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_they_are_known() {
        let line = Line {
            level: Wanted::Warn,
            at: Timestamp::UNIX_EPOCH,
            part: "agent",
            message: "something\nhappened".to_owned(),
            fields: vec![("why", "so".to_owned()), ("count", "2".to_owned())],
        };
        assert_eq!(
            line.written(Form::Text),
            "1970-01-01T00:00:00Z [WARN]  agent: something happened: why=so count=2\n"
        );
        let json: Value = serde_json::from_str(&line.written(Form::Json)).unwrap();
        assert_eq!(json["@level"], "warn");
        assert_eq!(json["@module"], "agent");
        assert_eq!(json["why"], "so");
    }

    #[tokio::test]
    async fn a_follower_gets_what_it_asked_for_and_hears_what_it_lost() {
        crate::start("warn").unwrap();
        let mut all = follow(Wanted::Debug, Form::Text);
        let mut few = follow(Wanted::Warn, Form::Json);
        tracing::debug!(target: "monitor_test", number = 1, "told to the curious");
        tracing::warn!(target: "monitor_test", "told to all");
        let until = async |follower: &mut Follower, text: &str| loop {
            // Other tests of this process may log too.
            let line = follower.line().await;
            if line.contains("monitor_test") {
                assert!(line.contains(text), "{line}");
                return;
            }
        };
        until(
            &mut all,
            "[DEBUG] monitor_test: told to the curious: number=1",
        )
        .await;
        until(&mut all, "[WARN]  monitor_test: told to all").await;
        until(&mut few, "told to all").await;
        for _ in 0..LINES_MAX + 8 {
            tracing::warn!(target: "monitor_test", "many");
        }
        let told = few.line().await;
        assert!(told.contains("lines were lost"), "{told}");
    }
}
