//! Logs to standard error.

use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// What the libraries below us may say by default.
const QUIET: &str = "hickory_server=warn,openraft=warn,pingora_core=warn,pingora_proxy=off,hyper=warn,h2=warn,reqwest=warn";

/// Starts writing logs: `level` is a level or directives of the log filter.
///
/// # Errors
/// When `level` is neither.
pub fn start(level: &str) -> Result<(), ParseError> {
    let level = level.to_lowercase();
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))?;
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(true);
    // A second start, as in tests, keeps the first subscriber.
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .ok();
    Ok(())
}
