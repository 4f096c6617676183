//! The signals that end an agent.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first interrupt, termination or hang-up of the terminal.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn interrupted() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}
