//! The agent's own API, as this part asks it: whatever the question needs, it gets to the leader or
//! to the agent of another node like that of any other client.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

/// Questions that may wait to be taken.
const ASKED_MAX: usize = 16;
/// Bytes that may wait in each direction of a question.
const PIPE_BYTES: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nobody serves the API any more.
    #[error("the agent is stopping")]
    Closed,
    /// The path is none.
    #[error(transparent)]
    Path(#[from] http::Error),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// Asks the agent's own API. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OwnApi(mpsc::Sender<DuplexStream>);

impl OwnApi {
    /// The asking end, and where the questions come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<DuplexStream>) {
        let (sender, asked) = mpsc::channel(ASKED_MAX);
        (Self(sender), asked)
    }

    /// Reads `path`; the answer may have any status.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn get(&self, path: &str) -> Result<Response<Incoming>, Unanswered> {
        let (near, far) = duplex(PIPE_BYTES);
        self.0.send(far).await.map_err(|_| Unanswered::Closed)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await?;
        // It ends with the answer, or with whoever reads it.
        tokio::spawn(async move {
            connection.await.ok();
        });
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .body(Empty::<Bytes>::new())?;
        Ok(sender.send_request(request).await?)
    }
}
