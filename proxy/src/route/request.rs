//! What of a request decides on its route.

use super::path::RequestPath;
use super::scheme::Scheme;

/// A request as far as the choice of its route goes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The Host header: any case, with or without a port or a last dot.
    pub host: &'a str,
    /// The path.
    pub path: &'a RequestPath<'a>,
    /// The query, without the question mark; empty if there is none.
    pub query: &'a str,
    /// Whether the listener ended TLS.
    pub is_tls: bool,
    /// What proxies before us say of the client's own scheme, if they do.
    pub forwarded_scheme: Option<Scheme>,
}

impl<'a> Request<'a> {
    /// A request without TLS and without a query.
    pub fn plain(host: &'a str, path: &'a RequestPath<'a>) -> Request<'a> {
        Request {
            host,
            path,
            query: "",
            is_tls: false,
            forwarded_scheme: None,
        }
    }

    /// The scheme by which the client came.
    pub fn scheme(&self) -> Scheme {
        let own = if self.is_tls {
            Scheme::Https
        } else {
            Scheme::Http
        };
        self.forwarded_scheme.unwrap_or(own)
    }
}
