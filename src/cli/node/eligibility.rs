//! `node eligibility`: whether a node takes new allocations.

use super::own_id;
use crate::{context::Context, http::segment, lookup, view::quoted};
use anyhow::{Context as _, bail};
use jobs::model::Eligibility;
use jobs::wire::{NodeEligibilityRequest, NodeUpdateResponse};

/// Arguments of `node eligibility`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Node id or its beginning
    id: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "id")]
    own: bool,
    /// It takes new allocations
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// It takes none
    #[arg(long)]
    disable: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.enable == arguments.disable {
        bail!("Either the '-enable' or '-disable' flag must be set");
    }
    let id = match (&arguments.id, arguments.own) {
        (Some(id), _) => id.clone(),
        (None, true) => own_id(&cx.http).await?,
        (None, false) => bail!("Node ID must be specified if -self isn't being used"),
    };
    let node = lookup::node(cx, &id).await?;
    let (eligibility, text) = if arguments.enable {
        (Eligibility::Eligible, "eligible for scheduling")
    } else {
        (Eligibility::Ineligible, "ineligible for scheduling")
    };
    let request = NodeEligibilityRequest {
        node_id: node.id.to_string(),
        eligibility,
    };
    let path = format!("/v1/node/{}/eligibility", segment(node.id));
    let _answer: NodeUpdateResponse = cx
        .http
        .put(&path, &[], &request)
        .await
        .context("Error updating scheduling eligibility")?;
    let id = quoted(node.id.to_string());
    cx.print(&format!("Node {id} scheduling eligibility set: {text}"))?;
    Ok(0)
}
