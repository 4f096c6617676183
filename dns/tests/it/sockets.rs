//! A server on real sockets, asked over UDP and TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dns::{Config, Dns, Error, Handle, Rules, View};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;

use crate::catalog::Scenario;

/// Longer than any answer takes; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    handle: Handle,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn start(rules: Rules) -> Self {
        Self::start_with(rules, Vec::new()).await
    }

    async fn start_with(rules: Rules, recursors: Vec<SocketAddr>) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        Self::bind(listen, rules, recursors, PATIENCE).await
    }

    /// One with an instance of `many`, that waits long for its recursors.
    async fn start_patient(recursors: Vec<SocketAddr>, patience: Duration) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let running = Self::bind(listen, Rules::default(), recursors, patience).await;
        running.handle.set_view(View::new(&many(1).facts).unwrap());
        running
    }

    async fn bind(
        listen: SocketAddr,
        rules: Rules,
        recursors: Vec<SocketAddr>,
        recursor_timeout: Duration,
    ) -> Self {
        let dns = Dns::bind(Config {
            listen: vec![listen],
            tcp_connections_max: Config::TCP_CONNECTIONS_MAX,
            rules,
            recursors,
            recursor_timeout,
        })
        .await
        .unwrap();
        let (address, handle) = (dns.local_addr(), dns.handle());
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(dns.run(async {
            stopped.await.ok();
        }));
        Self {
            address,
            handle,
            stop,
            ended,
        }
    }

    /// A server with `instances` instances of `many`.
    pub(crate) async fn with_many(instances: usize, rules: Rules) -> Self {
        let running = Self::start(rules).await;
        running
            .handle
            .set_view(View::new(&many(instances).facts).unwrap());
        running
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    async fn udp_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(bytes, self.address).await.unwrap();
        let mut buffer = vec![0; 65_536];
        let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        buffer.truncate(received.unwrap().unwrap());
        buffer
    }

    pub(crate) async fn udp(&self, message: &Message) -> Message {
        Message::from_vec(&self.udp_bytes(&message.to_vec().unwrap()).await).unwrap()
    }

    pub(crate) async fn tcp(&self, message: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        Message::from_vec(&tcp_exchange(&mut stream, &message.to_vec().unwrap()).await).unwrap()
    }
}

async fn tcp_exchange(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut frame = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    stream.write_all(&frame).await.unwrap();
    let read = async {
        let mut reply = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut reply).await.unwrap();
        reply
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

fn many(instances: usize) -> Scenario {
    let mut scenario = Scenario::new();
    for at in 0..instances {
        let (high, low) = (at / 256, at % 256);
        scenario.read(&format!("node m{at} 10.0.{high}.{low}"));
        scenario.read(&format!("instance many m{at} :{}", 9_000 + at % 1_000));
    }
    scenario
}

pub(crate) fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.edns = Some(edns);
    message
}

#[tokio::test]
async fn udp_and_tcp_answer_on_one_port() {
    let server = Running::with_many(10, Rules::default()).await;
    let asked = question("Many.Service.Consul.", RecordType::A);
    let udp = server.udp(&asked).await;
    assert_eq!(udp.answers.len(), 3);
    assert!(udp.metadata.authoritative && udp.metadata.recursion_desired);
    assert!(!udp.metadata.recursion_available && !udp.metadata.truncation);
    assert_eq!(
        udp.queries[0].name().to_string(),
        "Many.Service.Consul.",
        "case is kept"
    );
    assert_eq!(server.tcp(&asked).await.answers.len(), 10);
    let mut plain = asked.clone();
    plain.metadata.recursion_desired = false;
    let reply = server.udp(&plain).await;
    assert_eq!(reply.answers.len(), 3);
    assert!(!reply.metadata.recursion_desired, "nobody wants recursion");
    server.stop().await;
}

