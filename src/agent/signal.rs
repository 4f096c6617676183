//! The signals that an agent listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at the first interrupt or termination.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn interrupted() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Hang-ups: a terminal that is closed, or somebody who wants the configuration to be read again.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn hang_ups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}
