use super::{critical, is_no_verdict};
use mesh::{health::Outcome, model::Status};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

/// Passing when the packet is answered or nobody says that it cannot be delivered, for so long as a
/// run may take; none when this process could not try.
pub(super) async fn check(address: &str, limit: Duration) -> Option<Outcome> {
    match send(address, limit).await {
        Ok(()) => Some(Outcome {
            status: Status::Passing,
            output: format!("UDP connect {address}: Success"),
        }),
        Err(error) if is_no_verdict(&error) => None,
        Err(error) => Some(critical(&format!("UDP connect {address}: {error}"))),
    }
}

async fn send(address: &str, limit: Duration) -> std::io::Result<()> {
    let found = lookup_host(address).await?.next();
    let to = found.ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let own: SocketAddr = if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(to).await?;
    socket.send(&[]).await?;
    let mut answer = [0; 1];
    // Silence is no refusal.
    timeout(limit, socket.recv(&mut answer))
        .await
        .map_or(Ok(()), |received| received.map(drop))
}
