//! Headers of the proxy's own, as the settings name them.

use std::io::Write;

use smallvec::SmallVec;

use crate::config::OwnHeaders;
use crate::headers::{Hop, Told};
use crate::http::handle::Handle;

/// What requests and answers get beside the usual headers.
#[derive(Default)]
pub(super) struct Own {
    settings: OwnHeaders,
    /// Headers of requests that are replaced, or taken out.
    names: SmallVec<[String; 3]>,
}

impl Own {
    /// As the settings say. None if a name is not free, as it means something on the way, or stands
    /// for two things: the library has its rules for that.
    pub(super) fn new(settings: &OwnHeaders, is_free: impl Fn(&str) -> bool) -> Option<Own> {
        let mut settings = settings.clone();
        // What is told of the client anyway is not told twice.
        let is_new = |name: &String| Told::of(name.as_bytes()).is_none();
        settings.client_ip = settings.client_ip.filter(is_new);
        let tls = settings.tls.as_ref().map(|(name, _)| name);
        let names = [&settings.client_ip, &settings.request_id];
        let names = names.into_iter().flatten().chain(tls);
        let mut own = Own::default();
        for name in names {
            if !is_free(name) || own.has(name) {
                return None;
            }
            own.names.push(name.clone());
        }
        own.settings = settings;
        Some(own)
    }

    /// Whether a header of a request is replaced, or taken out.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Writes the lines of a request.
    pub(super) fn write(&self, hop: &Hop, handle: &Handle, out: &mut Vec<u8>) {
        let own = &self.settings;
        let mut line = |name: &str, value: std::fmt::Arguments<'_>| {
            write!(out, "{name}: {value}\r\n").expect("writing to a buffer does not fail");
        };
        if let Some(name) = &own.client_ip {
            line(name, format_args!("{}", hop.address_text()));
        }
        if let Some(name) = &own.request_id {
            line(name, format_args!("{}", handle.request_id()));
        }
        if let Some((name, value)) = own.tls.as_ref().filter(|_| hop.is_tls()) {
            line(name, format_args!("{value}"));
        }
    }

    /// The value of `Strict-Transport-Security` of answers to a client.
    pub(super) fn transport_security(&self, hop: &Hop) -> Option<&str> {
        let value = self.settings.transport_security.as_deref();
        value.filter(|_| hop.is_tls())
    }
}

#[cfg(test)]
mod tests {
    use super::Own;
    use crate::config::OwnHeaders;

    #[test]
    fn names_that_mean_something_are_left_to_the_library() {
        let named = |name: &str| Some(name.to_owned());
        for (client_ip, request_id, is_own) in [
            (named("X-Client"), named("X-Id"), true),
            (named("X-Client"), named("x-client"), false),
            (named("Connection"), None, false),
            (None, named("Host"), false),
            (None, named("X-Forwarded-For"), false),
            // It is told of the client anyway.
            (named("X-Real-Ip"), named("X-Id"), true),
        ] {
            let settings = OwnHeaders {
                client_ip: client_ip.clone(),
                request_id,
                ..OwnHeaders::default()
            };
            let own = Own::new(&settings, |name| {
                !["Connection", "Host", "X-Forwarded-For"].contains(&name)
            });
            assert_eq!(own.is_some(), is_own, "{client_ip:?}");
            assert!(own.is_none_or(|own| !own.has("x-real-ip")));
        }
    }
}
