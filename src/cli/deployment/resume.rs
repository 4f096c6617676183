//! `deployment resume`.

use super::{ActArguments, follow, pause};
use crate::{context::Context, lookup, view::quoted};

pub(super) async fn run(cx: &mut Context, arguments: &ActArguments) -> anyhow::Result<u8> {
    let current = lookup::deployment(cx, &arguments.id).await?;
    let answer = pause::set(cx, &current, false).await?;
    cx.print(&format!(
        "Deployment {} resumed",
        quoted(current.id.to_string())
    ))?;
    if !arguments.detach {
        cx.print("")?;
    }
    follow(cx, &current, answer.eval_id, arguments.ways()).await
}
