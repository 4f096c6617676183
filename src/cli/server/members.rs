//! `server members`.

use crate::{context::Context, hints::Page, http::decode, render::columns, structured::Structured};
use anyhow::Context as _;
use jobs::wire::{AgentMember, OWN_VERSION_TAG, ServerMembers};
use std::collections::BTreeMap;

/// Arguments of `server members`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Show protocol versions and tags
    #[arg(long, alias = "detailed")]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let path = "/v1/agent/members";
    let value = cx.http.get_value(path, &[]).await;
    let value = value.context("Error querying servers")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut found: ServerMembers = decode(path, value)?;
    found.members.sort_by(|a, b| a.name.cmp(&b.name));
    let mut leaders = BTreeMap::new();
    let mut failed = None;
    for region in regions(&found.members) {
        let query = [("region", region.as_str())];
        match cx.http.get::<String>("/v1/status/leader", &query).await {
            Ok(leader) => {
                leaders.insert(region, leader);
            }
            Err(error) => failed = Some(format!("Region {region:?}: {error}")),
        }
    }
    cx.print(&members(&found.members, &leaders, arguments.verbose))?;
    cx.hint(Page::Servers).await;
    if let Some(error) = failed {
        cx.print("")?;
        cx.complain(&format!("Error determining leaders: {error}"));
        return Ok(1);
    }
    Ok(0)
}

fn tag<'a>(member: &'a AgentMember, name: &str) -> &'a str {
    member.tags.get(name).map_or("", String::as_str)
}

/// The level of the API, and the program that keeps it.
fn build(member: &AgentMember) -> String {
    let level = tag(member, "build");
    match tag(member, OWN_VERSION_TAG) {
        "" => level.to_owned(),
        own => format!("{level}+trivet.{own}"),
    }
}

fn regions(members: &[AgentMember]) -> Vec<String> {
    let mut regions: Vec<String> = members
        .iter()
        .map(|member| tag(member, "region").to_owned())
        .collect();
    regions.sort();
    regions.dedup();
    regions
}

fn members(all: &[AgentMember], leaders: &BTreeMap<String, String>, verbose: bool) -> String {
    let mut lines = vec![columns::chosen([
        (true, "Name".into()),
        (true, "Address".into()),
        (true, "Port".into()),
        (true, "Status".into()),
        (true, "Leader".into()),
        (verbose, "Protocol".into()),
        (true, "Raft Version".into()),
        (true, "Build".into()),
        (true, "Datacenter".into()),
        (true, "Region".into()),
        (verbose, "Tags".into()),
    ])];
    for member in all {
        let rpc = format!("{}:{}", member.addr, tag(member, "port"));
        let leads = leaders.get(tag(member, "region")) == Some(&rpc);
        let tags: Vec<String> = member
            .tags
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        lines.push(columns::chosen([
            (true, member.name.clone()),
            (true, member.addr.clone()),
            (true, member.port.to_string()),
            (true, member.status.clone()),
            (true, leads.to_string()),
            (verbose, member.protocol_cur.to_string()),
            (true, tag(member, "raft_vsn").to_owned()),
            (true, build(member)),
            (true, tag(member, "dc").to_owned()),
            (true, tag(member, "region").to_owned()),
            (verbose, tags.join(",")),
        ]));
    }
    columns::sparse(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_known_by_its_rpc_address() {
        let found: ServerMembers = decode(
            "",
            serde_json::json!({"Members": [{"Name": "s1.global", "Addr": "10.0.0.1", "Port": 4648,
                "Status": "alive", "Tags": {"region": "global", "dc": "dc1", "build": "2.0.1",
                "trivet_version": "0.1.0", "raft_vsn": "3", "port": "4647"}}]}),
        )
        .unwrap();
        let leaders = BTreeMap::from([("global".to_owned(), "10.0.0.1:4647".to_owned())]);
        assert_eq!(
            members(&found.members, &leaders, false),
            "Name       Address   Port  Status  Leader  Raft Version  Build               Datacenter  Region
s1.global  10.0.0.1  4648  alive   true    3             2.0.1+trivet.0.1.0  dc1         global"
        );
    }
}
