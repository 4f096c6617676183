//! `agent-info`.

use super::context::Context;
use super::http::decode;
use super::structured::Structured;
use anyhow::Context as _;
use jobs::wire::AgentSelf;

/// Arguments of `agent-info`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let path = "/v1/agent/self";
    let value = cx.http.get_value(path, &[]).await;
    let value = value.context("Error querying agent info")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let text = render(&decode(path, value)?);
    cx.print(&text)?;
    Ok(0)
}

fn render(agent: &AgentSelf) -> String {
    let mut lines = Vec::new();
    for (section, figures) in &agent.stats {
        lines.push(section.clone());
        for (name, value) in figures {
            lines.push(format!("  {name} = {value}"));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_figures_are_sorted() {
        let value = serde_json::json!({"stats": {
            "raft": {"term": "2", "commit_index": "9"}, "client": {"node_id": "7ab3"},
        }});
        assert_eq!(
            render(&decode("", value).unwrap()),
            "client\n  node_id = 7ab3\nraft\n  commit_index = 9\n  term = 2"
        );
    }
}
