//! Logs: to standard error, to a file, and to whoever follows them over HTTP ([`monitor`]); and
//! figures as they are told to others ([`statsd`], [`happened`]).

mod file;
pub mod happened;
pub mod monitor;
pub mod statsd;
mod syslog;

pub use file::Place;
pub use syslog::facility;

use file::Files;
use parking_lot::Mutex;
use std::{io::IsTerminal as _, path::PathBuf};
use syslog::{SOCKET, Syslog};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

/// What the libraries below us may say by default. What the Raft library's handle says at `error`,
/// it also returns to its caller, which knows whether it matters; at a stop it does not.
const QUIET: &str = "hickory_server=warn,openraft=warn,openraft::raft::raft_inner=off,pingora_core=warn,pingora_proxy=off,hyper=warn,h2=warn,reqwest=warn";

/// Changes what is written, once logs are.
static WRITTEN: Mutex<Option<reload::Handle<EnvFilter, Registry>>> = Mutex::new(None);

/// How logs are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Lines are objects instead of texts.
    pub is_json: bool,
    /// Lines say where in the program they come from.
    pub has_location: bool,
    /// The file besides standard error; none to keep none.
    pub file: Option<Place>,
    /// The facility of the system's log that takes them too, see [`facility`]; none to leave it
    /// alone.
    pub facility: Option<u8>,
}

/// Why logs cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither a level nor directives.
    #[error("`log_level` is neither a level nor a filter: {0}")]
    Level(#[from] ParseError),
    /// The file cannot be opened.
    #[error("`log_file` {} cannot be written: {error}", path.display())]
    File {
        /// Where it should lie.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system has no log.
    #[error("`enable_syslog` is set, and nobody takes logs at {SOCKET}: {0}")]
    Syslog(std::io::Error),
}

/// Starts writing logs to standard error: `level` is a level or directives of the log filter.
///
/// # Errors
/// When `level` is neither.
pub fn start(level: &str) -> Result<(), StartError> {
    start_with(level, &Output::default())
}

/// As [`start`], in a form and with a file.
///
/// # Errors
/// [`StartError`].
pub fn start_with(level: &str, output: &Output) -> Result<(), StartError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let files = match &output.file {
        Some(place) => Some(
            Files::open(place.clone()).map_err(|error| StartError::File {
                path: place.path.clone(),
                error,
            })?,
        ),
        None => None,
    };
    // Colours of one would be in the other too.
    let has_colours = files.is_none() && std::io::stderr().is_terminal();
    let located = output.has_location;
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if output.is_json {
        let json = || {
            let layer = fmt::layer().json();
            layer.with_file(located).with_line_number(located)
        };
        layers.push(json().with_writer(std::io::stderr).boxed());
        layers.extend(files.map(|files| json().with_writer(files).boxed()));
    } else {
        let lines = || fmt::layer().with_file(located).with_line_number(located);
        let stderr = lines().with_ansi(has_colours);
        layers.push(stderr.with_writer(std::io::stderr).boxed());
        let plain = |files| lines().with_ansi(false).with_writer(files).boxed();
        layers.extend(files.map(plain));
    }
    if let Some(facility) = output.facility {
        let tag = format!("trivet[{}]", std::process::id());
        let system = Syslog::open(SOCKET.into(), facility, &tag).map_err(StartError::Syslog)?;
        // Time and importance are the system's.
        let lines = fmt::layer().with_file(located).with_line_number(located);
        let lines = lines.with_ansi(false).with_level(false).without_time();
        layers.push(lines.with_writer(system).boxed());
    }
    let registry = tracing_subscriber::registry()
        .with(layers.with_filter(filter))
        .with(monitor::layer());
    // A second start, as in tests, keeps the first subscriber.
    if registry.try_init().is_ok() {
        *WRITTEN.lock() = Some(handle);
    }
    Ok(())
}

/// Writes from now on what `level` says, which is as in [`start`].
///
/// # Errors
/// When `level` is neither a level nor directives.
pub fn set_level(level: &str) -> Result<(), ParseError> {
    let filter = filter(level)?;
    if let Some(handle) = &*WRITTEN.lock() {
        // The subscriber lives as long as the process.
        handle.reload(filter).ok();
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    let level = level.to_lowercase();
    EnvFilter::try_new(format!("{QUIET},{level}"))
}
