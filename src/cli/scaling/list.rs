//! `scaling policy list`.

use super::{shown_id, target_text};
use crate::{context::Context, http::decode, render::columns, structured::Structured};
use anyhow::Context as _;
use jobs::wire::ScalingPolicyStub;

/// Arguments of `scaling policy list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Policies of this job only
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Policies of this kind only
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let query: Vec<(&str, &str)> = [("job", &arguments.job), ("type", &arguments.kind)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect();
    let path = "/v1/scaling/policies";
    let value = cx.http.get_value(path, &query).await;
    let value = value.context("Error listing scaling policies")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    cx.print(&table(&decode::<Vec<_>>(path, value)?, arguments.verbose))?;
    Ok(0)
}

/// Policies by what they are about.
pub(super) fn table(policies: &[ScalingPolicyStub], whole_ids: bool) -> String {
    if policies.is_empty() {
        return "No policies found".to_owned();
    }
    let mut rows: Vec<[String; 4]> = policies
        .iter()
        .map(|policy| {
            [
                shown_id(&policy.id, whole_ids),
                policy.enabled.to_string(),
                policy.policy_type.clone(),
                target_text(&policy.target),
            ]
        })
        .collect();
    rows.sort_by(|a, b| a[3].cmp(&b[3]));
    columns::table(["ID", "Enabled", "Type", "Target"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_listed_by_what_they_are_about() {
        let policy = |id: &str, job: &str| {
            serde_json::json!({"ID": id, "Enabled": true, "Type": "horizontal",
                "Target": {"Group": "app", "Job": job, "Namespace": "default", "Extra": "x"}})
        };
        let all = serde_json::json!([
            policy("7ab3c2ff-5c5e-4a2e-a1f6-000000000000", "web"),
            policy("c0ffee00-5c5e-4a2e-a1f6-000000000000", "api"),
        ]);
        let all: Vec<ScalingPolicyStub> = decode("", all).unwrap();
        assert_eq!(
            table(&all, false),
            "ID        Enabled  Type        Target
c0ffee00  true     horizontal  Namespace:default,Job:api,Group:app,Extra:x
7ab3c2ff  true     horizontal  Namespace:default,Job:web,Group:app,Extra:x"
        );
        assert_eq!(table(&[], true), "No policies found");
    }
}
