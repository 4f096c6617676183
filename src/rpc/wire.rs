//! What connections are made of: sockets of this machine, or a simulated network.

use futures_util::future::BoxFuture;
use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A connection between machines.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A simulated connection that came in, and from where.
pub type Arrived = (Box<dyn Connection>, SocketAddr);

/// The network of the simulated processes of a thread; see [`sys::simulation`].
pub trait Network {
    /// Connects the process whose turn it is.
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;

    /// Listens for the process whose turn it is.
    ///
    /// # Errors
    /// When the address is taken.
    fn listen(&self, address: SocketAddr) -> io::Result<mpsc::Receiver<Arrived>>;
}

thread_local! {
    static SIMULATED: RefCell<Option<Rc<dyn Network>>> = const { RefCell::new(None) };
}

/// Connects the processes of this thread by `network` from now on.
pub fn use_network(network: Rc<dyn Network>) {
    SIMULATED.replace(Some(network));
}

fn simulated() -> Option<Rc<dyn Network>> {
    SIMULATED.with_borrow(Clone::clone)
}

/// Connects to `address`, host:port.
pub(super) async fn connect(address: &str) -> io::Result<Box<dyn Connection>> {
    // Nothing of the network is kept while it is waited for: it belongs to this thread.
    let connecting = simulated().map(|network| network.connect(address));
    if let Some(connecting) = connecting {
        return connecting.await;
    }
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(Box::new(socket))
}

/// Where connections come in.
pub(super) enum Arrivals {
    Sockets(TcpListener),
    Simulated(mpsc::Receiver<Arrived>),
}

impl Arrivals {
    /// Listens on `address`, and says on which it does; port 0 lets the system choose.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        if let Some(network) = simulated() {
            return Ok((Self::Simulated(network.listen(address)?), address));
        }
        let socket = TcpListener::bind(address).await?;
        let local = socket.local_addr()?;
        Ok((Self::Sockets(socket), local))
    }

    /// The next connection.
    pub(super) async fn accept(&mut self) -> io::Result<Arrived> {
        match self {
            Self::Sockets(socket) => {
                let (connection, peer) = socket.accept().await?;
                connection.set_nodelay(true)?;
                Ok((Box::new(connection), peer))
            }
            Self::Simulated(arriving) => match arriving.recv().await {
                Some(arrived) => Ok(arrived),
                None => std::future::pending().await,
            },
        }
    }
}
