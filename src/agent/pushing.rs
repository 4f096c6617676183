//! Tells the figures of this agent to those who are pushed them, in an even rhythm. Nothing waits
//! for a receiver, and what does not get through is not kept.

use config::{Receiver, Telemetry};
use std::{fmt, future::Future, io, net::SocketAddr, time::Duration};
use telemetry::statsd::{Form, Teller};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket, lookup_host},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// How long finding a receiver, or sending it what there is, may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a receiver is looked up: it may have moved.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(60);
/// How long it has to go well before trouble is told again.
const TROUBLE_PAUSE: Duration = Duration::from_secs(60);

/// Pushes until `stopped`.
pub(super) async fn run(
    api: api::Api,
    settings: Telemetry,
    stopped: impl Future<Output = ()> + Send,
) {
    let host = settings.host;
    let receivers = settings.receivers.into_iter();
    let mut ways: Vec<(Teller, Way)> = receivers
        .map(|Receiver { address, tags }| {
            let form = tags.map_or(Form::Names, Form::Tags);
            let teller = Teller::new(form, host.clone());
            (teller, Way::new(Place::Udp(address)))
        })
        .collect();
    let pushing = async {
        let mut turns = turns(settings.interval);
        loop {
            turns.tick().await;
            let figures = api.figures().await;
            for (teller, way) in &mut ways {
                let datagrams = teller.datagrams(&figures);
                way.push(&datagrams).await;
            }
        }
    };
    tokio::select! {
        () = pushing => {}
        () = stopped => {}
    }
}

/// When it is time to push; the first time at once.
pub(super) fn turns(every: Duration) -> tokio::time::Interval {
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

/// Where a receiver is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// It takes datagrams at a host and port.
    Udp(String),
    /// It takes a connection each time.
    Tcp(String),
    /// Standard output.
    Output,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) | Self::Tcp(address) => f.write_str(address),
            Self::Output => f.write_str("standard output"),
        }
    }
}

/// The way to one receiver.
pub(super) struct Way {
    place: Place,
    /// The socket, and when the receiver was looked up.
    open: Option<(UdpSocket, Instant)>,
    /// When there was trouble last; none when there is none to speak of.
    trouble: Option<Instant>,
}

impl Way {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            open: None,
            trouble: None,
        }
    }

    /// Sends texts; trouble is told once.
    pub(super) async fn push(&mut self, texts: &[String]) {
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        let pushed = timeout(PUSH_TIMEOUT, self.send(texts)).await;
        match pushed.unwrap_or_else(late) {
            Ok(()) if self.trouble.is_some_and(|at| at.elapsed() >= TROUBLE_PAUSE) => {
                self.trouble = None;
            }
            Ok(()) => {}
            Err(error) => {
                self.open = None;
                if self.trouble.replace(Instant::now()).is_none() {
                    let address = &self.place;
                    tracing::warn!(%address, %error, "figures do not get to who is pushed them");
                }
            }
        }
    }

    async fn send(&mut self, texts: &[String]) -> io::Result<()> {
        let address = match &self.place {
            Place::Udp(address) => address,
            // One that rests between two times may be gone without a word.
            Place::Tcp(address) => {
                let mut stream = TcpStream::connect(address).await?;
                for text in texts {
                    stream.write_all(text.as_bytes()).await?;
                }
                return stream.shutdown().await;
            }
            Place::Output => {
                let mut output = tokio::io::stdout();
                for text in texts {
                    output.write_all(text.as_bytes()).await?;
                }
                return output.flush().await;
            }
        };
        let is_fresh = |(_, at): &(UdpSocket, Instant)| at.elapsed() < LOOKUP_INTERVAL;
        if !self.open.as_ref().is_some_and(is_fresh) {
            self.open = Some((connected(address).await?, Instant::now()));
        }
        if let Some((socket, _)) = &self.open {
            for text in texts {
                socket.send(text.as_bytes()).await?;
            }
        }
        Ok(())
    }
}

/// A socket that sends to a host and port.
async fn connected(address: &str) -> io::Result<UdpSocket> {
    let found = lookup_host(address).await?.next();
    let to = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}
