//! The ingress as services of the catalog: a route with `register=NAME` asks for one of that name,
//! so that those who look for it come to the ingress.

use client::Registered;
use mesh::model::Service;
use std::{collections::BTreeSet, future::Future, net::SocketAddr};
use tokio::sync::watch;

/// Begins the ids of these services.
const PREFIX: &str = "ingress-alias-";

/// Registers the ingress at `address` as these services and as no others, until there is nobody
/// to say which, or the ingress leaves: then it is none of them any more.
pub(in crate::agent) async fn follow(
    registered: &Registered,
    address: SocketAddr,
    mut names: watch::Receiver<BTreeSet<String>>,
    leaving: impl Future<Output = ()>,
) {
    tokio::pin!(leaving);
    let mut leaves = false;
    loop {
        let wanted = if leaves {
            BTreeSet::new()
        } else {
            names.borrow_and_update().clone()
        };
        let known: BTreeSet<String> = registered
            .local()
            .services()
            .filter_map(|service| service.id.strip_prefix(PREFIX).map(str::to_owned))
            .collect();
        for name in wanted.difference(&known) {
            let service = service(name, address);
            let made = registered.register_service(service, Vec::new(), true).await;
            told(name, made);
        }
        for name in known.difference(&wanted) {
            let id = format!("{PREFIX}{name}");
            told(name, registered.deregister_service(&id).await.map(drop));
        }
        if leaves {
            return;
        }
        tokio::select! {
            changed = names.changed() => if changed.is_err() {
                return;
            },
            () = &mut leaving => leaves = true,
        }
    }
}

fn service(name: &str, address: SocketAddr) -> Service {
    let host = address.ip();
    Service {
        id: format!("{PREFIX}{name}").into(),
        name: name.into(),
        // That of the node counts where the ingress listens everywhere.
        address: if host.is_unspecified() {
            String::new()
        } else {
            host.to_string()
        },
        port: address.port(),
        ..Service::default()
    }
}

fn told<E: std::fmt::Display>(name: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%error, name, "a name of the ingress is not registered as it should");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_the_ingress() {
        let own = |address: &str| {
            let service = service("shop", address.parse().unwrap());
            (
                service.id.to_string(),
                service.name.to_string(),
                service.address,
                service.port,
            )
        };
        let expected = |address: &str| {
            let text = |text: &str| text.to_owned();
            (
                text("ingress-alias-shop"),
                text("shop"),
                text(address),
                9999,
            )
        };
        assert_eq!(own("10.0.0.1:9999"), expected("10.0.0.1"));
        assert_eq!(own("0.0.0.0:9999"), expected(""));
    }
}
