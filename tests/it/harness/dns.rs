//! DNS as a test speaks it.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::{net::SocketAddr, str::FromStr};
use tokio::{net::UdpSocket, time::timeout};

/// Answers of one question over UDP, with EDNS room for many.
pub(crate) async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    let mut query = Query::new();
    query
        .set_name(Name::from_str(name).expect("a name"))
        .set_query_type(kind);
    question.add_query(query);
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_max_payload(4096);
    question.edns = Some(edns);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(server).await.expect("a route");
    socket
        .send(&question.to_vec().expect("bytes"))
        .await
        .expect("sent");
    let mut buffer = vec![0; 65_535];
    let received = timeout(super::DEADLINE, socket.recv(&mut buffer)).await;
    let length = received.expect("an answer in time").expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

/// Ports of the SRV answers, sorted; empty for a name that does not exist.
pub(crate) async fn srv_ports(server: SocketAddr, name: &str) -> Vec<u16> {
    let answer = ask(server, name, RecordType::SRV).await;
    let code = answer.metadata.response_code;
    assert!(
        matches!(code, ResponseCode::NoError | ResponseCode::NXDomain),
        "{name}: {code}"
    );
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
