//! A server of tests: one answer for each connection.

use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A status, header lines and a body.
pub(super) type Answer = (u16, String, Vec<u8>);

/// Answers requests by their path and query; bodies are not read.
pub(super) async fn serve<F>(answer: impl Fn(String) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let answer = answer(head.split(' ').nth(1).unwrap_or_default().to_owned());
            tokio::spawn(async move {
                let (status, lines, body) = answer.await;
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{lines}\r\n"
                );
                stream.write_all(head.as_bytes()).await.ok();
                stream.write_all(&body).await.ok();
                // Closing with unread bytes would take the answer away.
                stream.shutdown().await.ok();
                stream.read_to_end(&mut Vec::new()).await.ok();
            });
        }
    });
    address
}
