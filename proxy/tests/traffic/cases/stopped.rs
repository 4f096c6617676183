//! Requests that their route does not send on.

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::Client;

#[tokio::test]
async fn routes_send_clients_elsewhere_or_away() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::start(config()).await;
    let text = format!(
        "route add a /a http://{0}/\n\
         route add r /old https://$host/new$path opts \"redirect=308 strip=/old\"\n\
         route add b /in http://{0}/ opts \"allow=ip:127.0.0.0/8\"\n\
         route add c /out http://{0}/ opts \"deny=ip:127.0.0.1\"\n\
         route add d /secret http://{0}/ opts \"auth=nobody\"\n",
        backend.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    assert_eq!(client.get("/a").await.text(), "a");
    let moved = client.get("/old/x%20y?b=1").await;
    assert_eq!(
        (moved.status(), moved.header("location")),
        (308, vec!["https://any/new/x%20y?b=1"])
    );
    assert_eq!(proxy.figure("http.redirect.count"), 1);
    assert_eq!(client.get("/in").await.text(), "a");
    assert_eq!(client.get("/out").await.status(), 403);
    assert_eq!(client.get("/secret").await.status(), 401);
    // Every hop has to be in; what is no address does not count.
    for (told, status) in [("127.0.0.9, x", 200), ("127.0.0.1, 8.8.8.8", 403)] {
        let request = format!("GET /in HTTP/1.1\r\nHost: any\r\nX-Forwarded-For: {told}\r\n\r\n");
        client.send(&request).await;
        assert_eq!(client.receive().await.unwrap().status(), status, "{told}");
    }
    // The connection is as good as before.
    assert_eq!(client.get("/a").await.text(), "a");
    assert_eq!(backend.requests(), 4);
}

#[tokio::test]
async fn targets_of_a_route_that_is_not_plain_take_turns_too() {
    let (a, b) = (
        Backend::start("a", Behavior::Name).await,
        Backend::start("b", Behavior::Name).await,
    );
    let proxy = Running::start(config()).await;
    let line = |at| format!("route add a / http://{at}/ opts \"allow=ip:127.0.0.0/8\"\n");
    let text = line(a.address) + &line(b.address);
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..10 {
        client.get("/").await;
    }
    assert_eq!((a.requests(), b.requests()), (5, 5));
}
