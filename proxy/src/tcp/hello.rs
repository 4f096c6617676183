//! The name that a client of TLS asks for, read without answering.

use rustls::server::Acceptor;

/// The most bytes of a greeting.
const HELLO_BYTES_MAX: usize = 64 << 10;

/// What a client's first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// More has to come.
    Partial,
    /// The greeting of TLS, and the name in it.
    Name(Option<String>),
    /// Something else.
    Other,
}

/// Looks at the start of a connection.
pub(crate) fn hello(bytes: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_owned);
                return Hello::Name(name);
            }
            Ok(None) if rest.is_empty() && bytes.len() < HELLO_BYTES_MAX => return Hello::Partial,
            Ok(None) if rest.is_empty() => return Hello::Other,
            Ok(None) => {
                if acceptor.read_tls(&mut rest).is_err() {
                    return Hello::Other;
                }
            }
            Err(_) => return Hello::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::{Hello, hello};

    fn greeting(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_read_once_the_greeting_is_whole() {
        let bytes = greeting("web.io");
        for end in 0..bytes.len() {
            assert_eq!(hello(&bytes[..end]), Hello::Partial, "{end}");
        }
        assert_eq!(hello(&bytes), Hello::Name(Some("web.io".to_owned())));
        assert_eq!(hello(&greeting("10.0.0.1")), Hello::Name(None));
        assert_eq!(hello(b"GET / HTTP/1.1\r\n\r\n"), Hello::Other);
    }

    proptest! {
        #[test]
        fn anything_may_come(at in 0..200usize, byte in any::<u8>(), tail in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = greeting("web.io");
            let last = bytes.len() - 1;
            bytes[at.min(last)] = byte;
            hello(&bytes);
            hello(&tail);
        }
    }
}
