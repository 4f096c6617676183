//! The running proxy over real sockets, between small clients and servers of our own. What does not
//! depend on the way by which a request is carried is tested on both.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod acme;
mod allocations;
mod backend;
mod bytes;
mod calls;
mod client;
mod differential;
mod extras;
mod faults;
mod idle;
mod kept;
mod rescue;
mod running;
mod secured;
mod system_calls;
mod upstreams;

use proxy::{Config, Listener, Proxy};

/// Plain requests by the short way.
#[path = "cases"]
mod short {
    pub(crate) const LIBRARY: proxy::Library = proxy::Library::Doubtful;

    #[path = "mod.rs"]
    mod cases;
}

/// All requests by the library.
#[path = "cases"]
#[expect(clippy::duplicate_mod, reason = "the same tests run on both ways")]
mod library {
    pub(crate) const LIBRARY: proxy::Library = proxy::Library::All;

    #[path = "mod.rs"]
    mod cases;
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let error = Proxy::bind(Config {
        listeners: vec![Listener::http(address)],
        ..Config::default()
    })
    .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on `{address}`"));
}
