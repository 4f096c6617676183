//! `scaling policy info`.

use super::{list, shown_id, target_text};
use crate::{
    context::Context,
    http::{decode, segment},
    render::columns,
    structured::{self, Structured},
    view::quoted,
};
use anyhow::{Context as _, bail};
use jobs::model::ScalingPolicy;
use jobs::wire::ScalingPolicyStub;

/// Arguments of `scaling policy info`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Policy id or its beginning; all policies when it is left out, with -json or -t
    id: Option<String>,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let querying = "Error querying scaling policy";
    let list_path = "/v1/scaling/policies";
    let Some(id) = &arguments.id else {
        let value = cx.http.get_value(list_path, &[]).await;
        let value = value.context("Error listing scaling policies")?;
        let Some(text) = arguments.structured.text(&value)? else {
            bail!("This command takes the id of a policy, or none with -json or -t");
        };
        cx.print(&text)?;
        return Ok(0);
    };
    if id.chars().count() == 1 {
        bail!("Identifier must contain at least two characters.");
    }
    let found: Vec<ScalingPolicyStub> = cx
        .http
        .get(list_path, &[("prefix", id)])
        .await
        .context(querying)?;
    let id = match found.as_slice() {
        [] => bail!(
            "{querying}: no scaling policies with prefix or ID {} found",
            quoted(id)
        ),
        [only] => &only.id,
        several => match several.iter().find(|one| one.id == *id) {
            Some(one) => &one.id,
            None => bail!(
                "Prefix matched multiple scaling policies\n\n{}",
                list::table(several, arguments.verbose)
            ),
        },
    };
    let path = format!("/v1/scaling/policy/{}", segment(id));
    let value = cx.http.get_value(&path, &[]).await.context(querying)?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    cx.print(&render(&decode(&path, value)?, arguments.verbose))?;
    Ok(0)
}

fn render(policy: &ScalingPolicy, whole_ids: bool) -> String {
    let rule = match &policy.policy {
        Some(rule) if !rule.is_empty() => structured::json(&rule.clone().into()),
        _ => "<empty>".to_owned(),
    };
    let head = columns::key_values(&[
        ("ID", shown_id(&policy.id, whole_ids)),
        ("Enabled", policy.enabled.unwrap_or(true).to_string()),
        (
            "Target",
            target_text(&policy.target.clone().unwrap_or_default()),
        ),
        ("Min", policy.min.unwrap_or(0).to_string()),
        ("Max", policy.max.unwrap_or(0).to_string()),
    ]);
    format!("{head}\n\nPolicy:\n{rule}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_shown_with_its_rule() {
        let policy = serde_json::json!({"ID": "7ab3c2ff-5c5e-4a2e-a1f6-000000000000",
            "Enabled": true, "Min": 1, "Max": 5, "Policy": {"cooldown": "1m"},
            "Target": {"Group": "app", "Job": "web", "Namespace": "default"}});
        let mut policy: ScalingPolicy = decode("", policy).unwrap();
        assert_eq!(
            render(&policy, false),
            "ID      = 7ab3c2ff
Enabled = true
Target  = Namespace:default,Job:web,Group:app
Min     = 1
Max     = 5

Policy:
{
    \"cooldown\": \"1m\"
}"
        );
        policy.policy = None;
        assert!(render(&policy, true).ends_with("Policy:\n<empty>"));
    }
}
