//! `members` and `force-leave`.

use super::{
    catalog_options::CatalogOptions, context::Context, http::segment, render::columns::sparse,
};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Arguments of `members`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Print all tags
    #[arg(long)]
    detailed: bool,
    /// Only members that satisfy the expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Only members whose status matches this pattern
    #[arg(long, default_value = ".*", value_name = "PATTERN")]
    status: String,
    /// Only servers, as other datacenters know them
    #[arg(long)]
    wan: bool,
}

/// Arguments of `force-leave`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ForceLeave {
    #[command(flatten)]
    options: CatalogOptions,
    /// Forget the member at once: they are never remembered here
    #[arg(long)]
    prune: bool,
    /// Name of the member
    node: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
    protocol_cur: u8,
}

impl Member {
    fn status(&self) -> &'static str {
        match self.status {
            0 => "none",
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "unknown",
        }
    }

    fn tag(&self, name: &str) -> &str {
        self.tags.get(name).map_or("", String::as_str)
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let pattern = regex::Regex::new(&format!("^(?:{})$", arguments.status))
        .context("Failed to compile status regexp")?;
    let http = arguments.options.http(cx)?;
    let mut query = vec![("segment", "_all")];
    if arguments.wan {
        query.push(("wan", "1"));
    }
    if let Some(filter) = &arguments.filter {
        query.push(("filter", filter));
    }
    let members = http.get("/v1/agent/members", &query).await;
    let mut members: Vec<Member> = members.context("Error retrieving members")?;
    members.retain(|member| pattern.is_match(member.status()));
    if members.is_empty() {
        return Ok(2);
    }
    // Servers first.
    members.sort_by_key(|member| (member.tag("role") != "consul", member.name.clone()));
    let text = if arguments.detailed {
        detailed(&members)
    } else {
        table(&members)
    };
    cx.print(&text)?;
    Ok(0)
}

fn address(member: &Member) -> String {
    if member.addr.contains(':') {
        format!("[{}]:{}", member.addr, member.port)
    } else {
        format!("{}:{}", member.addr, member.port)
    }
}

fn table(members: &[Member]) -> String {
    let header = [
        "Node",
        "Address",
        "Status",
        "Type",
        "Build",
        "Protocol",
        "DC",
        "Partition",
        "Segment",
    ];
    let row = |member: &Member| {
        let is_server = member.tag("role") == "consul";
        let build = member.tag("build").split(':').next().unwrap_or_default();
        let segment = if is_server { "<all>" } else { "<default>" };
        let kind = if is_server { "server" } else { "client" };
        let protocol = member.protocol_cur.to_string();
        let address = address(member);
        [
            &member.name,
            &address,
            member.status(),
            kind,
            build,
            &protocol,
            member.tag("dc"),
            "default",
            segment,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(members.iter().map(row));
    sparse(&lines)
}

fn detailed(members: &[Member]) -> String {
    let mut lines = vec![
        ["Node", "Address", "Status", "Tags"]
            .map(str::to_owned)
            .to_vec(),
    ];
    lines.extend(members.iter().map(|member| {
        let tags = member
            .tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        vec![
            member.name.clone(),
            address(member),
            member.status().to_owned(),
            tags.collect::<Vec<_>>().join(","),
        ]
    }));
    sparse(&lines)
}

pub(super) async fn force_leave(cx: &mut Context, arguments: &ForceLeave) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let path = format!("/v1/agent/force-leave/{}", segment(&arguments.node));
    let query = if arguments.prune {
        vec![("prune", "1")]
    } else {
        Vec::new()
    };
    let left = http.put_bytes::<Value>(&path, &query, Vec::new()).await;
    left.context("Error force leaving")?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_listed_as_they_are_known() {
        let tags = [("role", "consul"), ("build", "1.22.0:"), ("dc", "dc1")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let member = Member {
            name: "node-a".to_owned(),
            addr: "127.0.0.1".to_owned(),
            port: 8301,
            tags: tags.into(),
            status: 1,
            protocol_cur: 2,
        };
        assert_eq!(
            table(std::slice::from_ref(&member)),
            "Node    Address         Status  Type    Build   Protocol  DC   Partition  Segment\n\
             node-a  127.0.0.1:8301  alive   server  1.22.0  2         dc1  default    <all>"
        );
        assert_eq!(
            detailed(&[member]),
            "Node    Address         Status  Tags\n\
             node-a  127.0.0.1:8301  alive   build=1.22.0:,dc=dc1,role=consul"
        );
    }
}
