//! The life of one task, from its setup through its restarts to its end.

mod api_socket;
pub(super) mod events;
mod hooks;
mod restarts;
pub(super) mod runner;
mod scripts;
#[cfg(test)]
mod tests;
