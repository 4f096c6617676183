//! Files that define something for the catalog, HCL or JSON.

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Largest text that is read, bytes.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// When it cannot be read, and everything in it that is neither JSON nor plain HCL, by line and
/// column.
pub(super) fn read(file: &str) -> anyhow::Result<Value> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = if file == "-" {
        let stdin = std::io::stdin();
        stdin.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        let opened = std::fs::File::open(file);
        opened.and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("Failed to load data: cannot read `{file}`"))?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).with_context(|| format!("`{file}` is no JSON"));
    }
    config::definitions::tree(file, &text).or_else(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bail!("{}", problems.join("\n"))
    })
}
