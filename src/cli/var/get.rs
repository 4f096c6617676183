//! `var get`.

use super::{
    one_namespace, path,
    show::{self, Format, check_template},
};
use crate::{context::Context, hints::Page};
use anyhow::Context as _;
use jobs::wire::Variable;

/// Arguments of `var get`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Print the value of this item alone, as it is
    #[arg(long)]
    item: Option<String>,
    /// How to print it
    #[arg(long, value_enum)]
    out: Option<Format>,
    /// Go template for `-out go-template`
    #[arg(long)]
    template: Option<String>,
    /// Path
    path: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    one_namespace(cx)?;
    let format = arguments.out.unwrap_or_else(|| {
        if cx.is_terminal() {
            Format::Table
        } else {
            Format::Json
        }
    });
    check_template(format == Format::GoTemplate, arguments.template.as_ref())?;
    let variable: Variable = match cx.http.get(&path(&arguments.path), &[]).await {
        Err(error) if error.is_not_found() => {
            cx.complain("Variable not found");
            return Ok(1);
        }
        answer => answer.context("Error retrieving variable")?,
    };
    if let Some(item) = &arguments.item {
        let items = variable.items.unwrap_or_default();
        let Some(value) = items.get(item) else {
            cx.complain(&format!("Variable does not contain {item:?} item"));
            return Ok(1);
        };
        cx.write(value.as_bytes())?;
        return Ok(0);
    }
    if format != Format::None {
        let text = show::text(cx, &variable, format, arguments.template.as_ref())?;
        cx.print(&text)?;
        let Variable {
            path, namespace, ..
        } = &variable;
        cx.hint(Page::Variable { path, namespace }).await;
    }
    Ok(0)
}
