//! `job history`.

use super::super::context::Context;
use super::super::http::{Http, decode, segment};
use super::super::structured::{self, Structured};
use super::super::view::View;
use super::super::{lookup, render::columns};
use super::diff;
use anyhow::{Context as _, bail};
use jobs::model::Job;
use jobs::wire::{DiffType, JobDiff, JobVersionsResponse};
use serde_json::Value;

/// Arguments of `job history`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Show the difference to the version before
    #[arg(short = 'p')]
    diffs: bool,
    /// Show each version as JSON
    #[arg(long)]
    full: bool,
    /// Show this version only
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// With -p, show the differences to the version of this name
    #[arg(long, value_name = "NAME")]
    diff_tag: Option<String>,
    /// With -p, show the differences to this version
    #[arg(long, value_name = "VERSION")]
    diff_version: Option<u64>,
    #[command(flatten)]
    structured: Structured,
}

impl Arguments {
    fn check(&self) -> anyhow::Result<()> {
        if self.structured.is_wanted() && (self.diffs || self.full) {
            bail!("-json and -t are exclusive with -p and -full");
        }
        if (self.diff_tag.is_some() || self.diff_version.is_some()) && !self.diffs {
            bail!("-diff-tag and -diff-version can only be used with -p");
        }
        if self.diff_tag.is_some() && self.diff_version.is_some() {
            bail!("-diff-tag and -diff-version are mutually exclusive");
        }
        Ok(())
    }
}

/// The version of a job that has a name.
pub(super) async fn named(http: &Http, job: &str, name: &str) -> anyhow::Result<u64> {
    let path = format!("/v1/job/{}/versions", segment(job));
    let found: JobVersionsResponse = http.get(&path, &[]).await?;
    let has_name = |job: &Job| job.version_tag.as_ref().is_some_and(|tag| tag.name == name);
    match found.versions.iter().find(|job| has_name(job)) {
        Some(job) => Ok(job.version),
        None => bail!("version tag {name} not found for job {job}"),
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.check()?;
    let job = lookup::job(cx, &arguments.job).await?;
    let path = format!("/v1/job/{}/versions", segment(&job.id));
    let diffs = if arguments.diffs { "true" } else { "false" };
    let base = arguments.diff_version.map(|version| version.to_string());
    let mut query = vec![("diffs", diffs)];
    query.extend(arguments.diff_tag.as_deref().map(|tag| ("diff_tag", tag)));
    query.extend(base.as_deref().map(|version| ("diff_version", version)));
    let value = cx
        .http
        .in_namespace(&job.namespace)
        .get_value(&path, &query)
        .await
        .context("Error retrieving job versions")?;
    if arguments.structured.is_wanted() {
        return print_structured(cx, arguments, &value);
    }
    let full: Vec<Value> = value
        .get("Versions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let found: JobVersionsResponse = decode(&path, value)?;
    let diffs = found.diffs.unwrap_or_default();
    let view = cx.view(false);
    let mut blocks = Vec::new();
    for (at, version) in found.versions.iter().enumerate() {
        if arguments
            .version
            .is_some_and(|wanted| wanted != version.version)
        {
            continue;
        }
        let json = full.get(at).filter(|_| arguments.full);
        blocks.push(block(version, diffs.get(at), json, &view));
    }
    if blocks.is_empty() {
        match arguments.version {
            Some(version) => bail!("Job {:?} has no version {version}", job.id),
            None => bail!("No job versions found"),
        }
    }
    cx.print(&blocks.join("\n\n"))?;
    Ok(0)
}

fn print_structured(cx: &mut Context, arguments: &Arguments, value: &Value) -> anyhow::Result<u8> {
    let versions = value.get("Versions").cloned().unwrap_or_default();
    let object = match arguments.version {
        None => versions,
        Some(wanted) => versions
            .as_array()
            .and_then(|all| {
                all.iter()
                    .find(|one| one.get("Version").and_then(Value::as_u64) == Some(wanted))
            })
            .cloned()
            .with_context(|| format!("no version {wanted}"))?,
    };
    if let Some(text) = arguments.structured.text(&object)? {
        cx.print(&text)?;
    }
    Ok(0)
}

fn block(job: &Job, difference: Option<&JobDiff>, full: Option<&Value>, view: &View) -> String {
    let mut rows = vec![
        ("Version", job.version.to_string()),
        ("Stable", job.stable.to_string()),
        ("Submit Date", view.time(job.submit_time)),
    ];
    if let Some(tag) = &job.version_tag {
        rows.push(("Tag Name", tag.name.clone()));
        if !tag.description.is_empty() {
            rows.push(("Tag Description", tag.description.clone()));
        }
    }
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut text = columns::key_values(&rows);
    // Values of several lines, which a cell has not.
    let mut add = |key: &str, lines: &str| {
        text.push_str(&format!("\n{key:width$} = {lines}"));
    };
    if let Some(difference) = difference.filter(|diff| diff.diff_type != DiffType::None) {
        add(
            "Diff",
            &format!("\n{}", diff::render(difference, view).trim()),
        );
    }
    if let Some(full) = full {
        add("Full", &format!("JSON Job:\n{}", structured::json(full)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    #[test]
    fn a_version_may_carry_its_difference() {
        let view = test_view();
        let job = Job {
            version: 1,
            stable: true,
            submit_time: view.now,
            ..Job::default()
        };
        let difference = JobDiff {
            diff_type: DiffType::Edited,
            id: "web".into(),
            ..JobDiff::default()
        };
        let tagged = Job {
            version_tag: Some(Box::new(jobs::model::VersionTag {
                name: "golden".into(),
                description: "before the move".into(),
                ..Default::default()
            })),
            ..job.clone()
        };
        assert_eq!(
            block(&tagged, None, None, &view),
            "Version         = 1
Stable          = true
Submit Date     = 2026-03-02T10:05:00Z
Tag Name        = golden
Tag Description = before the move"
        );
        assert_eq!(
            block(&job, Some(&difference), None, &view),
            "Version     = 1
Stable      = true
Submit Date = 2026-03-02T10:05:00Z
Diff        =\u{20}
+/- Job: \"web\""
        );
    }
}
