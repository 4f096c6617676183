//! Names outside the zone: other servers are asked, one after another.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions that may wait for other servers at a time.
const WAITING_MAX: usize = 512;
/// Largest answer that is taken over UDP, bytes.
const UDP_BYTES_MAX: usize = 4096;

/// How a question came, and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What is asked of other servers.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    pub(crate) is_recursion_desired: bool,
    pub(crate) edns: Option<Edns>,
    pub(crate) transport: Transport,
}

/// The servers that know other names.
#[derive(Debug)]
pub(crate) struct Recursors {
    servers: Vec<SocketAddr>,
    patience: Duration,
    waiting: Semaphore,
}

impl Recursors {
    pub(crate) fn new(servers: Vec<SocketAddr>, patience: Duration) -> Self {
        Self {
            servers,
            patience,
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The first answer that settles it: a server that fails or is silent is passed over. None
    /// when no server settles it, or when too many questions wait already.
    pub(crate) async fn ask(&self, asked: &Asked) -> Option<Message> {
        let _place = self.waiting.try_acquire().ok()?;
        for server in &self.servers {
            let answer = timeout(self.patience, ask_one(*server, asked)).await;
            match answer {
                Ok(Ok(message)) if is_settled(&message) => return Some(message),
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(%server, %error, "a recursor does not answer"),
            }
        }
        None
    }
}

/// Whether a server knew the answer, and be it that there is none.
fn is_settled(message: &Message) -> bool {
    matches!(
        message.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

async fn ask_one(server: SocketAddr, asked: &Asked) -> std::io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = asked.is_recursion_desired;
    question.add_query(Query::query(asked.name.clone(), asked.record_type));
    if let Some(edns) = &asked.edns {
        question.set_edns(edns.clone());
    }
    let bytes = question.to_vec().map_err(std::io::Error::other)?;
    match asked.transport {
        Transport::Udp => over_udp(server, &question, &bytes).await,
        Transport::Tcp => over_tcp(server, &question, &bytes).await,
    }
}

async fn over_udp(
    server: SocketAddr,
    question: &Message,
    bytes: &[u8],
) -> std::io::Result<Message> {
    // A port of its own for each question, so that answers cannot be guessed.
    let own: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; UDP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let received = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = fitting(question, received) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    question: &Message,
    bytes: &[u8],
) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_u16(length).await?;
    stream.write_all(bytes).await?;
    let length = stream.read_u16().await?;
    let mut received = vec![0; usize::from(length)];
    stream.read_exact(&mut received).await?;
    fitting(question, &received)
        .ok_or_else(|| std::io::Error::other("the answer is to another question"))
}

/// The answer, when it is one to this question.
fn fitting(question: &Message, received: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(received).ok()?;
    let is_answer = answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id;
    let same = answer.queries.first().zip(question.queries.first());
    let is_same = same.is_some_and(|(one, other)| {
        one.name() == other.name() && one.query_type() == other.query_type()
    });
    (is_answer && is_same).then_some(answer)
}
