//! A question about a service, asked by name and answered from the catalog.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Index, QueryId};

/// The one kind of template that there is.
pub const NAME_PREFIX_MATCH: &str = "name_prefix_match";

/// A question about a service that people ask by its name or id, over HTTP and DNS.
///
/// Shape: this is also its JSON in the API, without session and token. A list or map that was never
/// given is null there, which `None` stands for.
///
/// Writer: users, through the prepared query API, which checks it before it is proposed. The
/// indexes are written by [`crate::state::State::apply`] only. Which session it lives with stands
/// beside it, as sessions never leave the servers.
///
/// Source: prepared queries API, "Create Prepared Query". Differs: no token is kept, as there are
/// none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreparedQuery {
    /// Unique (a UUID).
    #[serde(rename = "ID")]
    pub id: QueryId,
    /// What it is asked by; empty if by its id alone. Unique in any case of its letters.
    pub name: String,
    /// Whether it answers to every name that starts as its own does.
    pub template: QueryTemplate,
    /// Which instances answer it.
    pub service: ServiceQuery,
    /// How DNS answers it.
    #[serde(rename = "DNS")]
    pub dns: QueryDns,
    /// Log index at which the row was first written.
    pub create_index: Index,
    /// Log index of the last effective change.
    pub modify_index: Index,
}

impl PreparedQuery {
    /// Whether it answers to every name that starts as its own does.
    #[must_use]
    pub fn is_template(&self) -> bool {
        !self.template.kind.is_empty()
    }
}

/// What makes a query one for many names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryTemplate {
    /// [`NAME_PREFIX_MATCH`], or empty for a query that is no template.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What the asked name is taken apart with, for `${match(N)}`.
    pub regexp: String,
    /// Whether tags that come out empty are left out.
    pub remove_empty_tags: bool,
}

/// Which instances answer a query. Its texts may contain `${…}` in a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceQuery {
    /// Name of the service.
    pub service: String,
    /// Always empty: there are no groups of peers.
    pub sameness_group: String,
    /// Where else is asked when nothing answers here.
    pub failover: QueryFailover,
    /// Whether instances in warning are left out too.
    pub only_passing: bool,
    /// Ids of checks that do not count.
    #[serde(rename = "IgnoreCheckIDs")]
    pub ignore_check_ids: Option<Vec<String>>,
    /// Name of a node whose neighbors come first, or `_agent` or `_ip`.
    pub near: String,
    /// Tags that must all be present, or, behind `!`, absent.
    pub tags: Option<Vec<String>>,
    /// Metadata that the node must have.
    pub node_meta: Option<BTreeMap<String, String>>,
    /// Metadata that the instance must have.
    pub service_meta: Option<BTreeMap<String, String>>,
    /// Always false: instances of the mesh are not asked for.
    pub connect: bool,
    /// Always empty: there are no peers.
    pub peer: String,
}

/// Where else a query is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryFailover {
    /// How many of the nearest other datacenters.
    pub nearest_n: i64,
    /// Datacenters, in order, after those.
    pub datacenters: Option<Vec<String>>,
    /// Datacenters or peers, in order, instead of both.
    pub targets: Option<Vec<FailoverTarget>>,
}

/// Another place that a query is asked at: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FailoverTarget {
    /// Name of a peer.
    pub peer: String,
    /// Name of a datacenter.
    pub datacenter: String,
}

/// How DNS answers a query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryDns {
    /// How long an answer may be kept, such as `10s`; empty for as long as one about the service.
    #[serde(rename = "TTL")]
    pub ttl: String,
}
