//! What a server does because of its place among the servers.

pub(super) mod leader;
mod presence;
