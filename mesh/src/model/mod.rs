//! The nouns of the catalog. Rows are plain data; the rules that change them are in
//! [`crate::state`].

mod authority;
mod check;
mod config_entry;
mod definition;
mod kv_entry;
mod name;
mod node;
mod overrides;
mod prepared_query;
mod role;
mod service;
mod session;
mod split;
mod time;

pub use authority::{Authority, Root};
pub use check::{
    Check, CheckKey, OUTPUT_BYTES_MAX, SERF_HEALTH, Status, UnknownStatus, bound_output,
};
pub use config_entry::{ConfigEntry, ConfigKey};
pub use definition::{CheckDefinition, DockerProbe, Http2Probe, HttpProbe, Probe, TlsProbe};
pub use kv_entry::KvEntry;
pub(crate) use name::or_none;
pub use name::{
    AllocId, AllocIdKind, CheckId, CheckIdKind, GroupName, GroupNameKind, JobId, JobIdKind, Name,
    Namespace, NamespaceKind, NodeId, NodeIdKind, NodeName, NodeNameKind, QueryId, QueryIdKind,
    ServiceId, ServiceIdKind, ServiceName, ServiceNameKind, SessionId, SessionIdKind, TaskName,
    TaskNameKind,
};
pub use node::Node;
pub use overrides::RouteOverrides;
pub use prepared_query::{
    FailoverTarget, NAME_PREFIX_MATCH, PreparedQuery, QueryDns, QueryFailover, QueryTemplate,
    ServiceQuery,
};
pub use role::{CONNECT_PROXY, INGRESS_GATEWAY, Role};
pub use service::{
    Locality, Origin, SERVERS, Service, ServiceAddress, ServiceKey, ServicePort, Weights,
};
pub use session::{Behavior, Session, UnknownBehavior};
pub use split::{Split, SplitKey};
pub use time::Timestamp;

/// A position in the replicated log; 0 means "never written".
pub type Index = u64;
