//! Logs to standard error.

use std::io::IsTerminal as _;
use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// What the libraries below us may say by default. What the Raft library's handle says at `error`,
/// it also returns to its caller, which knows whether it matters; at a stop it does not.
const QUIET: &str = "hickory_server=warn,openraft=warn,openraft::raft::raft_inner=off,pingora_core=warn,pingora_proxy=off,hyper=warn,h2=warn,reqwest=warn";

/// Starts writing logs: `level` is a level or directives of the log filter.
///
/// # Errors
/// When `level` is neither.
pub fn start(level: &str) -> Result<(), ParseError> {
    let level = level.to_lowercase();
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))?;
    let layer = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(true);
    // A second start, as in tests, keeps the first subscriber.
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .ok();
    Ok(())
}
