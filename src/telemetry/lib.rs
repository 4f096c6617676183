//! Logs: to standard error, and to whoever follows them over HTTP ([`monitor`]).

pub mod monitor;

use parking_lot::Mutex;
use std::io::IsTerminal as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::ParseError, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

/// What the libraries below us may say by default. What the Raft library's handle says at `error`,
/// it also returns to its caller, which knows whether it matters; at a stop it does not.
const QUIET: &str = "hickory_server=warn,openraft=warn,openraft::raft::raft_inner=off,pingora_core=warn,pingora_proxy=off,hyper=warn,h2=warn,reqwest=warn";

/// Changes what is written, once logs are.
static WRITTEN: Mutex<Option<reload::Handle<EnvFilter, Registry>>> = Mutex::new(None);

/// Starts writing logs: `level` is a level or directives of the log filter.
///
/// # Errors
/// When `level` is neither.
pub fn start(level: &str) -> Result<(), ParseError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let layer = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(true)
        .with_filter(filter);
    let registry = tracing_subscriber::registry()
        .with(layer)
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
