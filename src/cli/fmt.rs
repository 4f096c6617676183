//! `fmt`: brings job files and configuration into their canonical layout.

use super::context::Context;
use crate::arguments::switches;
use anyhow::{Context as _, bail};
use jobs::spec;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The path that means standard input.
const STDIN: &str = "-";
/// How messages name it.
const STDIN_NAME: &str = "<stdin>";
/// Endings of the files that are looked for in folders.
const ENDINGS: [&str; 2] = ["nomad", "hcl"];
/// Longest file, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Folders inside each other.
const DEEPEST: usize = 64;

/// Arguments of `fmt`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&["list", "write"])))]
pub struct Arguments {
    /// Files, folders, or `-` for standard input; the working directory unless given
    paths: Vec<PathBuf>,
    /// Change nothing, and fail when something would be changed
    #[arg(long)]
    check: bool,
    /// Print the names of files that are changed
    #[arg(long, default_value_t = true)]
    list: bool,
    /// Write changed files back
    #[arg(long, default_value_t = true)]
    write: bool,
    /// Look into folders inside folders too
    #[arg(long)]
    recursive: bool,
}

/// What is done with a file, and what came of those before it.
struct Run {
    list: bool,
    write: bool,
    print: bool,
    recursive: bool,
    changed: bool,
    /// What went wrong, a line each.
    problems: Vec<String>,
}

pub(super) fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let from_stdin = arguments
        .paths
        .first()
        .is_some_and(|path| path.as_os_str() == STDIN);
    let list = arguments.list && !from_stdin;
    let write = arguments.write && !from_stdin && !arguments.check;
    let mut run = Run {
        list,
        write,
        print: from_stdin || !(list || write),
        recursive: arguments.recursive,
        changed: false,
        problems: Vec::new(),
    };
    if from_stdin {
        let text = read(std::io::stdin().lock()).context("cannot read standard input")?;
        run.text(cx, STDIN_NAME, &text)?;
    } else if arguments.paths.is_empty() {
        run.folder(cx, Path::new("."), 0)?;
    }
    for path in arguments.paths.iter().filter(|_| !from_stdin) {
        run.path(cx, path)?;
    }
    for problem in &run.problems {
        cx.complain(problem);
    }
    let failed = !run.problems.is_empty() || (arguments.check && run.changed);
    Ok(u8::from(failed))
}

impl Run {
    fn path(&mut self, cx: &mut Context, path: &Path) -> anyhow::Result<()> {
        if path.is_dir() {
            self.folder(cx, path, 0)
        } else if !path.exists() {
            self.refuse(format!("No file or directory at {}", path.display()));
            Ok(())
        } else if has_ending(path) {
            self.file(cx, path)
        } else {
            self.refuse(format!(
                "Only .nomad and .hcl files can be processed using fmt: {}",
                path.display()
            ));
            Ok(())
        }
    }

    fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn folder(&mut self, cx: &mut Context, folder: &Path, depth: usize) -> anyhow::Result<()> {
        let entries: Result<Vec<_>, _> = std::fs::read_dir(folder).and_then(Iterator::collect);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.refuse(format!(
                    "Failed to list directory {}: {error}",
                    folder.display()
                ));
                return Ok(());
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            // The working directory goes without saying.
            let path = match folder.to_str() {
                Some(".") => PathBuf::from(entry.file_name()),
                _ => entry.path(),
            };
            let kind = entry.file_type();
            if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
                if self.recursive && depth < DEEPEST {
                    self.folder(cx, &path, depth + 1)?;
                }
            } else if has_ending(&path) && path.is_file() {
                self.file(cx, &path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, cx: &mut Context, path: &Path) -> anyhow::Result<()> {
        let name = path.display().to_string();
        match std::fs::File::open(path).map_err(Into::into).and_then(read) {
            Ok(text) => {
                if let Some(changed) = self.text(cx, &name, &text)?
                    && self.write
                    && let Err(error) = std::fs::write(path, changed)
                {
                    self.refuse(format!("Failed to write file {name}: {error}"));
                }
            }
            Err(error) => self.refuse(format!("Failed to read file {name}: {error}")),
        }
        Ok(())
    }

    /// The text in its canonical layout, when that is another one.
    fn text(&mut self, cx: &mut Context, name: &str, text: &str) -> anyhow::Result<Option<String>> {
        let formatted = match spec::format(text, name) {
            Ok(formatted) => formatted,
            Err(problems) => {
                self.problems
                    .extend(problems.iter().map(ToString::to_string));
                return Ok(None);
            }
        };
        let is_changed = formatted != text;
        self.changed |= is_changed;
        if is_changed && self.list {
            cx.print(name)?;
        }
        if self.print {
            cx.write(formatted.as_bytes())?;
        }
        Ok(is_changed.then_some(formatted))
    }
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

fn read(from: impl std::io::Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("longer than {FILE_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).context("not UTF-8")
}
