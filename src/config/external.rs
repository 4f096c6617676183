//! The block `consul` of a configuration file: a catalog elsewhere, instead of the built-in one.

use super::Problem;
use std::path::PathBuf;

const SOURCE: &str = "configuration";
/// Port of an agent that is named without one.
const PORT: &str = "8500";

/// What is written about it.
#[derive(Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenExternal {
    pub address: Option<String>,
    pub ssl: Option<bool>,
    pub token: Option<String>,
    pub ingress: Option<bool>,
}

impl std::fmt::Debug for WrittenExternal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrittenExternal")
            .field("address", &self.address)
            .field("ssl", &self.ssl)
            .field("ingress", &self.ingress)
            .finish_non_exhaustive()
    }
}

impl WrittenExternal {
    /// Keys of the block.
    pub(super) const KEYS: [&str; 4] = ["address", "ssl", "token", "ingress"];

    /// `self` with everything that `other` sets.
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            address: other.address.or(self.address),
            ssl: other.ssl.or(self.ssl),
            token: other.token.or(self.token),
            ingress: other.ingress.or(self.ingress),
        }
    }
}

/// A catalog elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct External {
    /// Such as `http://127.0.0.1:8500`.
    pub address: String,
    /// Secret id of the token that it is asked with.
    pub token: Option<String>,
    /// Whether the ingress routes to what is registered there.
    pub feeds_ingress: bool,
    /// The namespace that is asked for; that of the token if none.
    pub namespace: Option<String>,
    /// How new its answers have to be.
    pub consistency: Consistency,
    /// How TLS is spoken with it.
    pub tls: ExternalTls,
}

/// How new the answers of a catalog elsewhere have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// As that one decides.
    #[default]
    Default,
    /// Its leader has made sure that it still leads.
    Consistent,
    /// Whatever one of its servers knows.
    Stale,
}

/// How TLS is spoken with a catalog elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalTls {
    /// A file with its authorities; those of the system if none.
    pub authorities: Option<PathBuf>,
    /// Files with a certificate to show, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate is taken.
    pub is_unverified: bool,
}

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("External")
            .field("address", &self.address)
            .field("feeds_ingress", &self.feeds_ingress)
            .finish_non_exhaustive()
    }
}

/// None unless an address is written.
pub(super) fn resolve(written: &WrittenExternal, problems: &mut Vec<Problem>) -> Option<External> {
    let Some(address) = &written.address else {
        if *written != WrittenExternal::default() {
            problems.push(Problem::new(
                SOURCE,
                "`consul` has no `address`; name the agent to register with, or leave the block out",
            ));
        }
        return None;
    };
    let scheme = if written.ssl.unwrap_or(false) {
        "https"
    } else {
        "http"
    };
    let whole = if address.contains("://") {
        address.clone()
    } else {
        format!("{scheme}://{address}")
    };
    let parsed = url::Url::parse(&whole).ok();
    let parsed = parsed.filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/")
    });
    let Some(parsed) = parsed else {
        let message =
            format!("`consul.address` is `{address}`; HOST:PORT or http://HOST:PORT is expected");
        problems.push(Problem::new(SOURCE, message));
        return None;
    };
    let host = parsed.host_str().unwrap_or_default();
    let port = parsed
        .port()
        .map_or_else(|| PORT.to_owned(), |port| port.to_string());
    Some(External {
        address: format!("{}://{host}:{port}", parsed.scheme()),
        token: written.token.clone().filter(|token| !token.is_empty()),
        feeds_ingress: written.ingress.unwrap_or(false),
        namespace: None,
        consistency: Consistency::default(),
        tls: ExternalTls::default(),
    })
}
