//! From allocations and nodes to catalog rows: the joint between jobs and mesh.
//!
//! Servers register, drain and remove the rows in the same log entry that changes the allocation or
//! the node; clients run the checks of the instances. Both use this one derivation, so ids and
//! addresses cannot differ. It takes the [`Rules`] that the replicated state names, so that two
//! builds derive the same rows from one entry; a client takes those of the server's welcome. Pure:
//! no clock, no files.

mod instance;
mod node;
mod presence;
mod version;

pub use instance::{Instance, InstanceCheck, JOB_VERSION_META, alloc_of, instances};
pub use node::catalog_node;
pub use presence::{CatalogPresence, has_restarted, has_services};
pub use version::{Rules, UnknownRules, Version};
