use super::glob::glob;
use super::{CallError, Result, encoding, failed, text_at};
use crate::spec::ReadFile;
use serde_json::Value;

/// Functions that need the caller's file system.
pub(super) const NAMES: &[&str] = &[
    "abspath",
    "file",
    "filebase64",
    "fileexists",
    "fileset",
    "pathexpand",
];

pub(super) fn call(name: &str, args: &[Value], files: &dyn ReadFile) -> Result {
    let path = text_at(args, 0)?;
    match name {
        "fileset" => fileset(&path, &text_at(args, 1)?, files),
        "file" => String::from_utf8(files.read(&path).map_err(failed)?)
            .map(Value::from)
            .map_err(|_| failed(format!("contents of {path} are not valid UTF-8"))),
        "filebase64" => Ok(encoding::to_base64(&files.read(&path).map_err(failed)?).into()),
        "fileexists" => Ok(files.exists(&path).into()),
        "pathexpand" if !path.starts_with('~') => Ok(path.into()),
        // Only `pathexpand` knows the folder of a user.
        "abspath" if path.starts_with('~') => {
            let path = files.absolute(&format!("./{path}"));
            path.map(Value::from).map_err(failed)
        }
        "abspath" | "pathexpand" => files.absolute(&path).map(Value::from).map_err(failed),
        _ => Err(CallError::Unknown),
    }
}

/// The regular files below a folder whose paths, relative to it, match a pattern.
fn fileset(folder: &str, pattern: &str, files: &dyn ReadFile) -> Result {
    let pattern = glob(pattern.trim_start_matches("./"))?;
    let mut found: Vec<String> = files.list(folder).map_err(failed)?;
    found.retain(|path| pattern.is_match(path));
    found.sort();
    Ok(found.into_iter().map(Value::from).collect())
}

pub(super) fn basename(args: &[Value]) -> Result {
    Ok(last_name(&text_at(args, 0)?).into())
}

pub(super) fn dirname(args: &[Value]) -> Result {
    Ok(parent(&text_at(args, 0)?).into())
}

fn last_name(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        path => path.rsplit('/').next().unwrap_or_default(),
    }
}

/// What is above the last name, in its shortest form.
fn parent(path: &str) -> String {
    let Some((above, _)) = path.rsplit_once('/') else {
        return ".".into();
    };
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in above.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    match (rooted, names.is_empty()) {
        (true, _) => format!("/{}", names.join("/")),
        (false, true) => ".".into(),
        (false, false) => names.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        for (path, folder, name) in [
            ("a/b.txt", "a", "b.txt"),
            ("b.txt", ".", "b.txt"),
            ("/b", "/", "b"),
            ("/", "/", "/"),
            ("", ".", "."),
            ("a/b/", "a/b", "b"),
            ("./a/../b/c", "b", "c"),
        ] {
            assert_eq!(parent(path), folder, "{path}");
            assert_eq!(last_name(path), name, "{path}");
        }
    }
}
