//! `var init`.

use super::spec::Language;
use crate::{context::Context, job::init::write_example};

/// Arguments of `var init`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Language of the file
    #[arg(long, value_enum, default_value = "hcl")]
    out: Language,
    /// Print nothing
    #[arg(long)]
    quiet: bool,
    /// File to write
    file: Option<String>,
}

pub(super) fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let (name, text) = match arguments.out {
        Language::Hcl => ("spec.nv.hcl", include_str!("spec.nv.hcl")),
        Language::Json => ("spec.nv.json", include_str!("spec.nv.json")),
    };
    let file = arguments.file.as_deref().unwrap_or(name);
    write_example(file, &format!("File {file:?} already exists"), text)?;
    if !arguments.quiet {
        cx.print(&format!("Example variable specification written to {file}"))?;
    }
    Ok(0)
}
