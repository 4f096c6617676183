//! Who may ask: checks of `Host` and `Origin`, so that a web page cannot use the listeners of the
//! machine that it is looked at on.
//!
//! Programs send no `Origin`, so nothing changes for them. A browser sends one with everything that
//! changes state and with every read whose answer a page would see; it must be that of the listener
//! itself or a configured one. A page whose name was made to resolve to a loopback address (DNS
//! rebinding) has the right origin but the wrong host, so connections to loopback addresses are
//! answered for known hosts only.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::error::Error;

/// Stands for every origin in the configuration.
const ANY: &str = "*";
/// Tells a server that knows it how far a browser's request comes.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Methods that pages of allowed origins may use.
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE");
/// Headers that pages of allowed origins may send.
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, x-consul-token, x-nomad-token");
/// Headers that pages of allowed origins may read.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-consul-index, x-consul-knownleader, x-consul-lastcontact, x-nomad-index, x-nomad-knownleader, x-nomad-lastcontact, x-nomad-nexttoken",
);
/// Seconds for which a browser may remember the answer to its question.
const REMEMBER: HeaderValue = HeaderValue::from_static("600");

/// Where a connection ends on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// At a loopback address.
    Loopback,
    /// At any other address.
    Network,
}

/// Which hosts and origins are answered; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Access(Arc<Rules>);

#[derive(Debug, Default)]
struct Rules {
    /// Host names besides the loopback ones, in small letters.
    hosts: BTreeSet<String>,
    /// Origins besides that of the listener, in small letters; [`ANY`] for all.
    origins: BTreeSet<String>,
}

impl Access {
    /// Answers also for these host names and for pages of these origins (`scheme://host:port`, or
    /// `*` for all).
    pub fn new(
        hosts: impl IntoIterator<Item = String>,
        origins: impl IntoIterator<Item = String>,
    ) -> Self {
        let small = |text: String| text.to_ascii_lowercase();
        Self(Arc::new(Rules {
            hosts: hosts.into_iter().map(small).collect(),
            origins: origins.into_iter().map(small).collect(),
        }))
    }

    fn knows_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || bare.parse::<Ipv6Addr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.0.hosts.contains(&host)
    }

    fn knows_origin(&self, origin: &str, authority: Option<&str>) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.0.origins.contains(ANY) || self.0.origins.contains(&origin) {
            return true;
        }
        let (Some(own), Some((scheme, of_page))) = (authority, origin.split_once("://")) else {
            return false;
        };
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return false,
        };
        let without_port = |authority: &str| {
            let authority = authority.to_ascii_lowercase();
            match authority.strip_suffix(default_port) {
                Some(host) => host.to_owned(),
                None => authority,
            }
        };
        without_port(own) == without_port(of_page)
    }

    /// Checks a request; answers with the foreign origin that it comes from, if it has one that is
    /// allowed.
    fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        reach: Reach,
    ) -> Result<Option<HeaderValue>, Error> {
        let authority = authority(uri, headers)?;
        if reach == Reach::Loopback
            && let Some(authority) = authority
        {
            let host = host_of(authority);
            if !self.knows_host(host) {
                return Err(refused(format!(
                    "the host {host:?} is not answered on a loopback address; add it to `api.allowed_hosts` in the configuration of the agent"
                )));
            }
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
                None | Some(b"same-origin" | b"none") => Ok(None),
                Some(_) if method.is_safe() => Ok(None),
                Some(_) => Err(refused(
                    "a request of a page of another site must not change anything",
                )),
            };
        };
        let text = origin.to_str().unwrap_or_default();
        if !self.knows_origin(text, authority) {
            return Err(refused(format!(
                "requests of pages of {text:?} are not answered; add it to `api.allowed_origins` in the configuration of the agent"
            )));
        }
        Ok(Some(origin.clone()))
    }
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(StatusCode::FORBIDDEN, message)
}

/// Host and port that the request is meant for; none when it does not say.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Error> {
    let mut named = headers.get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(Error::bad_request("more than one Host header"));
    }
    let of_uri = uri.authority().map(Authority::as_str);
    match (of_uri, first) {
        // With HTTP/2 the authority stands here.
        (Some(authority), _) => Ok(Some(authority)),
        (None, Some(host)) => host
            .to_str()
            .map(Some)
            .map_err(|_| Error::bad_request("the Host header is not readable")),
        (None, None) => Ok(None),
    }
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority
            .find(']')
            .and_then(|end| authority.get(..=end))
            .unwrap_or(authority);
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

