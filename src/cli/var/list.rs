//! `var list`.

use super::show::check_template;
use crate::{context::Context, hints::Page, render::columns, structured, template};
use anyhow::Context as _;
use jobs::wire::Variable;
use serde_json::Value;

/// Arguments of `var list`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// What variables must satisfy
    #[arg(long)]
    filter: Option<String>,
    /// How to print them
    #[arg(long, value_enum)]
    out: Option<Format>,
    /// Token of the page to print
    #[arg(long)]
    page_token: Option<String>,
    /// Variables on a page
    #[arg(long)]
    per_page: Option<u32>,
    /// Go template for `-out go-template`
    #[arg(long)]
    template: Option<String>,
    /// Start of their paths
    prefix: Option<String>,
}

/// How variables are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Through a Go template.
    GoTemplate,
    /// The API's objects.
    Json,
    /// For people.
    Table,
    /// Paths alone.
    Terse,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let format = arguments.out.unwrap_or_else(|| {
        if cx.is_terminal() {
            Format::Table
        } else {
            Format::Json
        }
    });
    check_template(format == Format::GoTemplate, arguments.template.as_ref())?;
    let per_page = arguments.per_page.map(|size| size.to_string());
    let query: Vec<(&str, &str)> = [
        ("prefix", &arguments.prefix),
        ("filter", &arguments.filter),
        ("per_page", &per_page),
        ("next_token", &arguments.page_token),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    .collect();
    let (rows, next) = cx
        .http
        .get_page("/v1/vars", &query)
        .await
        .context("Error retrieving vars")?;
    let text = match format {
        Format::Json if per_page.is_some() => structured::json(&serde_json::json!({
            "Data": rows,
            "QueryMeta": { "NextToken": next.clone().unwrap_or_default() },
        })),
        Format::Json => structured::json(&rows),
        Format::GoTemplate => {
            let through = arguments.template.as_deref().unwrap_or_default();
            template::render(through, &rows)
                .map_err(|error| anyhow::anyhow!("Error formatting the data: {error}"))?
        }
        Format::Table => table(cx, &variables(rows)?),
        Format::Terse => terse(cx, &variables(rows)?),
    };
    cx.print(&text)?;
    if let Some(next) = next.filter(|_| format != Format::Json) {
        cx.complain(&format!("Next page token: {next}"));
    }
    cx.hint(Page::Variables(arguments.prefix.as_deref())).await;
    Ok(0)
}

fn variables(rows: Value) -> anyhow::Result<Vec<Variable>> {
    serde_json::from_value(rows).context("Error retrieving vars")
}

fn table(cx: &Context, variables: &[Variable]) -> String {
    if variables.is_empty() {
        return "No matching variables found".to_owned();
    }
    let view = cx.view(false);
    let rows = variables.iter().map(|variable| {
        [
            variable.namespace.clone(),
            variable.path.clone(),
            view.time(variable.modify_time),
        ]
    });
    columns::table(["Namespace", "Path", "Last Updated"], rows.collect())
}

fn terse(cx: &Context, variables: &[Variable]) -> String {
    let everywhere = cx.namespace.as_deref() == Some("*");
    let lines = variables.iter().map(|variable| {
        if everywhere {
            vec![variable.namespace.clone(), variable.path.clone()]
        } else {
            vec![variable.path.clone()]
        }
    });
    columns::list(&lines.collect::<Vec<_>>())
}
