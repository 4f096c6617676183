//! Options of every command that asks the catalog API.

use super::context::Context;
use super::http::{Dialect, Http, Target, Trust};
use anyhow::Context as _;
use std::path::PathBuf;

/// Where an agent listens for the catalog API unless told otherwise.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8500";

/// Options of every command that asks the catalog API.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Catalog options")]
pub(super) struct CatalogOptions {
    /// Address of the agent's catalog API
    #[arg(
        long,
        env = "CONSUL_HTTP_ADDR",
        value_name = "ADDR",
        hide_env_values = true
    )]
    http_addr: Option<String>,
    #[command(flatten)]
    tls: Box<TlsOptions>,
    /// Datacenter to ask; that of the agent when not given
    #[arg(long, value_name = "NAME")]
    datacenter: Option<String>,
    /// Take the answer of any server, not only of the leader
    #[arg(long)]
    stale: bool,
}

/// Options of TLS.
#[derive(Clone, Debug, Default, clap::Args)]
struct TlsOptions {
    /// File with the authorities of the agent's certificate
    #[arg(
        long,
        env = "CONSUL_CACERT",
        value_name = "FILE",
        hide_env_values = true
    )]
    ca_file: Option<PathBuf>,
    /// Directory with files of such authorities
    #[arg(
        long,
        env = "CONSUL_CAPATH",
        value_name = "DIR",
        hide_env_values = true
    )]
    ca_path: Option<PathBuf>,
    /// File with the certificate to show to the agent
    #[arg(
        long,
        env = "CONSUL_CLIENT_CERT",
        value_name = "FILE",
        hide_env_values = true
    )]
    client_cert: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(
        long,
        env = "CONSUL_CLIENT_KEY",
        value_name = "FILE",
        hide_env_values = true
    )]
    client_key: Option<PathBuf>,
}

impl CatalogOptions {
    /// A caller of the catalog API.
    ///
    /// # Errors
    /// When the address is no URL of HTTP, or a file of TLS cannot be used.
    pub(super) fn http(&self, cx: &Context) -> anyhow::Result<Http> {
        let given = self.http_addr.clone().filter(|text| !text.is_empty());
        Http::new(Target {
            dialect: Dialect::Catalog,
            address: given.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
            trust: self.tls.trust()?,
            token: token().or_else(|| cx.token.clone()),
            ..Target::default()
        })
    }

    /// Whether any server may answer.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// The parameters of a read, with more of them.
    pub(super) fn read<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut query = self.write(more);
        if self.stale {
            query.push(("stale", ""));
        }
        query
    }

    /// The parameters of a write, with more of them.
    pub(super) fn write<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut query = more.to_vec();
        if let Some(datacenter) = &self.datacenter {
            query.push(("dc", datacenter));
        }
        query
    }
}

impl TlsOptions {
    fn trust(&self) -> anyhow::Result<Trust> {
        anyhow::ensure!(
            std::env::var_os("CONSUL_TLS_SERVER_NAME").is_none_or(|name| name.is_empty()),
            "CONSUL_TLS_SERVER_NAME is not supported: name the agent in -http-addr as its certificate does"
        );
        let given =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        Ok(Trust {
            is_asked: switch("CONSUL_HTTP_SSL")?.unwrap_or(false),
            is_blind: !switch("CONSUL_HTTP_SSL_VERIFY")?.unwrap_or(true),
            authorities: given(&self.ca_file),
            authorities_dir: given(&self.ca_path),
            certificate: given(&self.client_cert),
            key: given(&self.client_key),
        })
    }
}

/// A variable of the environment that says yes or no; nothing when it is empty.
fn switch(name: &str) -> anyhow::Result<Option<bool>> {
    let text = std::env::var(name).unwrap_or_default();
    match text.as_str() {
        "" => Ok(None),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
        other => {
            Err(anyhow::anyhow!("`{other}` is neither true nor false")).context(name.to_owned())
        }
    }
}

fn token() -> Option<String> {
    let token = std::env::var("CONSUL_HTTP_TOKEN").ok();
    token.filter(|token| !token.is_empty())
}
