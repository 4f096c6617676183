//! `alloc fs`.

use super::super::context::Context;
use super::super::http::{Http, segment};
use super::super::view::{View, bytes};
use super::super::{lookup, render::columns};
use super::logs::End;
use anyhow::Context as _;
use futures_util::StreamExt as _;
use jobs::wire::AllocFileInfo;

/// Arguments of `alloc fs`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Allocation id or its beginning; a job's with -job
    id: String,
    /// Path below the allocation's directory
    #[arg(default_value = "/")]
    path: String,
    /// The first argument is a job: take its newest running allocation
    #[arg(long)]
    job: bool,
    /// Sizes in bytes
    #[arg(short = 'H')]
    bytes_only: bool,
    /// Show the file itself, not its content
    #[arg(long)]
    stat: bool,
    /// Go on with what is written from now on
    #[arg(short = 'f')]
    follow: bool,
    /// Print the end only
    #[arg(long)]
    tail: bool,
    /// How many lines of the end
    #[arg(short = 'n', value_name = "LINES")]
    lines: Option<u64>,
    /// How many bytes of the end
    #[arg(short = 'c', value_name = "BYTES", conflicts_with = "lines")]
    byte_count: Option<u64>,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let view = cx.view(arguments.verbose);
    let alloc = if arguments.job {
        lookup::allocation_of_job(cx, &arguments.id, None).await?
    } else {
        lookup::allocation(cx, &arguments.id, &view).await?
    };
    let http = cx.http.in_namespace(&alloc.row.namespace);
    let id = segment(alloc.row.id);
    let path = [("path", arguments.path.as_str())];
    let file: AllocFileInfo = http
        .get(&format!("/v1/client/fs/stat/{id}"), &path)
        .await
        .context("Error reading file")?;
    if arguments.stat {
        cx.print(&stat(&file, arguments.bytes_only, &view))?;
        return Ok(0);
    }
    if file.is_dir {
        let files: Vec<AllocFileInfo> = http
            .get(&format!("/v1/client/fs/ls/{id}"), &path)
            .await
            .context("Error listing alloc dir")?;
        cx.print(&list(&files, arguments.bytes_only, &view))?;
        return Ok(0);
    }
    print_file(cx, &http, &id, arguments).await
}

async fn print_file(
    cx: &mut Context,
    http: &Http,
    id: &str,
    arguments: &Arguments,
) -> anyhow::Result<u8> {
    let end = End::of(arguments.byte_count, arguments.lines, arguments.tail);
    let mut limiter = end.map_or_else(super::logs::LastLines::all, End::limiter);
    let mut query = vec![("path", arguments.path.as_str())];
    let offset = end.map_or(0, End::offset).to_string();
    let kind = if arguments.follow || end.is_some() {
        let origin = if end.is_some() { "end" } else { "start" };
        let follow = if arguments.follow { "true" } else { "false" };
        query.extend([
            ("origin", origin),
            ("offset", offset.as_str()),
            ("follow", follow),
            ("plain", "true"),
        ]);
        "stream"
    } else {
        "cat"
    };
    let mut stream = http
        .stream(&format!("/v1/client/fs/{kind}/{id}"), &query)
        .await
        .context("Error reading file")?;
    while let Some(piece) = stream.next().await {
        let piece = piece.context("Error reading file")?;
        let out = limiter.push(&piece);
        cx.write(&out)?;
    }
    let out = limiter.finish();
    cx.write(&out)?;
    Ok(0)
}

fn size(file: &AllocFileInfo, bytes_only: bool) -> String {
    match u64::try_from(file.size) {
        Ok(size) if !bytes_only => bytes(size),
        _ => file.size.to_string(),
    }
}

fn name(file: &AllocFileInfo) -> String {
    if file.is_dir {
        format!("{}/", file.name)
    } else {
        file.name.clone()
    }
}

fn stat(file: &AllocFileInfo, bytes_only: bool, view: &View) -> String {
    let row = [
        file.file_mode.clone(),
        size(file, bytes_only),
        view.time(file.mod_time),
        file.content_type.clone(),
        name(file),
    ];
    columns::table(
        ["Mode", "Size", "Modified Time", "Content Type", "Name"],
        vec![row],
    )
}

fn list(files: &[AllocFileInfo], bytes_only: bool, view: &View) -> String {
    let rows = files.iter().map(|file| {
        [
            file.file_mode.clone(),
            size(file, bytes_only),
            view.time(file.mod_time),
            name(file),
        ]
    });
    columns::table(["Mode", "Size", "Modified Time", "Name"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    #[test]
    fn directories_end_in_a_slash() {
        let view = test_view();
        let file = |name: &str, is_dir| AllocFileInfo {
            name: name.into(),
            is_dir,
            size: 4096,
            file_mode: "drwxrwxrwx".into(),
            mod_time: view.now,
            ..AllocFileInfo::default()
        };
        assert_eq!(
            list(&[file("alloc", true), file("x", false)], false, &view),
            "Mode        Size     Modified Time         Name
drwxrwxrwx  4.0 KiB  2026-03-02T10:05:00Z  alloc/
drwxrwxrwx  4.0 KiB  2026-03-02T10:05:00Z  x"
        );
        assert!(stat(&file("x", false), true, &view).contains("4096"));
    }
}
