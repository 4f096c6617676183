//! HTTP/1.1 as a test writes it byte by byte, for what well-behaved clients do not send.

use super::DEADLINE;
use std::{fmt::Write as _, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: u16,
    /// Names in small letters, with values.
    pub(crate) headers: Vec<(String, String)>,
    /// Body as it came, chunk marks included.
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends one request with these headers and no others but the length, and waits for the answer.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes text");
    }
    write!(head, "content-length: {}\r\n\r\n", body.len()).expect("a string takes text");
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        // The answer may come before the whole body was read.
        stream.write_all(body.as_bytes()).await.ok();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok();
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = timeout(DEADLINE, asking).await;
    let bytes = bytes.expect("an answer in time").expect("a connection");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    Answer {
        status: status
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}
