//! `keygen`: makes a key for gossip.

use super::context::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sys::random;

/// Arguments of `keygen`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {}

pub(super) fn run(cx: &mut Context) -> anyhow::Result<u8> {
    cx.print(&STANDARD.encode(random::seed_bytes()))?;
    Ok(0)
}
