//! `snapshot inspect`.

use super::{file, read};
use crate::context::Context;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use sys::archive::{Archive, Frame, frames};

/// Name of the table of keys.
const KEYS: &str = "keys";
/// Spaces behind the longest cell of a column.
const GAP: usize = 6;
/// Least width of a column with its gap.
const WIDTH_MIN: usize = 8;

/// Arguments of `snapshot inspect`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// `pretty` or `json`
    #[arg(long, default_value = "pretty")]
    format: String,
    /// Show what keys take
    #[arg(long)]
    kvdetails: bool,
    /// How many parts of keys count together
    #[arg(long, default_value_t = 2)]
    kvdepth: usize,
    /// Only keys that start so
    #[arg(long, default_value = "", hide_default_value = true)]
    kvfilter: String,
    /// File with the snapshot
    file: Option<PathBuf>,
}

/// How many rows of a kind there are, and what they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    name: String,
    rows: usize,
    bytes: usize,
}

pub(super) fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(path) = file(cx, arguments.file.as_ref()) else {
        return Ok(1);
    };
    let archive = read(path)?;
    let rows = frames(&archive.state).context("Error reading snapshot")?;
    let tables = counted(rows.iter().map(|row| (row.table.to_owned(), size(row))));
    let keys = arguments.kvdetails.then(|| {
        let keys = rows.iter().filter(|row| row.table == KEYS);
        let keys = keys.filter(|row| row.key.starts_with(&arguments.kvfilter));
        counted(keys.map(|row| (start(row.key, arguments.kvdepth), size(row))))
    });
    let text = match arguments.format.as_str() {
        "pretty" => pretty(&archive, &tables, keys.as_deref()),
        "json" => as_json(&archive, &tables, keys.as_deref()).to_string(),
        other => bail!("Invalid format `{other}`: it must be `pretty` or `json`"),
    };
    cx.print(&text)?;
    Ok(0)
}

fn size(row: &Frame<'_>) -> usize {
    row.row.len()
}

/// The first parts of a key.
fn start(key: &str, parts: usize) -> String {
    let parts: Vec<&str> = key.split('/').take(parts.max(1)).collect();
    parts.join("/")
}

/// Rows by kind, what takes most first.
fn counted(rows: impl Iterator<Item = (String, usize)>) -> Vec<Count> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (name, bytes) in rows {
        let (rows, sum) = counts.entry(name).or_default();
        *rows += 1;
        *sum += bytes;
    }
    let counts = counts.into_iter();
    let counts = counts.map(|(name, (rows, bytes))| Count { name, rows, bytes });
    let mut counts: Vec<Count> = counts.collect();
    counts.sort_by(|one, other| other.bytes.cmp(&one.bytes).then(one.name.cmp(&other.name)));
    counts
}

fn sum(counts: &[Count]) -> usize {
    counts.iter().map(|count| count.bytes).sum()
}

fn pretty(archive: &Archive, tables: &[Count], keys: Option<&[Count]>) -> String {
    let meta = &archive.meta;
    let facts = [
        ("ID", meta.id.clone()),
        ("Size", meta.size.to_string()),
        ("Index", meta.index.to_string()),
        ("Term", meta.term.to_string()),
        ("Version", meta.version.to_string()),
    ];
    let facts: Vec<Vec<String>> = facts
        .into_iter()
        .map(|(key, value)| vec![format!(" {key}"), value])
        .collect();
    let mut text = laid_out(&facts);
    text.push('\n');
    text.push_str(&laid_out(&table("Type", tables)));
    if let Some(keys) = keys {
        text.push('\n');
        text.push_str(&laid_out(&table("Key Name", keys)));
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// Rows of a table of counts.
fn table(name: &str, counts: &[Count]) -> Vec<Vec<String>> {
    let rule = || vec![" ----".to_owned(), "----".to_owned(), "----".to_owned()];
    let mut rows = vec![
        vec![format!(" {name}"), "Count".to_owned(), "Size".to_owned()],
        rule(),
    ];
    rows.extend(counts.iter().map(|count| {
        vec![
            format!(" {}", count.name),
            count.rows.to_string(),
            bytes(count.bytes),
        ]
    }));
    rows.push(rule());
    rows.push(vec![" Total".to_owned(), String::new(), bytes(sum(counts))]);
    rows
}

/// Cells in columns, each as wide as its longest and a gap; the last one has none.
fn laid_out(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        (longest + GAP).max(WIDTH_MIN)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a text cannot fail.
            write!(line, "{cell:<width$}").ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A number of bytes as people read it.
fn bytes(count: usize) -> String {
    const UNITS: [(&str, usize); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    let unit = UNITS.into_iter().find(|(_, size)| count >= *size);
    let Some((name, size)) = unit else {
        return if count == 0 {
            "0".to_owned()
        } else {
            format!("{count}B")
        };
    };
    let tenths = (count * 10 + size / 2) / size;
    match tenths % 10 {
        0 => format!("{}{name}", tenths / 10),
        part => format!("{}.{part}{name}", tenths / 10),
    }
}

fn as_json(archive: &Archive, tables: &[Count], keys: Option<&[Count]>) -> Value {
    let meta = &archive.meta;
    let rows = |counts: &[Count]| -> Vec<Value> {
        let rows = counts.iter();
        rows.map(|count| json!({"Name": count.name, "Sum": count.bytes, "Count": count.rows}))
            .collect()
    };
    json!({
        "Meta": {
            "ID": meta.id,
            "Size": meta.size,
            "Index": meta.index,
            "Term": meta.term,
            "Version": meta.version,
        },
        "Stats": rows(tables),
        "StatsKV": keys.map(rows),
        "TotalSize": sum(tables),
        "TotalSizeKV": keys.map_or(0, sum),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::archive::Meta;

    #[test]
    fn what_is_in_a_snapshot_is_shown_as_it_is_known() {
        let archive = Archive {
            meta: Meta {
                version: 1,
                id: "2-52-1".to_owned(),
                index: 52,
                term: 2,
                size: 3600,
                ..Meta::default()
            },
            state: Vec::new(),
        };
        let rows = [("keys", 100), ("prepared queries", 3463), ("keys", 37)];
        let tables = counted(rows.map(|(name, size)| (name.to_owned(), size)).into_iter());
        let names = ["a/b/c", "a/b/d", "a/e"].map(|key| (start(key, 2), 1));
        let keys = counted(names.into_iter());
        let expected = " ID           2-52-1
 Size         3600
 Index        52
 Term         2
 Version      1

 Type                  Count      Size
 ----                  ----       ----
 prepared queries      1          3.4KB
 keys                  2          137B
 ----                  ----       ----
 Total                            3.5KB

 Key Name      Count      Size
 ----          ----       ----
 a/b           2          2B
 a/e           1          1B
 ----          ----       ----
 Total                    3B";
        assert_eq!(pretty(&archive, &tables, Some(&keys)), expected);
        let json = as_json(&archive, &tables, None);
        assert_eq!(json["Stats"][0]["Sum"], 3463);
        assert_eq!(json["StatsKV"], Value::Null);
        let shown = [0, 762, 1024, 9416, 2 << 20].map(bytes);
        assert_eq!(shown, ["0", "762B", "1KB", "9.2KB", "2MB"]);
    }
}
