//! Tells the figures of this agent to those who are pushed them, in an even rhythm. Nothing waits
//! for a receiver, and what does not get through is not kept.

use config::{Receiver, Telemetry};
use std::{future::Future, io, net::SocketAddr, time::Duration};
use telemetry::statsd::{Form, Teller};
use tokio::{
    net::{UdpSocket, lookup_host},
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
    let mut lines: Vec<Line> = receivers
        .map(|receiver| Line::new(receiver, host.clone()))
        .collect();
    let pushing = async {
        let mut tick = interval(settings.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let figures = api.figures().await;
            for line in &mut lines {
                let datagrams = line.teller.datagrams(&figures);
                line.push(&datagrams).await;
            }
        }
    };
    tokio::select! {
        () = pushing => {}
        () = stopped => {}
    }
}

/// The way to one receiver.
struct Line {
    address: String,
    teller: Teller,
    /// The socket, and when the receiver was looked up.
    open: Option<(UdpSocket, Instant)>,
    /// When there was trouble last; none when there is none to speak of.
    trouble: Option<Instant>,
}

impl Line {
    fn new(receiver: Receiver, host: Option<String>) -> Self {
        let form = receiver.tags.map_or(Form::Names, Form::Tags);
        Self {
            address: receiver.address,
            teller: Teller::new(form, host),
            open: None,
            trouble: None,
        }
    }

    async fn push(&mut self, datagrams: &[String]) {
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        let pushed = timeout(PUSH_TIMEOUT, self.send(datagrams)).await;
        match pushed.unwrap_or_else(late) {
            Ok(()) if self.trouble.is_some_and(|at| at.elapsed() >= TROUBLE_PAUSE) => {
                self.trouble = None;
            }
            Ok(()) => {}
            Err(error) => {
                self.open = None;
                if self.trouble.replace(Instant::now()).is_none() {
                    let address = &self.address;
                    tracing::warn!(address, %error, "figures do not get to who is pushed them");
                }
            }
        }
    }

    async fn send(&mut self, datagrams: &[String]) -> io::Result<()> {
        let is_fresh = |(_, at): &(UdpSocket, Instant)| at.elapsed() < LOOKUP_INTERVAL;
        if !self.open.as_ref().is_some_and(is_fresh) {
            self.open = Some((connected(&self.address).await?, Instant::now()));
        }
        if let Some((socket, _)) = &self.open {
            for datagram in datagrams {
                socket.send(datagram.as_bytes()).await?;
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
