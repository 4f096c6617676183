//! Targets that speak TLS: whom the proxy believes that it speaks with.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use proxy::Config;
use proxy::certs::Pair;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::client::{get, read_message};
use crate::running::Running;
use crate::secured::pair;

/// A server that answers with the name that it is called by.
async fn secure(own: &Pair) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(&own.chain).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&own.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not believe it goes away.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let name = stream.get_ref().1.server_name().unwrap_or_default();
            let length = name.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
            );
            if read_message(&mut stream, &mut Vec::new()).await.is_some() {
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        }
    });
    address
}

async fn believing(authorities: Option<&Path>) -> Running {
    let config = Config {
        authorities_file: authorities.map(Path::to_path_buf),
        eject_after: 0,
        ..Config::default()
    };
    Running::start(config).await
}

#[tokio::test]
async fn a_target_is_who_its_certificate_says() {
    let (own, numbered, unknown) = (pair(&["web.io"]), pair(&["127.0.0.1"]), pair(&["web.io"]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [&*own.chain, &*numbered.chain].concat()).unwrap();
    let (known, by_address, stranger) = (
        secure(&own).await,
        secure(&numbered).await,
        secure(&unknown).await,
    );
    let (all, nobody) = (believing(Some(file.path())).await, believing(None).await);
    let mut wrong = Vec::new();
    for (proxy, target, options, expected) in [
        (&all, known, "host=web.io", Some("web.io")),
        (&all, known, "host=web.io:8443", Some("web.io")),
        // Another name than the one that was asked for.
        (&all, known, "host=other.io", None),
        (&all, known, "", None),
        (&all, known, "tlsskipverify=true", Some("")),
        (&all, by_address, "", Some("")),
        // Nobody vouches for it.
        (&all, stranger, "host=web.io", None),
        (
            &all,
            stranger,
            "host=web.io tlsskipverify=true",
            Some("web.io"),
        ),
        (&nobody, known, "host=web.io", None),
        (
            &nobody,
            known,
            "host=web.io tlsskipverify=true",
            Some("web.io"),
        ),
    ] {
        let options = match options {
            "" => String::new(),
            options => format!(" opts \"{options}\""),
        };
        let text = format!("route add web / https://{target}/{options}");
        drop(proxy.handle.swap(proxy.table(&text)));
        let answer = get(proxy.address, "/").await;
        let found = (answer.status(), answer.text());
        let expected = expected.map_or((502, ""), |name| (200, name));
        if (found.0, found.1.as_str()) != expected {
            wrong.push(format!("{text} with {expected:?}: {found:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
