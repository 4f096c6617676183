//! The life of allocations: [`alloc`] decides which task runs when and tells the servers. It works with the
//! runners of its tasks on one [`shared`] record, which is kept on disk.

pub(super) mod alloc;
mod health;
mod ports;
pub(super) mod shared;
