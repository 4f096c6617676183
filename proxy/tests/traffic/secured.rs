//! Certificates of tests, and clients that take them.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy::certs::{Pair, Store};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A self-signed certificate for some hosts.
pub(crate) fn pair(hosts: &[&str]) -> Pair {
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    Pair {
        name: hosts.join(","),
        chain: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    }
}

pub(crate) fn store(pairs: &[Pair]) -> Arc<Store> {
    let store = Store::default();
    assert_eq!(store.replace(pairs.to_vec()), []);
    Arc::new(store)
}

/// A client that trusts these certificates only, and has one of its own if given.
pub(crate) fn connector(trusted: &[&Pair], own: Option<&Pair>, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots
            .add(CertificateDer::from_pem_slice(&pair.chain).unwrap())
            .unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = vec![CertificateDer::from_pem_slice(&own.chain).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(&own.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    TlsConnector::from(Arc::new(config))
}

/// TLS for a host.
pub(crate) async fn connect(
    connector: &TlsConnector,
    address: SocketAddr,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    connector
        .connect(host.to_owned().try_into().unwrap(), tcp)
        .await
}
