//! `version`.

use super::context::Context;

/// Arguments of `version`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {}

pub(super) fn run(cx: &mut Context) -> anyhow::Result<u8> {
    cx.print(concat!("Trivet v", env!("CARGO_PKG_VERSION")))?;
    Ok(0)
}
