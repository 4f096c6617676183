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
