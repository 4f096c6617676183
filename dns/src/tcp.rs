//! TCP: messages behind a two-byte length (RFC 1035, 4.2.2), answered one after another on a bounded number of
//! connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Most open connections per listener; further clients wait in the system's accept queue.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may be silent, and how long a client may take to read an answer.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Turns a message into its reply; no reply closes the connection.
pub(crate) type Reply = Arc<dyn Fn(Vec<u8>, SocketAddr) -> Option<Vec<u8>> + Send + Sync>;

/// Serves connections until it is dropped; its connections end with it.
pub(crate) async fn serve(listener: TcpListener, reply: Reply) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let reply = Arc::clone(&reply);
                connections.spawn(async move {
                    if let Err(error) = converse(stream, peer, &reply).await {
                        tracing::debug!(%peer, %error, "dns connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "dns cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, peer: SocketAddr, reply: &Reply) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(message) = within(IDLE_MAX, read(&mut stream)).await? {
        let Some(answer) = reply(message, peer) else {
            return Ok(());
        };
        let Ok(length) = u16::try_from(answer.len()) else {
            return Err(io::Error::other(
                "the answer is longer than a message can be",
            ));
        };
        let mut frame = Vec::with_capacity(answer.len() + 2);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&answer);
        within(IDLE_MAX, stream.write_all(&frame)).await?;
    }
    Ok(())
}

/// The next message, or nothing when the client is done.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(io::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn ask(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(&[0, 1, 7]).await?;
        let mut frame = [0; 3];
        stream.read_exact(&mut frame).await?;
        Ok(frame[2])
    }

    #[tokio::test]
    async fn connections_past_the_limit_wait_for_a_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(|message, _| Some(message))));
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(within(PATIENCE, ask(&mut stream)).await.unwrap(), 7);
            connections.push(stream);
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        let early = within(Duration::from_millis(50), ask(&mut late)).await;
        assert_eq!(early.unwrap_err().kind(), io::ErrorKind::TimedOut);
        connections.pop();
        let mut frame = [0; 3];
        within(PATIENCE, late.read_exact(&mut frame)).await.unwrap();
        assert_eq!(frame, [0, 1, 7]);
        server.abort();
    }
}
