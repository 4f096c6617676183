//! HTTP/2 of clients. The proxy library reads and writes the frames; a plain request without a body
//! is carried here, and all others by the library.
//!
//! Such a request is written as it is in HTTP/1.1 and then goes the way of those, with all that
//! belongs to it: turns, retries, rescue, counts, the log. Its answer comes back in that form too,
//! and is put into frames.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::http::header::{COOKIE, HOST};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::v2::server::{
    self, H2Accept, H2Options, HttpSession, default_h2_options,
};
use pingora_core::protocols::{GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl};
use pingora_http::RequestHeader;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::connection::{Accepted, After, Connection, Entry};
use super::local::Local;
use super::request::{self, Head, Plain};
use crate::headers::Hop;
use crate::http::frames::Frames;
use crate::http::patience::Limits;
use crate::http::socket::{HEAD_BYTES_MAX, Socket};
use crate::http::stream::Stream;

/// How many malformed requests a connection may bring.
const MALFORMED_MAX: usize = 100;

/// How many requests of one connection are carried at once.
const STREAMS_MAX: u32 = 128;

/// How long a connection may take to end once it was told to.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a connection is from and to, and how long its client may take.
#[derive(Clone, Copy)]
pub(in crate::http) struct Ends {
    pub(in crate::http) peer: SocketAddr,
    pub(in crate::http) own: SocketAddr,
    pub(in crate::http) is_tls: bool,
    pub(in crate::http) limits: Limits,
}

/// How HTTP/2 is spoken with clients.
pub(in crate::http) fn options() -> H2Options {
    let mut options = default_h2_options();
    let bytes = u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX);
    options.max_header_list_size(bytes);
    options.max_concurrent_streams(STREAMS_MAX);
    options
}

/// Carries the requests of a connection to its end: plain ones here, others by `library`.
pub(in crate::http) async fn serve<L, F>(
    local: &Rc<Local>,
    socket: Socket,
    ends: Ends,
    mut stopping: watch::Receiver<bool>,
    library: L,
) where
    L: Fn(HttpSession) -> F + Clone + 'static,
    F: Future<Output = ()> + 'static,
{
    let digest = Arc::new(Digest {
        ssl_digest: socket.get_ssl_digest(),
        timing_digest: socket.get_timing_digest(),
        proxy_digest: socket.get_proxy_digest(),
        socket_digest: socket.get_socket_digest(),
    });
    let Ok(mut connection) = server::handshake(Box::new(socket), Some(options())).await else {
        return;
    };
    let by = local.config.own_headers.by;
    let hop = Rc::new(Hop::new(ends.peer.ip(), ends.own, by, ends.is_tls));
    let open = Rc::new(Open {
        count: Cell::new(0),
        ended: Cell::new(Instant::now()),
    });
    let mut patience = ends.limits.idle;
    let (mut malformed, mut is_ending) = (0, false);
    let mut stopped = pin!(stopping.wait_for(|stop| *stop));
    let mut look = pin!(sleep_until(Instant::now() + patience));
    loop {
        let next = poll_fn(|cx| {
            let accepted = pin!(HttpSession::from_h2_conn(&mut connection, digest.clone()));
            if let Poll::Ready(accepted) = accepted.poll(cx) {
                return Poll::Ready(Some(accepted));
            }
            if !is_ending && stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            // It is moved on when it is reached, and not with each request.
            while look.as_mut().poll(cx).is_ready() {
                match open.rests_until(patience) {
                    Some(until) => look.as_mut().reset(until),
                    None => return Poll::Ready(None),
                }
            }
            Poll::Pending
        });
        match next.await {
            None if is_ending => return,
            // It was silent for too long, or the thread stops.
            None => {
                is_ending = true;
                connection.graceful_shutdown();
                patience = END_TIMEOUT;
                open.ended.set(Instant::now());
                look.as_mut().reset(Instant::now() + patience);
            }
            Some(Ok(Some(H2Accept::Session(session)))) => {
                let request = Request {
                    local: local.clone(),
                    hop: hop.clone(),
                    ends,
                };
                let (library, counted) = (library.clone(), open.enter());
                tokio::task::spawn_local(async move {
                    let _counted = counted;
                    if let Some(session) = request.carry(session).await {
                        // It is large, and the others are moved and kept without it.
                        Box::pin(library(session)).await;
                    }
                });
            }
            Some(Ok(Some(H2Accept::Rejected))) => {
                malformed += 1;
                if malformed >= MALFORMED_MAX {
                    return;
                }
            }
            Some(Ok(None) | Err(_)) => return,
        }
    }
}

/// The requests of a connection that are carried.
struct Open {
    count: Cell<usize>,
    /// When the last one ended.
    ended: Cell<Instant>,
}

/// Counts a request for as long as it is carried.
struct Counted(Rc<Open>);

