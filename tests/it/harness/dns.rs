//! DNS as a test speaks it.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::{net::SocketAddr, str::FromStr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Answers of one question over UDP, with EDNS room for many.
pub(crate) async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
    socket.connect(server).await.expect("a route");
    socket.send(&question(name, kind)).await.expect("sent");
    let mut buffer = vec![0; 65_535];
    let received = timeout(super::DEADLINE, socket.recv(&mut buffer)).await;
    let length = received.expect("an answer in time").expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

/// Answers of one question over TCP.
pub(crate) async fn ask_by_tcp(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind);
    let asking = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(question.len()).expect("a short question");
        stream.write_u16(length).await?;
        stream.write_all(&question).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(super::DEADLINE, asking).await;
    Message::from_vec(&answer.expect("an answer in time").expect("an answer")).expect("a message")
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    let mut query = Query::new();
    query
        .set_name(Name::from_str(name).expect("a name"))
        .set_query_type(kind);
    question.add_query(query);
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_max_payload(4096);
    question.edns = Some(edns);
    question.to_vec().expect("bytes")
}

/// Ports of the SRV answers, sorted; empty for a name that does not exist.
pub(crate) async fn srv_ports(server: SocketAddr, name: &str) -> Vec<u16> {
    let answer = ask(server, name, RecordType::SRV).await;
    let code = answer.metadata.response_code;
    assert!(
        matches!(code, ResponseCode::NoError | ResponseCode::NXDomain),
        "{name}: {code}"
    );
    ports_of(&answer)
}

/// Ports of the SRV records among the answers, sorted.
pub(crate) fn ports_of(answer: &Message) -> Vec<u16> {
    let mut ports: Vec<u16> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.port),
            _ => None,
        })
        .collect();
    ports.sort_unstable();
    ports
}
