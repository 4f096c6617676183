//! TCP: messages behind a two-byte length (RFC 1035, 4.2.2), answered one after another on a
//! bounded number of connections.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a connection may be silent, and how long a client may take to read an answer.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two warnings about failed accepts.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// A reply in the making.
pub(crate) type Replying = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;
/// Turns a message into its reply; no reply closes the connection.
pub(crate) type Reply = Arc<dyn Fn(Vec<u8>, SocketAddr) -> Replying + Send + Sync>;

/// Serves at most `connections_max` connections, which end with it, until it is dropped. A client
/// that comes when all places are taken gets the place of the connection that has waited longest
/// for a whole message.
pub(crate) async fn serve(listener: TcpListener, connections_max: usize, reply: Reply) {
    let places = Arc::new(Semaphore::new(connections_max.max(1)));
    let waiting = Arc::new(Waiting::default());
    let mut connections = JoinSet::new();
    let mut warned: Option<Instant> = None;
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(place) = take_place(&places, &waiting).await else {
                    return;
                };
                let (reply, waiting) = (Arc::clone(&reply), Arc::clone(&waiting));
                connections.spawn(async move {
                    if let Err(error) = converse(stream, peer, &reply, &waiting).await {
                        tracing::debug!(%peer, %error, "dns connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                    tracing::warn!(%error, "dns cannot accept a connection");
                    warned = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A free place, if need be of a connection that waits.
async fn take_place(places: &Arc<Semaphore>, waiting: &Waiting) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Some(place);
    }
    let place = Arc::clone(places).acquire_owned();
    tokio::pin!(place);
    while !waiting.evict() {
        // All are being answered: one ends, or waits again.
        tokio::select! {
            place = &mut place => return place.ok(),
            () = waiting.arrived.notified() => {}
        }
    }
    place.await.ok()
}

/// The connections that wait for a message, in the order in which they began to.
#[derive(Default)]
struct Waiting {
    queue: Mutex<Queue>,
    /// A connection began to wait.
    arrived: Notify,
}

#[derive(Default)]
struct Queue {
    next: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
}

impl Waiting {
    /// Puts a connection at the end; it is out again when the place is dropped.
    fn enter(&self, leave: &Arc<Notify>) -> Waits<'_> {
        let mut queue = self.lock();
        let number = queue.next;
        queue.next += 1;
        queue.connections.insert(number, Arc::clone(leave));
        drop(queue);
        self.arrived.notify_one();
        Waits {
            waiting: self,
            number,
        }
    }

    /// Ends the connection that has waited longest; false if none waits.
    fn evict(&self) -> bool {
        let first = self.lock().connections.pop_first();
        first.map(|(_, leave)| leave.notify_one()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No panic can leave it half-changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waits<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.waiting.lock().connections.remove(&self.number);
    }
}

async fn converse(
    mut stream: TcpStream,
    peer: SocketAddr,
    reply: &Reply,
    waiting: &Waiting,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let leave = Arc::new(Notify::new());
    loop {
        let waits = waiting.enter(&leave);
        let message = tokio::select! {
            biased;
            message = within(IDLE_MAX, read(&mut stream)) => message?,
            () = leave.notified() => return Ok(()),
        };
        drop(waits);
        let Some(message) = message else {
            return Ok(());
        };
        let Some(answer) = reply(message, peer).await else {
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

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn ask(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(&[0, 1, 7]).await?;
        let mut frame = [0; 3];
        stream.read_exact(&mut frame).await?;
        Ok(frame[2])
    }

    async fn served(connections_max: usize) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reply: Reply = Arc::new(|message, _| Box::pin(async { Some(message) }));
        (
            address,
            tokio::spawn(serve(listener, connections_max, reply)),
        )
    }

    /// Waits for the end of a connection that nothing is read from.
    async fn ended(stream: &mut TcpStream) {
        let mut rest = [0];
        let read = within(PATIENCE, stream.read(&mut rest)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }

    #[tokio::test]
    async fn a_new_client_takes_the_place_of_the_one_that_waited_longest() {
        const PLACES: usize = 4;
        let (address, server) = served(PLACES).await;
        let mut connections = Vec::new();
        for _ in 0..PLACES {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(within(PATIENCE, ask(&mut stream)).await.unwrap(), 7);
            connections.push(stream);
        }
        // The first one speaks again: the second has waited longest now.
        assert_eq!(within(PATIENCE, ask(&mut connections[0])).await.unwrap(), 7);
        let mut late = TcpStream::connect(address).await.unwrap();
        assert_eq!(within(PATIENCE, ask(&mut late)).await.unwrap(), 7);
        ended(&mut connections[1]).await;
        for at in [0, 2, 3] {
            assert_eq!(
                within(PATIENCE, ask(&mut connections[at])).await.unwrap(),
                7,
                "{at}"
            );
        }
        server.abort();
    }

    #[tokio::test]
    async fn half_a_message_does_not_hold_a_place() {
        let (address, server) = served(2).await;
        let mut slow = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[0, 9, 1]).await.unwrap();
            slow.push(stream);
        }
        let mut quick = TcpStream::connect(address).await.unwrap();
        assert_eq!(within(PATIENCE, ask(&mut quick)).await.unwrap(), 7);
        for stream in slow.iter_mut().take(18) {
            ended(stream).await;
        }
        server.abort();
    }
}
