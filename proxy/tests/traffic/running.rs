//! A running proxy.

use std::net::SocketAddr;

use proxy::route::{Definition, Instance, Table, parse, tags};
use proxy::{Config, Error, Handle, Library, Listener, Proxy};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A proxy that runs until it is stopped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) library: Library,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Running {
        let mut config = config;
        if config.listeners.is_empty() {
            config.listeners = vec![Listener::http("127.0.0.1:0".parse().unwrap())];
        }
        let library = config.library;
        let proxy = Proxy::bind(config).unwrap();
        let address = proxy.local_addrs()[0];
        let handle = proxy.handle();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(proxy.run(async move { drop(stopped.await) }));
        Running {
            address,
            handle,
            library,
            stop: Some(stop),
            ended,
        }
    }

    /// A proxy with one route `/` to all these addresses.
    pub(crate) async fn to(config: Config, targets: &[SocketAddr]) -> Running {
        let running = Running::start(config).await;
        running.route(targets);
        running
    }

    pub(crate) fn route(&self, targets: &[SocketAddr]) {
        drop(self.handle.swap(self.table(&lines(targets))));
    }

    /// What is counted under a name that is published elsewhere.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let figures = self.handle.published_figures();
        let own = figures.iter().filter(|figure| figure.name == name);
        own.map(|figure| figure.value).sum()
    }

    pub(crate) fn table(&self, text: &str) -> Table {
        let (definitions, problems) = parse::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        Table::build(definitions, Some(&self.handle.table())).0
    }

    /// A table of instances of a service, each with its id and tags.
    pub(crate) fn instances(&self, instances: &[(&str, SocketAddr, &[&str])]) -> Table {
        let definitions = instances.iter().flat_map(|(id, address, tags)| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let (definitions, problems): (Vec<Definition>, _) = tags::definitions(&Instance {
                id,
                service: "web",
                address: &address.ip().to_string(),
                port: address.port(),
                tags: &tags,
                datacenter: "dc1",
                version: "",
                turns: 1,
                is_judged: false,
            });
            assert!(problems.is_empty(), "{problems:?}");
            definitions
        });
        Table::build(definitions, Some(&self.handle.table())).0
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

pub(crate) fn lines(targets: &[SocketAddr]) -> String {
    targets
        .iter()
        .map(|address| format!("route add web / http://{address}/\n"))
        .collect()
}

/// An address on which nothing listens, and nobody else does until the tests end.
pub(crate) fn dead_address() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Box::leak(Box::new(socket)).local_addr().unwrap()
}