/// Lets a request through, or refuses it; a page of an allowed origin may read the answer.
pub(super) async fn guard(access: &Access, reach: Reach, request: Request, next: Next) -> Response {
    let (method, headers) = (request.method(), request.headers());
    let origin = match access.check(method, request.uri(), headers, reach) {
        Ok(origin) => origin,
        Err(refused) => return refused.into_response(),
    };
    let asks_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if asks_first => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        if asks_first {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBER);
        }
    }
    // A cache must not answer one origin with what another was told.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks at `127.0.0.1:4646`; answers with the status of a refusal, or 200.
    fn ask(access: &Access, method: Method, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let uri = Uri::from_static("/v1/jobs");
        match access.check(&method, &uri, &map, Reach::Loopback) {
            Ok(_) => 200,
            Err(error) => error.into_response().status().as_u16(),
        }
    }

    #[test]
    fn hosts_are_loopback_names_addresses_or_configured() {
        let access = Access::new(["Agent.Example".to_owned()], []);
        for (host, status) in [
            ("127.0.0.1:4646", 200),
            ("127.0.0.1", 200),
            ("192.0.2.7:4646", 200),
            ("[::1]:4646", 200),
            ("localhost:4646", 200),
            ("LOCALHOST", 200),
            ("localhost.:4646", 200),
            ("ui.localhost:4646", 200),
            ("agent.example:4646", 200),
            ("rebound.example:4646", 403),
            ("localhost.example", 403),
            ("127.0.0.1.example", 403),
            ("notlocalhost", 403),
            ("", 403),
        ] {
            assert_eq!(
                ask(&access, Method::GET, &[("host", host)]),
                status,
                "{host}"
            );
        }
        assert_eq!(ask(&access, Method::GET, &[]), 200);
        let twice = [("host", "localhost"), ("host", "rebound.example")];
        assert_eq!(ask(&access, Method::GET, &twice), 400);
    }

    #[test]
    fn only_loopback_connections_ask_for_the_host() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("any.example"));
        let uri = Uri::from_static("/");
        let checked = Access::default().check(&Method::GET, &uri, &headers, Reach::Network);
        assert_eq!(checked, Ok(None));
    }

    #[test]
    fn origins_are_the_own_one_or_configured() {
        let access = Access::new([], ["https://UI.example".to_owned()]);
        for (origin, status) in [
            ("http://127.0.0.1:4646", 200),
            ("https://127.0.0.1:4646", 200),
            ("https://ui.example", 200),
            ("http://ui.example", 403),
            ("https://ui.example:8443", 403),
            ("http://127.0.0.1:3000", 403),
            ("http://127.0.0.1", 403),
            ("http://localhost:4646", 403),
            ("http://evil.example", 403),
            ("http://127.0.0.1:4646.evil.example", 403),
            ("http://127.0.0.1:46460", 403),
            ("file://", 403),
            ("null", 403),
            ("", 403),
            ("ftp://127.0.0.1:4646", 403),
        ] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                let headers = [("host", "127.0.0.1:4646"), ("origin", origin)];
                assert_eq!(ask(&access, method, &headers), status, "{origin}");
            }
        }
        let any = Access::new([], ["*".to_owned()]);
        let headers = [("host", "127.0.0.1:4646"), ("origin", "null")];
        assert_eq!(ask(&any, Method::POST, &headers), 200);
    }

    #[test]
    fn default_ports_may_be_left_out() {
        let access = Access::default();
        let same = [("host", "localhost:80"), ("origin", "http://localhost")];
        assert_eq!(ask(&access, Method::POST, &same), 200);
        let other = [("host", "localhost:80"), ("origin", "https://localhost")];
        assert_eq!(ask(&access, Method::POST, &other), 403);
    }

    #[test]
    fn what_a_browser_says_of_itself_counts_too() {
        let access = Access::default();
        for (site, method, status) in [
            ("cross-site", Method::POST, 403),
            ("same-site", Method::PUT, 403),
            ("cross-site", Method::DELETE, 403),
            ("same-origin", Method::POST, 200),
            ("none", Method::POST, 200),
            // Following a link to the user interface.
            ("cross-site", Method::GET, 200),
        ] {
            let headers = [("host", "localhost"), ("sec-fetch-site", site)];
            assert_eq!(ask(&access, method.clone(), &headers), status, "{site}");
        }
    }
}
