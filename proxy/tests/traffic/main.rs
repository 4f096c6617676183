//! The running proxy over real sockets, between small clients and servers of our own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod backend;
mod client;
mod drain;
mod forward;
mod heads;
mod retry;
mod stop;

use std::net::SocketAddr;

use proxy::route::{Table, parse};
use proxy::{Config, Error, Handle, Proxy};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A proxy that runs until it is stopped.
struct Running {
    address: SocketAddr,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn start(config: Config) -> Running {
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..config
        };
        let proxy = Proxy::bind(config).unwrap();
        let address = proxy.local_addrs()[0];
        let handle = proxy.handle();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(proxy.run(async move { drop(stopped.await) }));
        Running {
            address,
            handle,
            stop: Some(stop),
            ended,
        }
    }

    /// A proxy with one route `/` to all these addresses.
    async fn to(config: Config, targets: &[SocketAddr]) -> Running {
        let running = Running::start(config).await;
        running.route(targets);
        running
    }

    fn route(&self, targets: &[SocketAddr]) {
        drop(self.handle.swap(self.table(&lines(targets))));
    }

    fn table(&self, text: &str) -> Table {
        let (definitions, problems) = parse::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        Table::build(definitions, Some(&self.handle.table())).0
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

fn lines(targets: &[SocketAddr]) -> String {
    targets
        .iter()
        .map(|address| format!("route add web / http://{address}/\n"))
        .collect()
}

/// An address on which nothing listens.
async fn dead_address() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let error = Proxy::bind(Config {
        listen: vec![address],
        ..Config::default()
    })
    .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on `{address}`"));
}
