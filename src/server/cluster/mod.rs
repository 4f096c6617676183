//! What a server does because of its place among the servers: it hears of them in all regions
//! (`gossip`), asks those of its own (`directory`), begins a group with them (`bootstrap`), leads
//! or follows (`leadership`), and as the leader keeps the group as the servers are (`voters`, by
//! the rules of `autopilot`) and runs what only a leader does (`leader`).

pub(super) mod autopilot;
mod bootstrap;
pub(super) mod directory;
mod enrollment;
mod first_key;
pub(super) mod gossip;
mod leader;
pub(super) mod leadership;
pub(super) mod leaving;
pub(super) mod presence;
pub(super) mod regions;
pub(super) mod requests;
mod voters;

pub(super) use bootstrap::run as bootstrap;
