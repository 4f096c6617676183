//! What is written down of requests that have ended.

use std::borrow::Cow;
use std::time::SystemTime;

use tokio::time::Instant;

use super::connection::{Connection, Noted};
use super::request::Plain;
use crate::http::lease::Lease;
use crate::log::{Entry, UpstreamEntry};
use crate::route::RequestPath;

/// The status of a request whose client went away before there was an answer.
const LEFT: u16 = 499;

impl Connection {
    /// A request begins, of which something may be written down.
    pub(super) fn begin_note(&mut self) {
        self.noted = Noted {
            began: self.is_noted().then(Instant::now),
            ..Noted::default()
        };
    }

    /// A target is asked, or none any more.
    pub(super) fn note_target(&mut self, lease: Option<&Lease>) {
        if self.is_noted() {
            let told = |lease: &Lease| (lease.target().clone(), lease.rewrite().cloned());
            self.noted.target = lease.map(told);
        }
    }

    fn is_noted(&self) -> bool {
        self.local.config.access_log.is_some()
    }

    /// Writes a request down, where that is wanted.
    pub(super) fn note(&mut self, plain: &Plain) {
        let Some(log) = &self.local.config.access_log else {
            return;
        };
        let noted = std::mem::take(&mut self.noted);
        let bytes = &*self.bytes;
        let (path, query) = (plain.path(bytes), plain.query(bytes));
        let uri = plain.target(bytes);
        let header = |name: &str| {
            let value = plain.header(bytes, name)?;
            str::from_utf8(value).ok().map(Cow::Borrowed)
        };
        let upstream = noted.target.as_ref().map(|(target, rewrite)| {
            let request = (&RequestPath::new(path), (path, query));
            let sent = target.forwarded(request.0, request.1, rewrite.as_deref());
            UpstreamEntry {
                address: target.address(),
                scheme: target.destination().scheme.as_str(),
                uri: sent.map_or(Cow::Borrowed(uri), Cow::Owned),
                service: target.service(),
            }
        });
        log.add(&Entry {
            ended: SystemTime::now(),
            took: noted.began.map(|began| began.elapsed()).unwrap_or_default(),
            remote: self.accepted.peer,
            is_tls: self.hop.is_tls(),
            method: plain.method_text(bytes),
            uri,
            host: plain.host(bytes),
            proto: self.accepted.stream.proto(),
            header: &header,
            status: noted.status.unwrap_or(LEFT),
            body_bytes: noted.body_bytes,
            upstream,
        });
    }
}
