//! The signals that an agent listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An interrupt, or that the terminal is gone.
    Interrupt,
    /// A termination.
    Terminate,
}

/// Resolves at the first interrupt or termination, or, if `hang_up_ends`, hang-up of the terminal.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn ended(hang_up_ends: bool) -> std::io::Result<impl Future<Output = Ending> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Ending::Interrupt,
            _ = terminate.recv() => Ending::Terminate,
            _ = hang_up.recv(), if hang_up_ends => Ending::Interrupt,
        }
    })
}

/// As [`ended`], whatever it is.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn interrupted(hang_up_ends: bool) -> std::io::Result<impl Future<Output = ()> + Send> {
    let ended = ended(hang_up_ends)?;
    Ok(async move {
        ended.await;
    })
}

/// Hang-ups, by which an agent is asked to read its configuration again.
///
/// # Errors
/// When the system does not let the process listen for signals.
pub fn hang_ups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}
