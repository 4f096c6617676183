//! A client that sends what it is told, byte for byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No answer takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request or an answer with a body of known length.
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The values of a header in the order of the lines.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) rest: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client {
            stream: TcpStream::connect(address).await.unwrap(),
            rest: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// `None` if the connection ends before a whole answer has come.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        read_message(&mut self.stream, &mut self.rest).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Message {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: any\r\n\r\n"))
            .await;
        self.receive().await.expect("an answer")
    }
}

/// One GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Message {
    Client::connect(address).await.get(path).await
}

/// One POST on a connection of its own.
pub(crate) async fn post(address: SocketAddr, body: &str) -> Message {
    let mut client = Client::connect(address).await;
    client
        .send(&format!(
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    client.receive().await.expect("an answer")
}

/// Reads a head, and as much body as its Content-Length says.
pub(crate) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    rest: &mut Vec<u8>,
) -> Option<Message> {
    let end = loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(rest).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(rest.drain(..end).collect()).unwrap();
    let mut message = Message {
        head,
        body: Vec::new(),
    };
    let length = message
        .header("content-length")
        .first()
        .map_or(0, |length| length.parse().unwrap());
    while rest.len() < length {
        if stream.read_buf(rest).await.ok()? == 0 {
            return None;
        }
    }
    message.body = rest.drain(..length).collect();
    Some(message)
}

/// Clients that ask again and again, each on one connection, and get every answer.
pub(crate) struct Hammer {
    is_done: Arc<AtomicBool>,
    answered: watch::Sender<usize>,
    clients: JoinSet<()>,
}

impl Hammer {
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Hammer {
        let is_done = Arc::new(AtomicBool::new(false));
        let (answered, _) = watch::channel(0);
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let (is_done, answered) = (is_done.clone(), answered.clone());
            running.spawn(async move {
                let mut client = Client::connect(address).await;
                while !is_done.load(Ordering::Acquire) {
                    assert_eq!(client.get("/").await.status(), 200);
                    answered.send_modify(|count| *count += 1);
                }
            });
        }
        Hammer {
            is_done,
            answered,
            clients: running,
        }
    }

    /// Waits for so many more answers.
    pub(crate) async fn answers(&self, more: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow() + more;
        let waited = timeout(PATIENCE, answered.wait_for(|count| *count >= wanted));
        waited.await.expect("answers in time").unwrap();
    }

    pub(crate) async fn stop(mut self) {
        self.is_done.store(true, Ordering::Release);
        let end = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.unwrap();
            }
        };
        timeout(PATIENCE, end).await.expect("an end in time");
    }
}