#[tokio::test]
async fn a_question_without_a_socket_gets_the_answer_of_tcp_as_text() {
    let server = Running::with_many(3, Rules::default()).await;
    let name = "many.service.consul";
    let asked = question(&format!("{name}."), RecordType::SRV);
    let over_tcp = server.tcp(&asked).await;
    let told = server.handle.ask(name, "srv").unwrap();
    assert_eq!(told.code, "NOERROR");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let lines = |records: &[Record]| sorted(records.iter().map(Record::to_string).collect());
    // Each answer has an order of its own.
    assert_eq!(sorted(told.answers), lines(&over_tcp.answers));
    assert_eq!(told.additionals.len(), over_tcp.additionals.len());
    assert_eq!(
        server.handle.ask("no.service.consul", "A").unwrap().code,
        "NXDOMAIN"
    );
    for (name, record_type) in [("a..b", "A"), ("many.service.consul", "LOUD")] {
        let refused = server.handle.ask(name, record_type);
        assert!(
            matches!(refused, Err(Error::Question { .. })),
            "{refused:?}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn shortened_answer_sends_the_client_to_tcp_if_enabled() {
    let rules = Rules {
        enable_truncate: true,
        ..Rules::default()
    };
    let server = Running::with_many(300, rules).await;
    let asked = question("many.service.consul.", RecordType::SRV);
    let plain = server.udp(&asked).await;
    assert!(plain.metadata.truncation);
    assert_eq!((plain.answers.len(), plain.additionals.len()), (3, 3));
    let bytes = server
        .udp_bytes(&with_edns(asked.clone(), 1_232).to_vec().unwrap())
        .await;
    assert!(bytes.len() <= 1_232, "{} bytes", bytes.len());
    let larger = Message::from_vec(&bytes).unwrap();
    assert!(larger.metadata.truncation);
    // Names are counted without compression before they are encoded, so there is always room to
    // spare. Which instances are drawn, and so how long their names are, differs from run to run.
    assert!(
        (14..=16).contains(&larger.answers.len()),
        "{} answers",
        larger.answers.len()
    );
    assert_eq!(larger.answers.len(), larger.additionals.len());
    let all = server.tcp(&asked).await;
    assert!(!all.metadata.truncation);
    assert_eq!((all.answers.len(), all.additionals.len()), (300, 300));
    server.stop().await;
}

#[tokio::test]
async fn edns_is_echoed_and_never_invented() {
    let server = Running::with_many(10, Rules::default()).await;
    let asked = question("many.service.consul.", RecordType::SRV);
    assert!(server.udp(&asked).await.edns.is_none());
    for payload in [1_232, 4_096] {
        let reply = server.udp(&with_edns(asked.clone(), payload)).await;
        assert_eq!((reply.answers.len(), reply.additionals.len()), (10, 10));
        assert_eq!(reply.edns.unwrap().max_payload(), payload);
    }
    let reply = server.udp(&with_edns(asked.clone(), 512)).await;
    assert_eq!((reply.answers.len(), reply.additionals.len()), (3, 3));

    let mut subnet = with_edns(asked.clone(), 1_232);
    let network = ClientSubnet::new("203.0.113.0".parse().unwrap(), 24, 0);
    subnet
        .edns
        .as_mut()
        .unwrap()
        .options_mut()
        .insert(EdnsOption::Subnet(network));
    let reply = server.udp(&subnet).await;
    let echoed = reply.edns.as_ref().unwrap().option(EdnsCode::Subnet);
    assert_eq!(echoed, Some(&EdnsOption::Subnet(network)));
    // That of a prepared query is for the subnet, an error is for all.
    let mut scenario = many(10);
    assert!(scenario.read("query q1 many"));
    server.handle.set_view(View::new(&scenario.facts).unwrap());
    for (name, scope) in [("q1.query.consul.", 24), ("none.query.consul.", 0)] {
        let mut asked = subnet.clone();
        asked.queries = question(name, RecordType::A).queries;
        let reply = server.udp(&asked).await;
        let echoed = reply.edns.as_ref().unwrap().option(EdnsCode::Subnet);
        let network = ClientSubnet::new("203.0.113.0".parse().unwrap(), 24, scope);
        assert_eq!(echoed, Some(&EdnsOption::Subnet(network)), "{name}");
    }

    let mut newer = with_edns(asked, 1_232);
    newer.edns.as_mut().unwrap().set_version(1);
    let reply = server.udp(&newer).await;
    assert_eq!(u16::from(reply.edns.unwrap().rcode_high()), 1, "BADVERS");
    server.stop().await;
}

#[tokio::test]
async fn largest_answers_fit_a_message() {
    let server = Running::with_many(3_000, Rules::default()).await;
    for record_type in [RecordType::A, RecordType::SRV, RecordType::ANY] {
        let asked = question("many.service.consul.", record_type);
        let reply = server.tcp(&asked).await;
        assert!(
            !reply.metadata.truncation,
            "the sections were fitted before they were encoded"
        );
        assert!(
            reply.answers.len() > 500,
            "{record_type}: {}",
            reply.answers.len()
        );
        let reply = server
            .udp_bytes(&with_edns(asked, 65_535).to_vec().unwrap())
            .await;
        assert!(Message::from_vec(&reply).unwrap().answers.len() > 500);
    }
    server.stop().await;
}

#[tokio::test]
async fn questions_before_the_first_view_fail_softly() {
    let server = Running::start(Rules::default()).await;
    let asked = question("many.service.consul.", RecordType::A);
    assert_eq!(
        server.udp(&asked).await.metadata.response_code,
        ResponseCode::ServFail
    );
    server.handle.set_view(View::new(&many(1).facts).unwrap());
    assert_eq!(server.udp(&asked).await.answers.len(), 1);
    server.handle.set_view(View::new(&many(0).facts).unwrap());
    assert_eq!(
        server.udp(&asked).await.metadata.response_code,
        ResponseCode::NXDomain
    );
    server.stop().await;
}

#[tokio::test]
async fn names_outside_the_zone_are_refused() {
    let server = Running::with_many(1, Rules::default()).await;
    let reply = server
        .udp(&with_edns(question("example.org.", RecordType::A), 1_232))
        .await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    assert!(!reply.metadata.authoritative && reply.edns.is_none() && reply.authorities.is_empty());
    server.stop().await;
}

/// A server that answers every A question with 203.0.113.5 and a TTL of 60, except for names that
/// start with `nx`, which it does not know, and `bad`, where it fails.
async fn recursor() -> SocketAddr {
    let (address, socket, listener) = of_both_kinds().await;
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let reply = recursed(&buffer[..length]);
            socket.send_to(&reply, peer).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut asked = vec![0; usize::from(length)];
            stream.read_exact(&mut asked).await.unwrap();
            let reply = recursed(&asked);
            stream
                .write_u16(reply.len().try_into().unwrap())
                .await
                .unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    address
}

fn recursed(asked: &[u8]) -> Vec<u8> {
    let asked = Message::from_vec(asked).unwrap();
    let name = asked.queries[0].name().clone();
    let mut reply = Message::response(asked.metadata.id, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.add_queries(asked.queries.clone());
    let text = name.to_string();
    reply.metadata.response_code = if text.starts_with("nx") {
        ResponseCode::NXDomain
    } else if text.starts_with("bad") {
        ResponseCode::ServFail
    } else {
        ResponseCode::NoError
    };
    if reply.metadata.response_code == ResponseCode::NoError
        && asked.queries[0].query_type() == RecordType::A
    {
        let data = RData::A("203.0.113.5".parse().unwrap());
        reply.add_answer(Record::from_rdata(name, 60, data));
    }
    reply.to_vec().unwrap()
}

#[tokio::test]
async fn names_outside_the_zone_are_asked_elsewhere() {
    // Nobody is there.
    let failing = "127.0.0.79:1".parse().unwrap();
    let server = Running::start_with(Rules::default(), vec![failing, recursor().await]).await;
    let mut scenario = Scenario::new();
    for line in [
        "node n1 192.0.2.11",
        "node nhost host.example.com",
        "instance ext n1 ext.example.com:443",
        "instance web n1 192.0.2.21:80",
        "rule service_ttl.ext=9",
    ] {
        assert!(scenario.read(line));
    }
    server.handle.set_view(View::new(&scenario.facts).unwrap());
    for (name, record_type, code, expected) in [
        (
            "example.org.",
            RecordType::A,
            ResponseCode::NoError,
            "A 203.0.113.5 60",
        ),
        ("nx.example.org.", RecordType::A, ResponseCode::NXDomain, ""),
        (
            "bad.example.org.",
            RecordType::A,
            ResponseCode::ServFail,
            "",
        ),
        (
            "250.2.0.192.in-addr.arpa.",
            RecordType::PTR,
            ResponseCode::NoError,
            "",
        ),
        (
            "nhost.node.consul.",
            RecordType::A,
            ResponseCode::NoError,
            "CNAME host.example.com. 0, A 203.0.113.5 60",
        ),
        (
            "ext.service.consul.",
            RecordType::A,
            ResponseCode::NoError,
            "CNAME ext.example.com. 0, A 203.0.113.5 0",
        ),
        (
            "web.service.consul.",
            RecordType::A,
            ResponseCode::NoError,
            "A 192.0.2.21 0",
        ),
    ] {
        let asked = question(name, record_type);
        for reply in [server.udp(&asked).await, server.tcp(&asked).await] {
            let said: Vec<String> = reply
                .answers
                .iter()
                .map(|record| format!("{} {} {}", record.record_type(), record.data, record.ttl))
                .collect();
            assert_eq!(said.join(", "), expected, "{name}");
            assert_eq!(reply.metadata.response_code, code, "{name}");
            assert!(reply.metadata.recursion_available, "{name}");
            let is_own = name.ends_with("consul.");
            assert_eq!(reply.metadata.authoritative, is_own, "{name}");
        }
    }
    let targets = server
        .udp(&question("ext.service.consul.", RecordType::SRV))
        .await;
    assert_eq!(targets.answers.len(), 1);
    assert_eq!(
        targets.additionals[0].data,
        RData::A("203.0.113.5".parse().unwrap())
    );
    server.stop().await;
}

/// A port of both kinds: the one of UDP may be another's of TCP.
async fn of_both_kinds() -> (SocketAddr, UdpSocket, tokio::net::TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => return (address, socket, listener),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
        }
    }
}

/// A server that notes who asks, over UDP and TCP, and answers with a code or not at all.
async fn noting(code: Option<ResponseCode>) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (address, socket, listener) = of_both_kinds().await;
    let reply = move |bytes: &[u8]| {
        let asked = Message::from_vec(bytes).unwrap();
        let mut reply = Message::response(asked.metadata.id, OpCode::Query);
        reply.add_queries(asked.queries);
        reply.metadata.response_code = code?;
        Some(reply.to_vec().unwrap())
    };
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            if let Some(reply) = reply(&buffer[..length]) {
                socket.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let length = stream.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            if let Some(reply) = reply(&bytes) {
                let length = u16::try_from(reply.len()).unwrap();
                stream.write_u16(length).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
            open.push(stream);
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_recursor_that_fails_is_passed_over_and_one_that_knows_is_the_last() {
    use ResponseCode::{NXDomain, NoError, Refused, ServFail};
    for (codes, expected, asked) in [
        // Silence, failure and refusal lead on; an answer ends it, and be it that there is none.
        (
            vec![None, Some(ServFail), Some(Refused), Some(NoError)],
            NoError,
            vec![1, 1, 1, 1],
        ),
        (vec![Some(NXDomain), Some(NoError)], NXDomain, vec![1, 0]),
        (vec![Some(NoError), None], NoError, vec![1, 0]),
        (vec![Some(ServFail), None], ServFail, vec![1, 1]),
    ] {
        let (mut addresses, mut counts) = (Vec::new(), Vec::new());
        for code in &codes {
            let (address, count) = noting(*code).await;
            addresses.push(address);
            counts.push(count);
        }
        // Long enough for those who answer, however busy the machine is.
        let server = Running::start_patient(addresses, Duration::from_secs(3)).await;
        let asked_for = question("example.org.", RecordType::A);
        let counted = || -> Vec<usize> {
            let counts = counts.iter();
            counts
                .map(|count| count.swap(0, Ordering::SeqCst))
                .collect()
        };
        let (udp, tcp) = tokio::join!(server.udp(&asked_for), server.tcp(&asked_for));
        for reply in [udp, tcp] {
            assert_eq!(reply.metadata.response_code, expected, "{codes:?}");
            assert!(reply.metadata.recursion_available, "{codes:?}");
        }
        let twice: Vec<usize> = asked.iter().map(|count| 2 * count).collect();
        assert_eq!(counted(), twice, "{codes:?}");
        server.stop().await;
    }
}

/// Questions that wait for silent recursors have a bound: what comes beyond it fails at once, over
/// TCP too, and names of the zone are answered meanwhile.
#[tokio::test]
async fn questions_that_wait_for_recursors_have_a_bound() {
    const WAITING_MAX: usize = 512;
    let (silent, asked) = noting(None).await;
    let server = Running::start_patient(vec![silent], 6 * PATIENCE).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address).await.unwrap();
    let outside = question("example.org.", RecordType::A);
    let bytes = outside.to_vec().unwrap();
    for waiting in 1..=WAITING_MAX {
        socket.send(&bytes).await.unwrap();
        // One after another, so that none is lost on the way.
        let arrived = async {
            while asked.load(Ordering::SeqCst) < waiting {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    }
    let inside = question("many.service.consul.", RecordType::A);
    for (asked, expected) in [
        (&outside, ResponseCode::ServFail),
        (&inside, ResponseCode::NoError),
    ] {
        for reply in [server.udp(asked).await, server.tcp(asked).await] {
            assert_eq!(reply.metadata.response_code, expected);
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), WAITING_MAX);
    // It would wait for those questions.
    drop(server);
}

#[tokio::test]
async fn malformed_messages_get_a_bare_header() {
    let server = Running::with_many(1, Rules::default()).await;
    let mut twice = question("many.service.consul.", RecordType::A);
    twice.add_query(twice.queries[0].clone());
    let mut none = question("many.service.consul.", RecordType::A);
    none.queries.clear();
    let mut notify = question("many.service.consul.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    let mut cut = question("many.service.consul.", RecordType::A)
        .to_vec()
        .unwrap();
    cut.truncate(20);
    let cases = [
        (twice.to_vec().unwrap(), ResponseCode::FormErr),
        (none.to_vec().unwrap(), ResponseCode::FormErr),
        (notify.to_vec().unwrap(), ResponseCode::NotImp),
        (cut, ResponseCode::FormErr),
    ];
    for (bytes, expected) in cases {
        let udp = server.udp_bytes(&bytes).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let tcp = tcp_exchange(&mut stream, &bytes).await;
        for reply in [udp, tcp] {
            assert_eq!(reply.len(), 12);
            assert_eq!(
                Message::from_vec(&reply).unwrap().metadata.response_code,
                expected
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn one_connection_carries_many_questions_and_garbage_ends_only_its_own() {
    let server = Running::with_many(2, Rules::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let asked = question("many.service.consul.", RecordType::A)
        .to_vec()
        .unwrap();
    for _ in 0..3 {
        let reply = Message::from_vec(&tcp_exchange(&mut stream, &asked).await).unwrap();
        assert_eq!(reply.answers.len(), 2);
    }
    let mut garbage = TcpStream::connect(server.address).await.unwrap();
    garbage.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, garbage.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty(), "less than a header is not answered");
    assert!(!tcp_exchange(&mut stream, &asked).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn port_in_use_names_the_address() {
    // An address of its own: no other test takes its port when it is free again.
    let own = "127.0.0.78:0".parse().unwrap();
    let server = Running::bind(own, Rules::default(), Vec::new(), PATIENCE).await;
    let again = Config {
        listen: vec![server.address],
        tcp_connections_max: Config::TCP_CONNECTIONS_MAX,
        rules: Rules::default(),
        recursors: Vec::new(),
        recursor_timeout: Config::RECURSOR_TIMEOUT,
    };
    let error = Dns::bind(again).await.unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }));
    assert!(
        error.to_string().contains(&server.address.to_string()),
        "{error}"
    );
    let address = server.address;
    server.stop().await;

    let squatter = UdpSocket::bind(address).await.unwrap();
    let error = Dns::bind(Config {
        listen: vec![address],
        tcp_connections_max: Config::TCP_CONNECTIONS_MAX,
        rules: Rules::default(),
        recursors: Vec::new(),
        recursor_timeout: Config::RECURSOR_TIMEOUT,
    })
    .await
    .unwrap_err();
    assert!(
        matches!(
            error,
            Error::AddressInUse {
                transport: "udp",
                ..
            }
        ),
        "{error}"
    );
    drop(squatter);
}
