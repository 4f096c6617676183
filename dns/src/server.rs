//! The UDP and TCP front: sockets, headers, EDNS. Nothing else names the DNS server library.
//!
//! The library drives UDP. TCP connections are accepted by [`crate::tcp`], because the library has
//! no bound on their number; both go through [`Front::respond`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::zone_handler::{MessageResponseBuilder, Queries};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::answer::{Answer, Context, Question, Room, answer};
use crate::config::{Config, Rules};
use crate::error::Error;
use crate::recurse::{Asked, Recursors, Transport};
use crate::tcp;
use crate::view::View;

/// Most UDP sockets per address; the system spreads clients over them.
const UDP_SOCKETS_MAX: usize = 16;
/// Room for bursts in front of one UDP socket, in bytes; the system may grant less.
const UDP_BUFFER_BYTES: usize = 1 << 20;
/// How many ports are tried when the system chooses one that must be free for both transports.
const PORT_TRIES_MAX: usize = 32;
/// Host names outside the zone that are looked up for one answer.
const FOLLOWED_NAMES_MAX: usize = 5;
/// Records that are taken of each of them.
const FOLLOWED_RECORDS_MAX: usize = 5;

/// The question section of replies that repeat no question.
static NO_QUESTIONS: LazyLock<Queries> = LazyLock::new(|| {
    Queries::read(&mut BinDecoder::new(&[]), 0).expect("reading no questions needs no bytes")
});

/// The DNS part: bound sockets that start to answer with [`Dns::run`].
#[derive(Debug)]
pub struct Dns {
    sockets: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    tcp_connections_max: usize,
    front: Arc<Front>,
}

/// Gives the running part the view it answers from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    front: Arc<Front>,
}

impl Handle {
    /// Replaces the view; questions in flight finish with the one they started with.
    ///
    /// Before the first view every question is answered SERVFAIL, because "no such name" would be a
    /// guess.
    pub fn set_view(&self, view: View) {
        self.front.view.store(Some(Arc::new(view)));
    }

    /// What is answered over TCP to a question for records of a type, such as `SRV`. Other servers
    /// are not asked.
    ///
    /// # Errors
    /// [`Error::Question`] if one of both is none.
    pub fn ask(&self, name: &str, record_type: &str) -> Result<Told, Error> {
        let wrong = |what, text: &str| Error::Question {
            what,
            text: text.to_owned(),
        };
        let mut asked = Name::from_utf8(name).map_err(|_| wrong("DNS name", name))?;
        asked.set_fqdn(true);
        let upper = record_type.to_ascii_uppercase();
        let parsed = upper.parse::<RecordType>();
        let record_type = parsed.map_err(|_| wrong("type of record", record_type))?;
        let question = Question {
            name: &asked,
            record_type,
        };
        let answer = self.front.answer(question, Room::tcp());
        let code = answer
            .as_ref()
            .map_or(ResponseCode::ServFail, |own| own.code);
        let lines =
            |records: &[Record]| -> Vec<String> { records.iter().map(Record::to_string).collect() };
        Ok(Told {
            code: format!("{code:?}").to_ascii_uppercase(),
            answers: answer
                .as_ref()
                .map_or_else(Vec::new, |own| lines(&own.answers)),
            additionals: answer.map_or_else(Vec::new, |own| lines(&own.additionals)),
        })
    }
}

/// An answer as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How it was answered, as resolvers print it: `NOERROR`, `NXDOMAIN` …
    pub code: String,
    /// Records as lines of a zone file, in the order in which they were answered; may be empty.
    pub answers: Vec<String>,
    /// Records that save the client another question; may be empty.
    pub additionals: Vec<String>,
}

