//! JSON shapes of the catalog HTTP API, and conversions from the model.
//!
//! Key order and the choice between null, empty and absent follow the reference. Nothing here
//! decides what is shown.

mod agent;
mod catalog;
mod chain;
mod duration;
mod fields;
mod gateway;
mod health;
mod intention;
mod kv;
mod session;
mod ui;

pub use agent::{
    API_VERSION, AgentConfig, AgentIdentity, AgentMember, AgentSelf, AgentService, Coordinate,
    DebugConfig, Member, MemberStatus,
};
pub use catalog::{
    CatalogNode, CatalogNodeServiceList, CatalogNodeServices, CatalogService, CatalogServiceEntry,
    Connect, Empty, LocalityEntry, NamedPort, NoProxy, Proxy, TaggedAddress, WeightsEntry,
};
pub use chain::{
    ChainAnswer, ChainEntry, ChainFailover, ChainNode, ChainResolver, ChainRoute, ChainSplit,
    ChainTarget, GatewayMode, SubsetEntry,
};
pub use duration::go_duration;
pub use gateway::{GatewayService, Named};
pub use health::{HealthCheck, HealthServiceEntry};
pub use intention::IntentionEntry;
pub use kv::{KvExport, KvPair};
pub use session::{SessionEntry, SessionServiceCheck};
pub use ui::{NodeOverview, ServiceOverview};
