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

use proxy::Config;

use super::LIBRARY;
use crate::running::Running;

fn config() -> Config {
    Config {
        library: LIBRARY,
        ..Config::default()
    }
}
