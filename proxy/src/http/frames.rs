//! An answer in the form of HTTP/1.1, put into frames of HTTP/2.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::header::HeaderName;
use ::http::{Method, StatusCode};
use bytes::Bytes;
use h2::SendStream;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_http::ResponseHeader;

use super::body::{Body, Chunks};
use crate::headers;

/// How many header lines an answer has at most; it has passed our own reader before.
const LINES_MAX: usize = 512;

/// Takes an answer as HTTP/1.1 has it, and sends it in frames.
pub(super) struct Frames {
    session: HttpSession,
    is_head: bool,
    /// What came of the head.
    head: Vec<u8>,
    state: State,
}

enum State {
    Head,
    Body(SendStream<Bytes>, Body),
    Whole,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

fn broken<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> io::Error {
    io::Error::other(error)
}

impl Frames {
    pub(super) fn new(session: HttpSession) -> Frames {
        Frames {
            is_head: session.req_header().method == Method::HEAD,
            session,
            head: Vec::new(),
            state: State::Head,
        }
    }

    /// The request as it came, if nothing of an answer was sent.
    pub(super) fn into_session(self) -> HttpSession {
        self.session
    }

    /// An answer that is not whole must not pass for one.
    pub(super) fn finish(mut self) {
        if !matches!(self.state, State::Whole) {
            self.session.shutdown();
        }
    }

    /// Ready when the client wants no answer any more.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Body(stream, _) => stream.poll_reset(cx).map(drop),
            State::Head | State::Whole => Pin::new(&mut self.session.idle()).poll(cx).map(drop),
        }
    }

    /// Takes a part of the answer: as much as the client takes now.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            match &mut self.state {
                State::Head => taken += self.take_head(rest)?,
                State::Body(stream, body) => {
                    stream.reserve_capacity(rest.len());
                    if stream.capacity() == 0 {
                        match stream.poll_capacity(cx) {
                            Poll::Ready(Some(Ok(_))) => {}
                            Poll::Ready(Some(Err(error))) => {
                                return Poll::Ready(Err(broken(error)));
                            }
                            Poll::Ready(None) => {
                                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                            }
                            Poll::Pending if taken > 0 => break,
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    let room = stream.capacity().min(rest.len());
                    let mut content = Vec::with_capacity(room);
                    let own = body.take(&rest[..room], |part| content.extend_from_slice(part));
                    let own = own.map_err(|_| broken("an answer is not in chunks"))?;
                    taken += own.bytes;
                    stream
                        .send_data(content.into(), own.is_whole)
                        .map_err(broken)?;
                    if own.is_whole {
                        self.state = State::Whole;
                    }
                }
                State::Whole => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Takes what belongs to a head, and sends it when it is whole.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.head.is_empty()
            && let Some(length) = self.send_head(bytes)?
        {
            return Ok(length);
        }
        let before = self.head.len();
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(bytes);
        match self.send_head(&head)? {
            // All that came before belongs to it.
            Some(length) => Ok(length - before),
            None => {
                self.head = head;
                Ok(bytes.len())
            }
        }
    }

    /// Sends the head at the start of `bytes`, and returns its length; nothing if it goes on.
    fn send_head(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let mut lines = [const { MaybeUninit::uninit() }; LINES_MAX];
        let mut read = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut read, bytes, &mut lines);
        let length = match parsed.map_err(broken)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let status = StatusCode::from_u16(read.code.unwrap_or_default()).map_err(broken)?;
        if status.is_informational() {
            // The library has no way to tell them.
            return Ok(Some(length));
        }
        let mut head =
            ResponseHeader::build_no_case(status, Some(read.headers.len())).map_err(broken)?;
        let mut body = Some(Body::Length(0));
        for line in read.headers.iter() {
            let is = |name: &str| line.name.eq_ignore_ascii_case(name);
            if is("transfer-encoding") {
                body = Some(Body::Chunked(Chunks::default()));
            } else if is("content-length") {
                let digits = str::from_utf8(line.value).map_err(broken)?;
                body = Some(Body::Length(digits.parse().map_err(broken)?));
            }
            if !headers::hop_by_hop(line.name.as_bytes()) {
                let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(broken)?;
                head.append_header(name, line.value).map_err(broken)?;
            }
        }
        let is_empty =
            self.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = body.filter(|body| !is_empty && *body != Body::Length(0));
        self.session
            .write_response_header(Box::new(head), body.is_none())
            .map_err(broken)?;
        self.state = match (body, self.session.take_response_body_writer()) {
            (Some(body), Some(stream)) => State::Body(stream, body),
            _ => State::Whole,
        };
        Ok(Some(length))
    }
}
