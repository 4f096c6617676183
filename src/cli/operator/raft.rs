//! `operator raft …`: the replicated log.

use crate::{context::Context, render::columns};
use anyhow::Context as _;
use jobs::wire::RaftConfiguration;
use serde_json::Value;

/// Look at the replicated log.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the servers that replicate it
    #[command(name = "list-peers")]
    ListPeers(ListPeersArguments),
    /// Take a server out that does not come back
    #[command(name = "remove-peer")]
    RemovePeer(PeerArguments),
    /// Let another server lead
    #[command(name = "transfer-leadership")]
    TransferLeadership(PeerArguments),
}

/// Which server is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PeerArguments {
    /// Id of the server, as `list-peers` shows it
    #[arg(long, conflicts_with = "peer_address")]
    peer_id: Option<String>,
    /// RPC address of the server
    #[arg(long)]
    peer_address: Option<String>,
}

impl PeerArguments {
    fn query(&self) -> anyhow::Result<[(&'static str, &str); 1]> {
        match (&self.peer_id, &self.peer_address) {
            (Some(id), None) => Ok([("id", id)]),
            (None, Some(address)) => Ok([("address", address)]),
            _ => anyhow::bail!("this command needs one of -peer-id and -peer-address"),
        }
    }
}

/// Arguments of `operator raft list-peers`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListPeersArguments {
    /// Take the answer of any server, not only of the leader
    #[arg(long)]
    stale: bool,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let arguments = match command {
        Command::ListPeers(arguments) => arguments,
        Command::RemovePeer(peer) => {
            let query = peer.query()?;
            let removed = cx.http.delete::<Value>("/v1/operator/raft/peer", &query);
            removed.await.context("Error removing peer")?;
            cx.print(&format!(
                "Removed peer with {} {:?}",
                query[0].0, query[0].1
            ))?;
            return Ok(0);
        }
        Command::TransferLeadership(peer) => {
            let query = peer.query()?;
            let path = "/v1/operator/raft/transfer-leadership";
            let moved = cx.http.put_bytes::<Value>(path, &query, Vec::new());
            moved.await.context("Error transferring leadership")?;
            cx.print(&format!(
                "Transferred leadership to peer with {} {:?}",
                query[0].0, query[0].1
            ))?;
            return Ok(0);
        }
    };
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
