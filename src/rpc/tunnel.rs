//! The way back: an agent holds a pipe to the servers, on which the leader asks the agent for what
//! only its machine knows. So servers dial no agent, and agents need no listener.

use super::{
    pipe::Pipe,
    pool::Pool,
    security::Role,
    servers::Servers,
    transport::{self, Asked, Caller, Dialect, Error, Kind},
};
use jobs::model::{NodeId, SecretId};
use serde::{Deserialize, Serialize};
use std::{future::Future, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

/// Longest introduction, bytes.
const INTRODUCTION_BYTES_MAX: usize = 4096;
/// How long an agent may take to say who it is.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a tunnel is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// Questions of the leader that wait to be taken.
const ASKED_MAX: usize = 16;

/// Who is at the agent's end of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Introduction {
    /// Id of the node.
    pub node_id: NodeId,
    /// Its secret, which the servers know from its registration.
    pub secret_id: SecretId,
}

/// A server's end of a tunnel; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tunnel(Caller);

impl Tunnel {
    /// Reads who is there, and asks on the pipe from now on.
    ///
    /// # Errors
    /// When nobody says who is there, or no HTTP/2 is spoken.
    pub async fn accept(mut pipe: Pipe) -> anyhow::Result<(Introduction, Self)> {
        let introduced = timeout(INTRODUCTION_TIMEOUT, async {
            let bytes = usize::try_from(pipe.read_u32().await?)?;
            anyhow::ensure!(
                bytes <= INTRODUCTION_BYTES_MAX,
                "the introduction is too long"
            );
            let mut text = vec![0; bytes];
            pipe.read_exact(&mut text).await?;
            Ok::<_, anyhow::Error>(rmp_serde::from_slice::<Introduction>(&text)?)
        });
        let introduction = introduced.await??;
        let caller = Caller::over(pipe, "agent").await?;
        Ok((introduction, Self(caller)))
    }

    /// Opens a pipe to an API of the agent.
    ///
    /// # Errors
    /// [`Error`] when the agent is gone.
    pub async fn open(&self, dialect: Dialect) -> Result<Pipe, Error> {
        let mut caller = self.0.clone();
        let opening = caller.open(Kind::Http(dialect));
        transport::bounded("agent", transport::CONNECT_TIMEOUT, opening).await
    }

    /// Whether the agent is gone.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Holds an agent's tunnel while `connected`, and hands what is asked on it to `asked`, until
/// `shutdown`.
pub async fn hold(
    pool: Pool,
    servers: Servers,
    introduction: Introduction,
    mut connected: watch::Receiver<bool>,
    asked: mpsc::Sender<Asked>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let held = async {
        // The sender lives as long as the agent.
        while connected.wait_for(|connected| *connected).await.is_ok() {
            let server = servers.current();
            let one = hold_one(&pool, &server, &introduction, &asked);
            let ended = tokio::select! {
                ended = one => ended,
                _ = connected.changed() => continue,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "the tunnel to the servers ended");
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = held => {}
        () = shutdown => {}
    }
}

async fn hold_one(
    pool: &Pool,
    server: &str,
    introduction: &Introduction,
    asked: &mpsc::Sender<Asked>,
) -> anyhow::Result<()> {
    let mut pipe = pool.open(server, Kind::Tunnel).await?;
    let text = rmp_serde::to_vec_named(introduction)?;
    pipe.write_u32(u32::try_from(text.len())?).await?;
    pipe.write_all(&text).await?;
    // Only the leader asks here, which no certificate has to say again.
    let (accept, mut questions) = mpsc::channel(ASKED_MAX);
    let serving = transport::serve_idle(pipe, Role::Client, accept);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            Some(question) = questions.recv() => asked.send(question).await?,
        }
    }
}
