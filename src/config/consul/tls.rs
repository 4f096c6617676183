//! The certificates of these files: keys at the top, in `tls.defaults`, and for one listener each.

use super::{
    super::{Problem, WrittenTls, file::SETTINGS},
    sources::Settings,
};

/// A setting of one listener: its own, that for all of them, or the old form of either.
fn text<'s>(settings: &'s Settings, listener: &str, name: &str) -> Option<&'s str> {
    let own = settings.text(&format!("tls.{listener}.{name}"));
    let all = || settings.text(&format!("tls.defaults.{name}"));
    own.or_else(all).or_else(|| settings.text(name))
}

fn flag(settings: &Settings, listener: &str, name: &str, old: &str) -> bool {
    let own = settings.flag(&format!("tls.{listener}.{name}"));
    let all = || settings.flag(&format!("tls.defaults.{name}"));
    let old = || settings.flag(old).or_else(|| settings.flag(name));
    own.or_else(all).or_else(old).unwrap_or(false)
}

/// Whether the API can be offered over TLS, and is to be.
pub(super) fn has_https(settings: &Settings) -> bool {
    let has_port = settings.number("ports.https").is_some_and(|port| port >= 0);
    let files = ["cert_file", "key_file"];
    let mut found = files.into_iter().map(|name| text(settings, "https", name));
    has_port && found.all(|file| file.is_some())
}

/// What a file of ours would say: one set of files for both listeners.
pub(super) fn written(settings: &Settings, problems: &mut Vec<Problem>) -> WrittenTls {
    let has_https = has_https(settings);
    let verifies = flag(
        settings,
        "internal_rpc",
        "verify_incoming",
        "verify_incoming_rpc",
    );
    let shows = flag(
        settings,
        "internal_rpc",
        "verify_outgoing",
        "verify_outgoing",
    );
    let names = flag(
        settings,
        "internal_rpc",
        "verify_server_hostname",
        "verify_server_hostname",
    );
    let has_rpc = verifies || shows || names;
    let mut written = WrittenTls::default();
    if !has_https && !has_rpc {
        return written;
    }
    let listener = if has_rpc { "internal_rpc" } else { "https" };
    for name in ["ca_file", "cert_file", "key_file"] {
        let found = text(settings, listener, name);
        let other = text(settings, "https", name);
        if has_https && has_rpc && found != other && other.is_some() {
            let message = format!(
                "`tls.https.{name}` is another file than `tls.internal_rpc.{name}`: an agent has one certificate"
            );
            problems.push(settings.placed(Problem::new(SETTINGS, message)));
        }
        let found = found.map(str::to_owned);
        match name {
            "ca_file" => written.ca_file = found,
            "cert_file" => written.cert_file = found,
            _ => written.key_file = found,
        }
    }
    if has_https {
        let verifies = flag(
            settings,
            "https",
            "verify_incoming",
            "verify_incoming_https",
        );
        written.verify_incoming = Some(verifies);
    }
    if has_rpc {
        written.rpc = Some(true);
    }
    written
}
