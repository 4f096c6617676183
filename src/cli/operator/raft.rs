//! `operator raft …`: the replicated log.

use crate::{context::Context, render::columns};
use anyhow::Context as _;
use jobs::wire::RaftConfiguration;

/// Look at the replicated log.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the servers that replicate it
    #[command(name = "list-peers")]
    ListPeers(ListPeersArguments),
}

/// Arguments of `operator raft list-peers`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListPeersArguments {
    /// Take the answer of any server, not only of the leader
    #[arg(long)]
    stale: bool,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::ListPeers(arguments) = command;
    let query: &[(&str, &str)] = if arguments.stale {
        &[("stale", "")]
    } else {
        &[]
    };
    let configuration: RaftConfiguration = cx
        .http
        .get("/v1/operator/raft/configuration", query)
        .await
        .context("Failed to retrieve raft configuration")?;
    cx.print(&peers(&configuration))?;
    Ok(0)
}

fn peers(configuration: &RaftConfiguration) -> String {
    let header = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    for server in &configuration.servers {
        let state = if server.leader { "leader" } else { "follower" };
        lines.push(vec![
            server.node.clone(),
            server.id.clone(),
            server.address.clone(),
            state.to_owned(),
            server.voter.to_string(),
            server.raft_protocol.clone(),
        ]);
    }
    columns::sparse(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::wire::RaftServer;

    #[test]
    fn one_line_per_server() {
        let configuration = RaftConfiguration {
            servers: vec![RaftServer {
                id: "1".into(),
                node: "s1.global".into(),
                address: "10.0.0.1:4647".into(),
                leader: true,
                voter: true,
                raft_protocol: "3".into(),
            }],
            index: 1,
        };
        assert_eq!(
            peers(&configuration),
            "Node       ID  Address        State   Voter  RaftProtocol
s1.global  1   10.0.0.1:4647  leader  true   3"
        );
    }
}
