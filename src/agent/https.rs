//! The rules of TLS on the listeners of APIs, read again when the configuration is.

use config::Https;
use proxy::certs::{Pair, Store, Tls, server_config};
use rustls::ServerConfig;
use std::{path::Path, sync::Arc};
use tokio::sync::watch;

/// What is offered over TLS, the best one first.
pub(super) const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What connections take that come from now on.
pub(super) type Rules = watch::Sender<Arc<ServerConfig>>;

/// Where a listener takes them from.
pub(super) type RulesReader = watch::Receiver<Arc<ServerConfig>>;

/// The rules that the files of `settings` make.
///
/// # Errors
/// What cannot be read or used, with the name of its file.
pub(super) fn rules(settings: &Https) -> Result<Arc<ServerConfig>, String> {
    let store = Arc::new(Store::default());
    let pair = Pair {
        name: settings.certificate.display().to_string(),
        chain: read(&settings.certificate)?,
        key: read(&settings.key)?,
    };
    if let Some(unusable) = store.replace(vec![pair]).first() {
        return Err(unusable.to_string());
    }
    let authorities = settings.client_authorities.as_deref().map(read);
    let tls = Tls {
        client_authorities: authorities.transpose()?,
        ..Tls::new(store)
    };
    let rules = server_config(&tls, &PROTOCOLS);
    rules.map(Arc::new).map_err(|error| error.to_string())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("`{}`: {error}", file.display()))
}
