//! A client's connection: from one plain request to the next.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::answer;
use super::local::Local;
use super::request::{self, Head, Plain};
use super::timer::Timer;
use crate::headers::Hop;
use crate::http::linger::linger;
use crate::http::patience::Limits;
use crate::http::socket::{HEAD_BYTES_MAX, Replay};
use crate::http::stream::Stream;
use crate::route::{Rewrite, Target};

/// How long a connection that came just before the stop may take to send its first request.
const STOP_GRACE: Duration = Duration::from_millis(100);

/// A connection as it was accepted.
pub(in crate::http) struct Accepted {
    pub(in crate::http) stream: Stream,
    pub(in crate::http) peer: SocketAddr,
    /// The address that the client connected to.
    pub(in crate::http) own: SocketAddr,
    /// What was read of it already.
    pub(in crate::http) first: Vec<u8>,
    pub(in crate::http) limits: Limits,
}

/// Carries plain requests as long as the connection lasts. If another one comes, the connection is
/// returned as it was before that request.
///
/// What a connection is lies in the future that it is carried by, and once only: each of thousands
/// that rest has the room of all of it.
pub(in crate::http) fn serve(
    local: Rc<Local>,
    mut accepted: Accepted,
) -> impl Future<Output = Option<(Accepted, Replay)>> {
    let by = local.config.own_headers.by;
    let is_tls = accepted.stream.is_tls();
    let hop = Hop::new(accepted.peer.ip(), accepted.own, by, is_tls);
    let bytes = std::mem::take(&mut accepted.first);
    let mut connection = Connection::new((local, 0), Rc::new(hop), bytes, accepted);
    async move {
        let entered = |cx: &mut Context<'_>| connection.local.entered(cx.waker().clone());
        connection.number = poll_fn(|cx| Poll::Ready(entered(cx))).await;
        let _entry = Entry::new(&connection.local, connection.number);
        loop {
            let next = connection.next().await;
            let after = match &next {
                Next::Request(plain) => {
                    connection.begin_note();
                    let after = connection.exchange(plain).await;
                    if !matches!(after, After::Doubtful) {
                        connection.note(plain);
                    }
                    if matches!(after, After::Kept) {
                        connection.served(plain);
                    }
                    after
                }
                Next::Late(plain) => {
                    connection.begin_note();
                    let status = StatusCode::REQUEST_TIMEOUT;
                    let after = connection.answer(plain, status, false).await;
                    connection.note(plain);
                    match after {
                        After::Ended => After::Refused,
                        other => other,
                    }
                }
                Next::Doubtful => After::Doubtful,
                Next::End => After::Ended,
            };
            match after {
                After::Kept => {}
                After::Doubtful => return Some(connection.hand_over()),
                After::Ended => {
                    connection.accepted.stream.close().await;
                    return None;
                }
                After::Refused => {
                    Box::pin(linger(&mut connection.accepted.stream)).await;
                    return None;
                }
            }
        }
    }
}

/// What comes next on a connection.
enum Next {
    /// A plain request, whole.
    Request(Plain),
    /// Something that is not for us.
    Doubtful,
    /// A body that does not come.
    Late(Plain),
    /// Nothing.
    End,
}

/// What becomes of a connection after a request.
#[derive(Debug)]
pub(super) enum After {
    /// It waits for the next request.
    Kept,
    /// It is closed.
    Ended,
    /// It is closed, though the client may still be sending.
    Refused,
    /// The request is not for us after all; nothing of it was answered.
    Doubtful,
}

/// The place of a connection among those of its thread.
pub(super) struct Entry {
    local: Rc<Local>,
    number: usize,
}

impl Entry {
    pub(super) fn new(local: &Rc<Local>, number: usize) -> Entry {
        Entry {
            local: local.clone(),
            number,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.local.left(self.number);
    }
}

pub(super) struct Connection {
    pub(super) local: Rc<Local>,
    pub(super) accepted: Accepted,
    pub(super) hop: Rc<Hop>,
    /// What was read and not served; without memory when nothing was.
    pub(super) bytes: Vec<u8>,
    pub(super) timer: Timer,
    has_served: bool,
    /// What becomes of the request that it carries.
    pub(super) noted: Noted,
    /// The number of the connection among those of the thread.
    pub(super) number: usize,
}

/// What became of a request, as far as it is written down.
#[derive(Default)]
pub(super) struct Noted {
    pub(super) began: Option<Instant>,
    /// Of the answer that the client got.
    pub(super) status: Option<u16>,
    /// Of its content.
    pub(super) body_bytes: u64,
    /// The last one that was asked.
    pub(super) target: Option<(Arc<Target>, Option<Arc<Rewrite>>)>,
}

/// How far the next request has come.
struct Reading {
    /// Bytes have come that were not looked at.
    is_fresh: bool,
    /// So many bytes hold no end of a head.
    searched: usize,
    /// The deadline is that of a head.
    has_deadline: bool,
    /// The head, whose body is on its way.
    plain: Option<Plain>,
}

impl Connection {
    /// A connection of a thread, by its number, of which `bytes` were read.
    pub(super) fn new(
        (local, number): (Rc<Local>, usize),
        hop: Rc<Hop>,
        bytes: Vec<u8>,
        accepted: Accepted,
    ) -> Connection {
        Connection {
            hop,
            bytes,
            timer: Timer::after(accepted.limits.idle),
            accepted,
            has_served: false,
            noted: Noted::default(),
            number,
            local,
        }
    }