impl Dns {
    /// Binds every listen address for UDP and TCP.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] and [`Error::Bind`] name the address; [`Error::NoAddress`] if there
    /// is none.
    // Registering a socket needs the runtime, which only an async function proves to be there.
    #[expect(
        clippy::unused_async,
        reason = "sockets can be registered only inside the runtime"
    )]
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let mut dns = Self {
            sockets: Vec::new(),
            listeners: Vec::new(),
            addresses: Vec::new(),
            tcp_connections_max: config.tcp_connections_max,
            front: Arc::new(Front::new(
                config.rules,
                Recursors::new(config.recursors, config.recursor_timeout),
            )),
        };
        for address in &config.listen {
            let bound = Bound::new(*address)?;
            dns.addresses.push(bound.address);
            dns.sockets.extend(bound.sockets);
            dns.listeners.push(bound.listener);
        }
        if dns.addresses.is_empty() {
            return Err(Error::NoAddress);
        }
        Ok(dns)
    }

    /// The first address that is listened on, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses that are listened on, in configured order, with their real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle to set the view with.
    pub fn handle(&self) -> Handle {
        Handle {
            front: Arc::clone(&self.front),
        }
    }

    /// Answers until `shutdown` completes.
    ///
    /// # Errors
    /// [`Error::Stopped`] if a listener ends on its own.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let mut server = Server::new(Udp {
            front: Arc::clone(&self.front),
        });
        for socket in self.sockets {
            server.register_socket(socket);
        }
        let mut connections = JoinSet::new();
        for listener in self.listeners {
            let front = Arc::clone(&self.front);
            let reply: tcp::Reply = Arc::new(move |message, peer| {
                let front = Arc::clone(&front);
                Box::pin(async move { front.reply(message, peer).await })
            });
            connections.spawn(tcp::serve(listener, self.tcp_connections_max, reply));
        }
        tokio::select! {
            () = shutdown => {}
            ended = server.block_until_done() => {
                let reason = ended.err().map_or_else(|| "no socket left".to_owned(), |error| error.to_string());
                return Err(Error::Stopped { reason });
            }
            Some(ended) = connections.join_next() => {
                let reason = ended.err().map_or_else(|| "TCP".to_owned(), |error| error.to_string());
                return Err(Error::Stopped { reason });
            }
        }
        connections.shutdown().await;
        server
            .shutdown_gracefully()
            .await
            .map_err(|error| Error::Stopped {
                reason: error.to_string(),
            })
    }
}

/// The sockets of one listen address.
struct Bound {
    address: SocketAddr,
    listener: TcpListener,
    sockets: Vec<UdpSocket>,
}

impl Bound {
    /// Binds TCP first: unlike the UDP sockets, which share their port, it notices another owner.
    fn new(wanted: SocketAddr) -> Result<Self, Error> {
        let mut tries = if wanted.port() == 0 {
            PORT_TRIES_MAX
        } else {
            1
        };
        loop {
            tries -= 1;
            let listener = bind_tcp(wanted).map_err(|source| bind_error(wanted, "tcp", source))?;
            let address = listener
                .local_addr()
                .map_err(|source| bind_error(wanted, "tcp", source))?;
            match bind_udp(address) {
                Ok(sockets) => {
                    return Ok(Self {
                        address,
                        listener,
                        sockets,
                    });
                }
                Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                Err(source) => return Err(bind_error(address, "udp", source)),
            }
        }
    }
}

fn bind_error(address: SocketAddr, transport: &'static str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::AddrInUse => Error::AddressInUse {
            address,
            transport,
            source,
        },
        _ => Error::Bind {
            address,
            transport,
            source,
        },
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 1_024;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// One socket per core on a shared port. An exclusive socket comes and goes first, since a shared
/// port would hide another process of the same user that also shares it.
fn bind_udp(address: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    drop(udp_socket(address, Port::Exclusive)?);
    let count = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(UDP_SOCKETS_MAX);
    (0..count)
        .map(|_| UdpSocket::from_std(udp_socket(address, Port::Shared)?.into()))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Exclusive,
    Shared,
}

