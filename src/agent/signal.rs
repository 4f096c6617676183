//! The signals that an agent listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at the first interrupt or termination, or, if `hang_up_ends`, hang-up of the terminal.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn interrupted(hang_up_ends: bool) -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv(), if hang_up_ends => {}
        }
    })
}

/// Hang-ups, by which an agent is asked to read its configuration again.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn hang_ups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}