impl Open {
    fn enter(self: &Rc<Open>) -> Counted {
        self.count.set(self.count.get() + 1);
        Counted(self.clone())
    }

    /// Until when a connection may be silent, if it was not so for so long already.
    fn rests_until(&self, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        let since = if self.count.get() > 0 {
            now
        } else {
            self.ended.get()
        };
        Some(since + patience).filter(|until| *until > now)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.ended.set(Instant::now());
    }
}

struct Request {
    local: Rc<Local>,
    hop: Rc<Hop>,
    ends: Ends,
}

impl Request {
    /// Carries a request, or returns it as it came.
    async fn carry(self, session: HttpSession) -> Option<HttpSession> {
        let mut bytes = self.local.buffer();
        let plain = if self.local.carries_plain() && session.is_body_done() {
            self.plain(session.req_header(), &mut bytes)
        } else {
            None
        };
        let Some(plain) = plain else {
            self.local.give_back(bytes);
            return Some(session);
        };
        let number = poll_fn(|cx| Poll::Ready(self.local.entered(cx.waker().clone()))).await;
        let _entry = Entry::new(&self.local, number);
        let frames = Frames::new(session);
        let stream = Stream::Http2(Box::new(frames));
        let Ends {
            peer, own, limits, ..
        } = self.ends;
        let accepted = Accepted {
            stream,
            peer,
            own,
            first: Vec::new(),
            limits,
        };
        let mut connection = Connection::new((self.local, number), self.hop, bytes, accepted);
        connection.begin_note();
        let after = connection.exchange(&plain).await;
        let is_carried = !matches!(after, After::Doubtful);
        if is_carried {
            connection.note(&plain);
        }
        let Stream::Http2(frames) = connection.into_stream() else {
            return None;
        };
        if is_carried {
            frames.finish();
            None
        } else {
            Some(frames.into_session())
        }
    }

    /// The request in the form of HTTP/1.1, if it is plain there.
    fn plain(&self, header: &RequestHeader, bytes: &mut Vec<u8>) -> Option<Plain> {
        write(header, bytes)?;
        match request::read(bytes, &self.local.own) {
            Head::Plain(plain) if self.local.takes(&plain, bytes) => Some(plain),
            Head::Plain(_) | Head::Partial | Head::Doubtful(_) => None,
        }
    }
}

/// Writes a request as HTTP/1.1 has it; nothing if it says its host twice, or not at all.
fn write(header: &RequestHeader, out: &mut Vec<u8>) -> Option<()> {
    let authority = header.uri.authority()?.as_str();
    let mut hosts = header.headers.get_all(HOST).iter();
    if !hosts.all(|host| host.as_bytes() == authority.as_bytes()) {
        return None;
    }
    let text = |out: &mut Vec<u8>, part: &[u8]| out.extend_from_slice(part);
    text(out, header.method.as_str().as_bytes());
    text(out, b" ");
    text(out, header.raw_path());
    text(out, b" HTTP/1.1\r\nHost: ");
    text(out, authority.as_bytes());
    text(out, b"\r\n");
    for (name, value) in &header.headers {
        if name != HOST && name != COOKIE {
            text(out, name.as_str().as_bytes());
            text(out, b": ");
            text(out, value.as_bytes());
            text(out, b"\r\n");
        }
    }
    // Here each cookie may have a line of its own (RFC 9113 §8.2.3).
    let mut cookies = header.headers.get_all(COOKIE).iter();
    if let Some(first) = cookies.next() {
        text(out, b"cookie: ");
        text(out, first.as_bytes());
        for more in cookies {
            text(out, b"; ");
            text(out, more.as_bytes());
        }
        text(out, b"\r\n");
    }
    text(out, b"\r\n");
    Some(())
}

#[cfg(test)]
mod tests {
    use ::http::{Method, Request};
    use pingora_http::RequestHeader;

    use super::write;

    fn written(uri: &str, lines: &[(&'static str, &'static str)]) -> Option<String> {
        let mut request = Request::builder().method(Method::GET).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        write(&RequestHeader::from(parts), &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn requests_have_the_form_of_the_older_version() {
        let lines = [
            ("cookie", "a=1"),
            ("x-own", "z"),
            ("cookie", "b=2"),
            ("host", "web.io:8443"),
        ];
        assert_eq!(
            written("https://web.io:8443/a?b=c", &lines).as_deref(),
            Some(
                "GET /a?b=c HTTP/1.1\r\nHost: web.io:8443\r\nx-own: z\r\ncookie: a=1; b=2\r\n\r\n"
            )
        );
        for (uri, lines) in [
            ("/a", &[("host", "web.io")][..]),
            ("https://web.io/", &[("host", "other.io")]),
        ] {
            assert_eq!(written(uri, lines), None, "{uri}");
        }
    }
}