fn udp_socket(address: SocketAddr, port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_port(port == Port::Shared)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What both transports share.
struct Front {
    view: ArcSwapOption<View>,
    rules: Rules,
    recursors: Recursors,
    seed: AtomicU64,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// A reply before it is encoded.
struct Response {
    metadata: Metadata,
    answer: Option<Answer>,
    edns: Option<Edns>,
    repeats_question: bool,
}

impl Response {
    fn error(request: &Metadata, code: ResponseCode) -> Self {
        let mut metadata = Metadata::response_from_request(request);
        metadata.response_code = code;
        Self {
            metadata,
            answer: None,
            edns: None,
            repeats_question: false,
        }
    }
}

impl Front {
    fn new(rules: Rules, recursors: Recursors) -> Self {
        let start = unix_nanos();
        Self {
            view: ArcSwapOption::empty(),
            rules,
            recursors,
            seed: AtomicU64::new(start),
        }
    }

    fn respond(&self, request: &Request) -> Response {
        if request.metadata.op_code != OpCode::Query {
            return Response::error(&request.metadata, ResponseCode::NotImp);
        }
        let [query] = request.queries.queries() else {
            return Response::error(&request.metadata, ResponseCode::FormErr);
        };
        let mut response = Response::error(&request.metadata, ResponseCode::ServFail);
        response.repeats_question = true;
        response.edns = request.edns.as_ref().map(|edns| echo(edns, |_| 0));
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            response.metadata.response_code = ResponseCode::BADVERS;
            return response;
        }
        let room = match request.protocol() {
            Protocol::Udp => Room::udp(request.edns.as_ref().map(Edns::max_payload), &self.rules),
            _ => Room::tcp(),
        };
        let original = query.original();
        let question = Question {
            name: original.name(),
            record_type: original.query_type(),
        };
        let Some(answer) = self.answer(question, room) else {
            return response;
        };
        response.metadata.response_code = answer.code;
        response.metadata.authoritative = answer.authoritative;
        response.metadata.truncation =
            answer.shortened && self.rules.enable_truncate && request.protocol() == Protocol::Udp;
        if answer.code == ResponseCode::Refused {
            response.edns = None;
        } else if answer.code == ResponseCode::NoError && self.is_of_subnet(request, question.name)
        {
            response.edns = request
                .edns
                .as_ref()
                .map(|edns| echo(edns, |prefix| prefix));
        }
        response.answer = Some(answer);
        response
    }

    /// Whether an answer is for the subnet of the asker, if it says one: that of a prepared query
    /// is, as the original says.
    fn is_of_subnet(&self, request: &Request, name: &Name) -> bool {
        let edns = request.edns.as_ref();
        edns.is_some_and(|edns| edns.option(EdnsCode::Subnet).is_some())
            && self
                .view
                .load()
                .as_ref()
                .is_some_and(|view| view.is_query(name))
    }

    /// The answer from the view; none while there is no view.
    fn answer(&self, question: Question<'_>, room: Room) -> Option<Answer> {
        let view = self.view.load();
        let cx = Context {
            rules: &self.rules,
            room,
            seed: self.seed.fetch_add(1, Ordering::Relaxed),
            now: unix_seconds(),
        };
        Some(answer(view.as_deref()?, question, &cx))
    }

    /// As [`Front::respond`], with what only other servers know.
    async fn respond_with_others(&self, request: &Request) -> Response {
        let mut response = self.respond(request);
        if self.recursors.is_empty() {
            return response;
        }
        response.metadata.recursion_available = true;
        let (Some(answer), [query]) = (&mut response.answer, request.queries.queries()) else {
            return response;
        };
        let asked = Asked {
            name: Name::from(query.name()),
            record_type: query.query_type(),
            is_recursion_desired: request.metadata.recursion_desired,
            edns: request.edns.clone(),
            transport: match request.protocol() {
                Protocol::Udp => Transport::Udp,
                _ => Transport::Tcp,
            },
        };
        if answer.code == ResponseCode::Refused {
            return self.forward(response, &asked).await;
        }
        let view = self.view.load_full();
        if let Some(view) = view {
            self.follow(&view, answer, &asked).await;
        }
        response
    }

    /// The answer of another server as it is.
    async fn forward(&self, response: Response, asked: &Asked) -> Response {
        let Some(message) = self.recursors.ask(asked).await else {
            let mut metadata = response.metadata;
            metadata.response_code = ResponseCode::ServFail;
            metadata.authoritative = false;
            return Response {
                metadata,
                answer: None,
                ..response
            };
        };
        let mut metadata = response.metadata;
        metadata.response_code = message.metadata.response_code;
        metadata.authoritative = false;
        metadata.truncation = message.metadata.truncation;
        let answer = Answer {
            code: message.metadata.response_code,
            authoritative: false,
            shortened: false,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
        };
        Response {
            metadata,
            answer: Some(answer),
            edns: message.edns,
            ..response
        }
    }

    /// Adds the addresses of host names outside the zone that an answer leads to.
    async fn follow(&self, view: &View, answer: &mut Answer, asked: &Asked) {
        let outside: Vec<Outside> = outside(view, answer);
        for Outside { name, ttl } in outside {
            let record_type = match asked.record_type {
                RecordType::AAAA => RecordType::AAAA,
                _ => RecordType::A,
            };
            let asked = Asked {
                name,
                record_type,
                edns: None,
                ..asked.clone()
            };
            let Some(message) = self.recursors.ask(&asked).await else {
                continue;
            };
            let found = message.answers.into_iter().take(FOLLOWED_RECORDS_MAX);
            let found = found.map(|mut record| {
                record.ttl = ttl.unwrap_or(record.ttl);
                record
            });
            if ttl.is_some() && is_target(answer, &asked.name) {
                answer.additionals.extend(found);
            } else {
                answer.answers.extend(found);
            }
        }
    }

    /// The reply to a message that came over TCP, encoded.
    async fn reply(&self, message: Vec<u8>, peer: SocketAddr) -> Option<Vec<u8>> {
        let header = Header::read(&mut BinDecoder::new(&message)).ok()?;
        if header.metadata.message_type == MessageType::Response {
            return None;
        }
        let Ok(request) = Request::from_bytes(message, peer, Protocol::Tcp) else {
            let response = Response::error(&header.metadata, ResponseCode::FormErr);
            return encode(&response, &NO_QUESTIONS);
        };
        let response = self.respond_with_others(&request).await;
        encode(
            &response,
            if response.repeats_question {
                &request.queries
            } else {
                &NO_QUESTIONS
            },
        )
    }
}

/// A host name outside the zone that an answer leads to.
struct Outside {
    name: Name,
    /// TTL that its addresses get; none to keep their own.
    ttl: Option<u32>,
}

/// The host names outside the zone that an answer leads to. Addresses of a service's host name get
/// the TTL of the service, those of a node's keep their own.
fn outside(view: &View, answer: &Answer) -> Vec<Outside> {
    let mut found: Vec<Outside> = Vec::new();
    for record in &answer.answers {
        let name = match &record.data {
            RData::CNAME(alias) => &alias.0,
            RData::SRV(target) => &target.target,
            _ => continue,
        };
        let is_known = found.iter().any(|outside| outside.name == *name);
        if is_known || found.len() == FOLLOWED_NAMES_MAX || !view.is_outside(name) {
            continue;
        }
        let keeps = matches!(record.data, RData::CNAME(_)) && view.is_node(&record.name);
        found.push(Outside {
            name: name.clone(),
            ttl: (!keeps).then_some(record.ttl),
        });
    }
    found
}

/// Whether the name is the target of an SRV record of the answer.
fn is_target(answer: &Answer, name: &Name) -> bool {
    let mut records = answer.answers.iter();
    records.any(|record| matches!(&record.data, RData::SRV(target) if target.target == *name))
}

/// Encodes a reply for TCP.
fn encode(response: &Response, queries: &Queries) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::MAX);
    let (answers, authorities, additionals) = sections(response);
    let message = MessageResponseBuilder::new(queries, response.edns.as_ref()).build(
        response.metadata,
        answers,
        authorities,
        [],
        additionals,
    );
    match message.destructive_emit(&mut encoder) {
        Ok(_) => Some(bytes),
        Err(error) => {
            tracing::warn!(%error, "dns cannot encode an answer");
            None
        }
    }
}

