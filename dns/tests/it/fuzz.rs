//! Messages that are changed at random, sent to a running server: it goes on answering good ones.
//!
//! A second in the usual tests, and longer with `.ci/fuzz SECONDS`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::rr::RecordType;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::sockets::{Running, question};
use dns::Rules;

/// Messages between two looks whether the server still answers.
const ROUND: usize = 64;

/// Numbers that are the same for the same seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn seeded() -> (Self, Duration) {
        let seconds = std::env::var("FUZZ_SECONDS").ok();
        let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
        let seed = seconds.map_or(1, |_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos().to_le_bytes()[..8]
                .iter()
                .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
        });
        (Self(seed), Duration::from_secs_f64(seconds.unwrap_or(1.0)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A message with some bytes changed, cut, put in or said twice.
    fn damaged(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] = self.byte(),
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, self.byte()),
                // A pointer to another name, which may lead back to itself.
                4 => {
                    let to = self.byte();
                    bytes.splice(at..at, [0xC0, to]);
                }
                _ => {
                    let end = (at + self.below(32)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes.truncate(4096);
        bytes
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_messages_leave_the_server_answering() {
    let server = Running::with_many(3, Rules::default()).await;
    let (mut random, time) = Random::seeded();
    let kinds = [
        RecordType::A,
        RecordType::SRV,
        RecordType::PTR,
        RecordType::ANY,
    ];
    let names = [
        "many.service.consul.",
        "m0.node.consul.",
        "_many._tcp.service.consul.",
        "0.0.0.10.in-addr.arpa.",
        "example.org.",
    ];
    let corpus: Vec<Vec<u8>> = names
        .iter()
        .flat_map(|name| kinds.map(|kind| question(name, kind).to_vec().unwrap()))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..ROUND {
            let good = &corpus[random.below(corpus.len())];
            let bytes = random.damaged(good);
            socket.send_to(&bytes, server.address).await.unwrap();
        }
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..4 {
            let good = &corpus[random.below(corpus.len())];
            let bytes = random.damaged(good);
            let length = if random.below(4) == 0 {
                u16::from(random.byte())
            } else {
                u16::try_from(bytes.len()).unwrap()
            };
            let frame = [&length.to_be_bytes(), bytes.as_slice()].concat();
            // The server may end the connection at any time.
            stream.write_all(&frame).await.ok();
        }
        drop(stream);
        let good = question("many.service.consul.", RecordType::A);
        let by_tcp = server.tcp(&good).await.answers.len();
        let by_udp = server.udp(&good).await.answers.len();
        assert_eq!((by_tcp, by_udp), (3, 3), "after {random:?}");
    }
    server.stop().await;
}
