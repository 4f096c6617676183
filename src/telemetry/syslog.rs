//! Logs as the system's own log takes them: a datagram for each, with its importance.

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Where the system's log listens.
pub(super) const SOCKET: &str = "/dev/log";
/// Longest message, bytes; what is behind is cut off.
const MESSAGE_BYTES_MAX: usize = 8192;
/// Facilities by their numbers.
const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "NTP", "AUDIT", "ALERT", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
    "LOCAL5", "LOCAL6", "LOCAL7",
];

/// The number of a facility; none for a name that is none.
#[must_use]
pub fn facility(name: &str) -> Option<u8> {
    let name = name.to_uppercase();
    let found = FACILITIES.iter().position(|known| *known == name)?;
    u8::try_from(found).ok()
}

/// Writes to the system's log, for whoever logs. What it does not take at once is lost.
#[derive(Clone, Debug)]
pub(super) struct Syslog {
    socket: Arc<UnixDatagram>,
    path: Arc<Path>,
    facility: u8,
    /// Who logs.
    tag: Arc<str>,
}

impl Syslog {
    /// Logs of `tag` under a facility, to the log that listens at `path`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn open(path: PathBuf, facility: u8, tag: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // It may be started anew later: each message is addressed by itself.
        UnixDatagram::unbound()?.connect(&path)?;
        Ok(Self {
            socket: Arc::new(socket),
            path: path.into(),
            facility,
            tag: tag.into(),
        })
    }

    fn message(&self, importance: u8) -> Message<'_> {
        let priority = u16::from(self.facility) * 8 + u16::from(importance);
        Message {
            to: self,
            text: format!("<{priority}>{}: ", self.tag).into_bytes(),
        }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Message<'a>;

    fn make_writer(&'a self) -> Message<'a> {
        self.message(importance(Level::INFO))
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Message<'a> {
        self.message(importance(*metadata.level()))
    }
}

/// From 3, an error, to 7, for those who look for one.
fn importance(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// What is logged at once; it is sent when this is dropped.
#[derive(Debug)]
pub(super) struct Message<'a> {
    to: &'a Syslog,
    text: Vec<u8>,
}

impl Write for Message<'_> {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let room = MESSAGE_BYTES_MAX.saturating_sub(self.text.len());
        self.text
            .extend_from_slice(more.get(..room).unwrap_or(more));
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // Nobody could be told that it is lost.
        self.to
            .socket
            .send_to(self.text.trim_ascii_end(), &*self.to.path)
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    #[test]
    fn each_line_is_a_message_with_its_importance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(Syslog::open(path.clone(), 16, "trivet[7]").is_err());
        let listener = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::open(path, facility("local0").unwrap(), "trivet[7]").unwrap();
        let layer = fmt::layer().without_time().with_ansi(false);
        let subscriber =
            tracing_subscriber::registry().with(layer.with_level(false).with_writer(syslog));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(count = 2, "it is late");
            tracing::error!("{}", "x".repeat(2 * MESSAGE_BYTES_MAX));
        });
        let mut bytes = vec![0; 4 * MESSAGE_BYTES_MAX];
        let length = listener.recv(&mut bytes).unwrap();
        let text = str::from_utf8(&bytes[..length]).unwrap();
        // 16 * 8 + 4.
        assert!(text.starts_with("<132>trivet[7]: "), "{text}");
        assert!(text.ends_with("it is late count=2"), "{text}");
        let length = listener.recv(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"<131>") && length == MESSAGE_BYTES_MAX);
        assert_eq!(facility("LOCAL9"), None);
        assert_eq!(facility("daemon"), Some(3));
    }
}