fn sections(response: &Response) -> (&[Record], &[Record], &[Record]) {
    response.answer.as_ref().map_or((&[], &[], &[]), |answer| {
        (&answer.answers, &answer.authorities, &answer.additionals)
    })
}

/// The OPT record of a reply: the client's size, version 0, no flags, and its subnet with a scope
/// by its prefix; 0 says that the answer does not depend on it.
fn echo(request: &Edns, scope: impl FnOnce(u8) -> u8) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(request.max_payload());
    if let Some(EdnsOption::Subnet(subnet)) = request.option(EdnsCode::Subnet) {
        let prefix = subnet.source_prefix();
        let subnet = ClientSubnet::new(subnet.addr(), prefix, scope(prefix));
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    edns
}

fn unix_seconds() -> u32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Serial numbers wrap around (RFC 1982).
    (since.as_secs() & u64::from(u32::MAX)) as u32
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since
        .as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(since.subsec_nanos()))
}

/// The library's view of the front.
struct Udp {
    front: Arc<Front>,
}

#[async_trait]
impl RequestHandler for Udp {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responder: R,
    ) -> ResponseInfo {
        let response = self.front.respond_with_others(request).await;
        let queries = if response.repeats_question {
            &request.queries
        } else {
            &NO_QUESTIONS
        };
        let (answers, authorities, additionals) = sections(&response);
        let message = MessageResponseBuilder::new(queries, response.edns.as_ref()).build(
            response.metadata,
            answers,
            authorities,
            [],
            additionals,
        );
        match responder.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "dns cannot send an answer");
                Header {
                    metadata: response.metadata,
                    counts: HeaderCounts::default(),
                }
                .into()
            }
        }
    }
}
