//! What holds on both ways.

mod drain;
mod forward;
mod heads;
mod limits;
mod listeners;
mod page;
mod rescue;
mod retry;
mod stop;
mod stopped;
mod tls;

use std::time::Duration;

use proxy::Config;

use super::LIBRARY;
use crate::running::Running;

fn config() -> Config {
    Config {
        library: LIBRARY,
        // However long the machine pauses, no connection to a target has waited for too long.
        upstream_idle_timeout: Duration::from_secs(600),
        ..Config::default()
    }
}
