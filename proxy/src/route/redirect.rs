//! Routes that answer with another place instead of sending the request on.

use super::problem::Fault;
use super::scheme::Scheme;

/// What stands for the path of the request.
const PATH: &str = "$path";

/// What stands for the host of the request.
const HOST: &str = "$host";

/// Where a redirect leads, with the places that are filled in from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: u16,
    scheme: Scheme,
    /// What stands before and behind the request's host, or all of the host.
    host: (String, Option<String>),
    /// What stands before and behind the request's path, or all of the path.
    path: (String, Option<String>),
    query: Option<String>,
}

impl Redirect {
    /// Reads a URL in which `$host` and `$path` may stand once each.
    ///
    /// # Errors
    /// If it is no HTTP URL, or has other variables.
    pub(super) fn parse(status: u16, url: &str) -> Result<Redirect, Fault> {
        let invalid = || Fault::InvalidRedirect {
            text: url.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let scheme = Scheme::parse(scheme).ok_or_else(invalid)?;
        let is_http = matches!(scheme, Scheme::Http | Scheme::Https);
        let is_clean = rest.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_http || !is_clean || rest.contains('"') {
            return Err(invalid());
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query.to_owned())),
            None => (rest, None),
        };
        let host_end = place
            .find('/')
            .into_iter()
            .chain(place.find(PATH))
            .min()
            .unwrap_or(place.len());
        let (host, path) = place.split_at(host_end);
        let host = once(host, HOST).ok_or_else(invalid)?;
        // `/$path` and `$path` are the same.
        let path = once(&path.replace("/$path", PATH), PATH).ok_or_else(invalid)?;
        if host.0.is_empty() && host.1.is_none() {
            return Err(invalid());
        }
        Ok(Redirect {
            status,
            scheme,
            host,
            path,
            query,
        })
    }

    /// The status of the answer, 300 to 399.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The scheme that it leads to.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it leads a request for a host and a path; `query` is its own, if it has one.
    pub(super) fn location(&self, host: &str, path: &str, query: &str) -> String {
        let (host, path) = (self.host(host), self.path(path));
        let scheme = self.scheme.as_str();
        let own = Some(query).filter(|own| self.path.1.is_some() && !own.is_empty());
        match self.query.as_deref().or(own) {
            Some(query) => format!("{scheme}://{host}{path}?{query}"),
            None => format!("{scheme}://{host}{path}"),
        }
    }

    /// The host that it leads a request for `own` to.
    pub(super) fn host(&self, own: &str) -> String {
        let (before, after) = &self.host;
        match after {
            Some(after) => format!("{before}{own}{after}"),
            None => before.clone(),
        }
    }

    /// The path that it leads a request for `own` to.
    pub(super) fn path(&self, own: &str) -> String {
        let (before, after) = &self.path;
        let mut path = before.clone();
        if let Some(after) = after {
            path.push_str(own);
            path.push_str(after);
        }
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        path
    }
}

/// What stands before and behind a variable; nothing behind if it does not occur. None if it occurs
/// twice, or there are others.
fn once(text: &str, variable: &str) -> Option<(String, Option<String>)> {
    let (before, after) = match text.split_once(variable) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    };
    let is_fine = !before.contains('$') && !after.unwrap_or_default().contains('$');
    is_fine.then(|| (before.to_owned(), after.map(str::to_owned)))
}
