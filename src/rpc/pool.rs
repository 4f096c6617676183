//! Connections to other servers that are kept for the next question.

use super::{
    pipe::{Pipe, of_bytes},
    security::Security,
    transport::{Asked, CONNECT_TIMEOUT, Call, Caller, Error, Kind, bounded},
};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

/// Addresses with a connection that is kept.
const KEPT_MAX: usize = 256;
/// Longest answer to a question, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a connection is for. Questions of the log wait behind nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Log,
    Other,
}

/// Connections by address; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    security: Security,
    kept: Arc<Mutex<BTreeMap<(Use, String), Caller>>>,
}

impl Pool {
    /// Makes connections as `security` says.
    pub fn new(security: Security) -> Self {
        Self {
            security,
            kept: Arc::default(),
        }
    }

    /// How connections are made.
    pub fn security(&self) -> &Security {
        &self.security
    }

    async fn caller(&self, of: Use, address: &str) -> Result<Caller, Error> {
        let key = (of, address.to_owned());
        if let Some(kept) = self.kept.lock().get(&key)
            && !kept.is_closed()
        {
            return Ok(kept.clone());
        }
        let dialing = Caller::dial(address, &self.security);
        let caller = bounded(address, CONNECT_TIMEOUT, dialing).await?;
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, caller| !caller.is_closed());
        }
        if kept.len() < KEPT_MAX {
            kept.insert(key, caller.clone());
        }
        Ok(caller)
    }

    /// Asks the server at `address`; the answer is there within `limit`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call(
        &self,
        address: &str,
        call: Call,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let of = match call {
            Call::Append | Call::Vote => Use::Log,
            Call::Snapshot | Call::Elect | Call::Members | Call::Admit | Call::Enroll => Use::Other,
        };
        let asking = async {
            let mut caller = self.caller(of, address).await?;
            let body = of_bytes(body.into());
            let response = caller.ask(Kind::Call(call), HeaderMap::new(), body).await?;
            let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let answer = answer.collect().await.map_err(|error| Error::Connect {
                address: address.to_owned(),
                source: std::io::Error::other(error),
            })?;
            Ok(answer.to_bytes())
        };
        bounded(address, limit, asking).await
    }

    /// Opens a pipe to the server at `address`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(&self, address: &str, kind: Kind) -> Result<Pipe, Error> {
        let opening = async { self.caller(Use::Other, address).await?.open(kind).await };
        bounded(address, CONNECT_TIMEOUT, opening).await
    }

    /// Passes what somebody asks for on to the server at `address`, and what comes back, until
    /// `end` resolves.
    pub async fn relay(
        &self,
        asked: Asked,
        address: &str,
        end: impl Future<Output = ()> + Send + 'static,
    ) {
        match self.caller(Use::Other, address).await {
            Ok(caller) => asked.pass_on(caller, end).await,
            Err(error) => asked.refuse(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    /// Longer than any machine needs to close a connection.
    const LONG: Duration = Duration::from_secs(60);
    /// One in some thousands went wrong.
    const CALLS: usize = 4000;

    /// Answers every connection with an alert of TLS, and closes it.
    async fn speaks_tls(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.read_exact(&mut [0; 5]).await.ok();
                stream.write_all(&[21, 3, 3, 0, 2, 2, 10]).await.ok();
            });
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_ends_at_once_ends_the_question() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(speaks_tls(listener));
        for _ in 0..CALLS {
            let pool = Pool::new(Security::Plain);
            let asked = pool.call(&address, Call::Members, Vec::new(), LONG).await;
            let error = asked.expect_err("nobody answers");
            assert!(!matches!(error, Error::Timeout { .. }), "{error}");
        }
        server.abort();
    }
}