    /// What it is carried on, after a request that was one of many there.
    pub(super) fn into_stream(self) -> Stream {
        self.local.give_back(self.bytes);
        self.accepted.stream
    }

    /// Waits for the next request.
    async fn next(&mut self) -> Next {
        self.timer.set_after(self.accepted.limits.idle);
        let mut reading = Reading {
            is_fresh: !self.bytes.is_empty(),
            searched: 0,
            has_deadline: false,
            plain: None,
        };
        poll_fn(|cx| self.poll_next(cx, &mut reading)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reading: &mut Reading) -> Poll<Next> {
        loop {
            if std::mem::take(&mut reading.is_fresh)
                && let Some(next) = self.look(reading)
            {
                return Poll::Ready(next);
            }
            if self.local.is_stopping() && self.bytes.is_empty() {
                if self.has_served {
                    return Poll::Ready(Next::End);
                }
                self.timer.at_most(Instant::now() + STOP_GRACE);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) if !self.bytes.is_empty() => {
                    return Poll::Ready(Next::Doubtful);
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Ready(Ok(_)) => reading.is_fresh = true,
                Poll::Pending => {
                    ready!(self.timer.poll(cx));
                    return Poll::Ready(reading.late());
                }
            }
        }
    }

    /// Looks at what has come; none if more has to.
    fn look(&mut self, reading: &mut Reading) -> Option<Next> {
        if let Some(plain) = reading.plain.take() {
            return self.body(plain, reading);
        }
        let unseen = self.bytes.get(reading.searched.saturating_sub(3)..);
        let is_partial = reading.searched > 0 && !request::may_end_in(unseen.unwrap_or_default());
        let head = if is_partial {
            Head::Partial
        } else {
            request::read(&self.bytes, &self.local.own)
        };
        match head {
            _ if !self.local.carries_plain() => Some(Next::Doubtful),
            _ if self.accepted.stream.is_http2() => Some(Next::Doubtful),
            Head::Doubtful(doubt) => {
                tracing::trace!(?doubt, "a request is left to the library");
                Some(Next::Doubtful)
            }
            Head::Partial if self.bytes.len() >= HEAD_BYTES_MAX => Some(Next::Doubtful),
            Head::Partial => {
                reading.searched = self.bytes.len();
                if !reading.has_deadline {
                    reading.has_deadline = true;
                    self.timer.set_after(self.accepted.limits.head);
                }
                None
            }
            Head::Plain(plain) if self.local.takes(&plain, &self.bytes) => {
                self.body(plain, reading)
            }
            Head::Plain(_) => Some(Next::Doubtful),
        }
    }

    /// Whether the body of a request is there too.
    fn body(&mut self, plain: Plain, reading: &mut Reading) -> Option<Next> {
        if self.bytes.len() >= plain.bytes() {
            return Some(Next::Request(plain));
        }
        self.timer.set_after(self.accepted.limits.client);
        reading.plain = Some(plain);
        None
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.local.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch.read);
        ready!(Pin::new(&mut self.accepted.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if self.bytes.capacity() == 0 {
            self.bytes = self.local.buffer();
        }
        self.bytes.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    /// Forgets a request that was answered.
    fn served(&mut self, plain: &Plain) {
        self.has_served = true;
        self.bytes.drain(..plain.bytes());
        if self.bytes.is_empty() {
            self.local.give_back(std::mem::take(&mut self.bytes));
        }
    }

    /// Answers a request that goes to no target.
    pub(super) async fn answer(&mut self, plain: &Plain, status: StatusCode, keeps: bool) -> After {
        let keeps = keeps && self.local.keeps();
        let unwritten = self.own_answer(plain, status, keeps);
        self.timer.set_after(self.accepted.limits.client);
        let mut written = 0;
        let write = poll_fn(|cx| {
            while written < unwritten.len() {
                let rest = &unwritten[written..];
                match Pin::new(&mut self.accepted.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(more)) => written += more,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        ready!(self.timer.poll(cx));
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
            Poll::Ready(Ok(()))
        });
        let result = write.await;
        self.local.give_back(unwritten);
        match result {
            Ok(()) if keeps => After::Kept,
            _ => After::Ended,
        }
    }

    /// Writes such an answer, with the page of its status if there is one.
    fn own_answer(&mut self, plain: &Plain, status: StatusCode, keeps: bool) -> Vec<u8> {
        let is_head = plain.method_text(&self.bytes) == "HEAD";
        let page = self.local.handle.error_page(status).unwrap_or_default();
        self.noted.status = Some(status.as_u16());
        self.noted.body_bytes = if is_head { 0 } else { page.len() as u64 };
        let mut out = self.local.buffer();
        let mut scratch = self.local.scratch.borrow_mut();
        let date = scratch.date.now();
        answer::own(status, (keeps, is_head), &page, date, &mut out);
        out
    }

    /// Gives the connection away, with what was read.
    fn hand_over(self) -> (Accepted, Replay) {
        let head_deadline = Instant::now() + self.accepted.limits.head;
        let replay = Replay {
            bytes: self.bytes,
            deadline: head_deadline.min(self.timer.deadline()),
        };
        (self.accepted, replay)
    }
}

impl Reading {
    /// What it means that the deadline has come.
    fn late(&mut self) -> Next {
        match (self.plain.take(), self.has_deadline) {
            (Some(plain), _) => Next::Late(plain),
            // The library answers it: the deadline is its own.
            (None, true) => Next::Doubtful,
            (None, false) => Next::End,
        }
    }
}
