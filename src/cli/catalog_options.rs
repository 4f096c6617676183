//! Options of every command that asks the catalog API.

use super::context::Context;
use super::http::{Dialect, Http, Target};

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
    /// Datacenter to ask; that of the agent when not given
    #[arg(long, value_name = "NAME")]
    datacenter: Option<String>,
    /// Take the answer of any server, not only of the leader
    #[arg(long)]
    stale: bool,
}

impl CatalogOptions {
    /// A caller of the catalog API.
    ///
    /// # Errors
    /// When the address is no http URL.
    pub(super) fn http(&self, cx: &Context) -> anyhow::Result<Http> {
        let given = self.http_addr.clone().filter(|text| !text.is_empty());
        Http::new(Target {
            dialect: Dialect::Catalog,
            address: given.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
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

fn token() -> Option<String> {
    let token = std::env::var("CONSUL_HTTP_TOKEN").ok();
    token.filter(|token| !token.is_empty())
}
