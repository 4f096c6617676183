//! Servers that behave well or badly, as told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::client::{Message, read_message};

/// What a server does with a request that it has read whole.
#[derive(Clone)]
pub(crate) enum Behavior {
    /// Answers with its name.
    Name,
    /// Answers with the head of the request as it came.
    Head,
    /// Answers with the body of the request.
    Echo,
    /// Waits for a permit, then answers with its name.
    Held,
    /// Sends the first half of an answer, waits for a permit, and sends the rest.
    Halves,
    /// Answers the first request of a connection, and closes it when it has read the second.
    OneThenClose,
    /// Closes the connection without an answer.
    Close,
    /// Answers with a status and its name.
    Status(u16),
    /// Never answers.
    Silent,
    /// Switches protocols and sends back what it gets.
    Upgrade,
}

pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    /// Connections accepted.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Requests read whole.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Lets held requests go on.
    pub(crate) permits: Arc<Semaphore>,
    /// Gets a permit for each request read whole.
    pub(crate) arrived: Arc<Semaphore>,
    listening: AbortHandle,
}

impl Drop for Backend {
    /// Closes the listener and all connections at once, like a killed process.
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Backend {
    pub(crate) async fn start(name: &'static str, behavior: Behavior) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let permits = Arc::new(Semaphore::new(0));
        let arrived = Arc::new(Semaphore::new(0));
        let server = Server {
            name,
            behavior,
            requests: requests.clone(),
            permits: permits.clone(),
            arrived: arrived.clone(),
        };
        let accepted = connections.clone();
        let listening = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                open.spawn(server.clone().serve(stream));
            }
        })
        .abort_handle();
        Backend {
            address,
            connections,
            requests,
            permits,
            arrived,
            listening,
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until a request has arrived that was not waited for before.
    pub(crate) async fn request_arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }
}

#[derive(Clone)]
struct Server {
    name: &'static str,
    behavior: Behavior,
    requests: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    arrived: Arc<Semaphore>,
}

impl Server {
    async fn serve(self, mut stream: TcpStream) {
        let mut rest = Vec::new();
        let mut served = 0;
        while let Some(request) = read_message(&mut stream, &mut rest).await {
            self.requests.fetch_add(1, Ordering::SeqCst);
            self.arrived.add_permits(1);
            served += 1;
            if !self.answer(&mut stream, request, served).await {
                return;
            }
        }
    }

    /// Whether the connection goes on.
    async fn answer(&self, stream: &mut TcpStream, request: Message, served: usize) -> bool {
        match self.behavior {
            Behavior::Name => respond(stream, self.name.as_bytes()).await,
            Behavior::Head => respond(stream, request.head.as_bytes()).await,
            Behavior::Echo => respond(stream, &request.body).await,
            Behavior::Held => {
                self.permits.acquire().await.unwrap().forget();
                respond(stream, self.name.as_bytes()).await
            }
            Behavior::Halves => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
                stream.write_all(head).await.unwrap();
                self.permits.acquire().await.unwrap().forget();
                stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.is_ok()
            }
            Behavior::OneThenClose if served == 1 => respond(stream, self.name.as_bytes()).await,
            Behavior::OneThenClose | Behavior::Close => false,
            Behavior::Status(status) => {
                let length = self.name.len();
                let answer = format!(
                    "HTTP/1.1 {status} Own\r\nContent-Length: {length}\r\n\r\n{}",
                    self.name
                );
                stream.write_all(answer.as_bytes()).await.is_ok()
            }
            Behavior::Silent => std::future::pending().await,
            Behavior::Upgrade => {
                let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(head).await.unwrap();
                let mut buffer = [0; 1024];
                loop {
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 || stream.write_all(&buffer[..read]).await.is_err() {
                        return false;
                    }
                }
            }
        }
    }
}

async fn respond(stream: &mut TcpStream, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(body).await.is_ok()
}
