//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// Listens on an address with several sockets, at least one, among which the system spreads the
/// connections. The address may be one that a process that just ended used, but none that is in
/// use.
///
/// Connections have no delay on small writes: they inherit it.
pub(crate) fn bind(address: SocketAddr, sockets: usize) -> io::Result<Vec<TcpListener>> {
    // Sharing is allowed only once the first one has the address: had it asked for that before, it
    // would share with a listener of somebody else who allows it too.
    let first = socket(address)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..sockets {
        let next = socket(address.as_socket().ok_or(io::ErrorKind::InvalidInput)?)?;
        next.set_reuse_port(true)?;
        next.bind(&address)?;
        all.push(next);
    }
    for socket in &all {
        socket.listen(BACKLOG)?;
    }
    Ok(all.into_iter().map(TcpListener::from).collect())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::bind;

    #[test]
    fn all_sockets_get_connections_and_the_address_is_taken() {
        // No other test takes the port of this address when it is free again.
        let sockets = bind("127.0.0.78:0".parse().unwrap(), 2).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert_eq!(sockets[1].local_addr().unwrap(), address);
        // Sharing goes no further than one call.
        assert!(bind(address, 1).is_err());
        assert!(bind(address, 2).is_err());
        // That all of 64 go to one of the two has a chance of 2^-63.
        let _open: Vec<_> = (0..64)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        for socket in &sockets {
            let (stream, _) = socket.accept().unwrap();
            assert!(stream.nodelay().unwrap());
        }
        drop(sockets);
        assert!(bind(address, 2).is_ok());
    }
}
