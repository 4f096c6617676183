//! Questions to whoever sits at the terminal, and what they interrupt.

use std::io;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// The terminal of a command that asks back before it ends.
#[derive(Debug)]
pub(crate) struct Terminal {
    interrupts: Signal,
}

impl Terminal {
    /// From now on an interrupt is heard instead of ending the command.
    ///
    /// # Errors
    /// When the system does not tell of signals.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            interrupts: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until somebody interrupts the command.
    pub(crate) async fn interrupted(&mut self) {
        if self.interrupts.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// The line that is typed next; none when the input is over, or when the question itself is
    /// interrupted.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(crate) async fn answer(&mut self) -> io::Result<Option<String>> {
        let (sender, typed) = oneshot::channel();
        // A thread of its own: nothing waits for it when the question is given up.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line);
            sender
                .send(read.map(|read| (read > 0).then_some(line)))
                .ok();
        });
        tokio::select! {
            typed = typed => typed.unwrap_or(Ok(None)),
            () = self.interrupted() => Ok(None),
        }
    }
}
